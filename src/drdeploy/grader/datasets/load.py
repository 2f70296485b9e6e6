"""Recognise the layout of a folder of labelled photographs, and read it."""

from __future__ import annotations

import errno
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EmptyBody, InvalidInput, PayloadTooLarge, RequestRefused
from drdeploy.files import sha256_of
from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph, SetAside, name_within
from drdeploy.grader.datasets.layouts import LAYOUTS, read_labels
from drdeploy.grader.datasets.tables import photographs_in
from drdeploy.grader.fundus.decode import read_header
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading import Grade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.grader.datasets.layouts import ListedPhotograph, Listing

GRADES = {text: grade for grade in Grade for text in (f"{grade:d}", f"{grade:d}.0")}
"""Grades by the text in a table; ``2.0`` is what pandas makes of a column of integers with gaps."""


def load_dataset(folder: Path, *, keep_unreadable: bool = False) -> Dataset:
    """Read a data set of any known layout.

    Every listed file is opened.  A file that is missing, is not an image or has no ICDR grade is
    set aside with the reason.  Pixels are not decoded:
    :func:`~drdeploy.grader.datasets.readability.readable` does that.

    Args:
        folder: The data set's folder, or a table with the columns of ``labels.csv``.
        keep_unreadable: Keep files that are not images, to count what a grader refuses.

    Raises:
        InvalidInput: There is no such folder, it has none of the layouts, a table lacks a column,
            or no photograph is usable.
    """
    if folder.is_file():
        return _check_listing("labels.csv", folder.parent, read_labels(folder), keep_unreadable)
    if not folder.is_dir():
        raise InvalidInput(
            "There is no such folder",
            where=str(folder),
            remedy="Name the folder that holds the table of labels",
        )
    for layout in LAYOUTS:
        root = layout.root_in(folder)
        if root is not None:
            return _check_listing(layout.name, folder, layout.read(root), keep_unreadable)
    known = "; ".join(f"{layout.looks_like} ({layout.name})" for layout in LAYOUTS)
    raise InvalidInput(
        "The folder has none of the layouts that are read",
        where=str(folder),
        remedy=f"These are: {known}",
    )


def _check_listing(layout: str, folder: Path, listing: Listing, keep_unreadable: bool) -> Dataset:
    opened = partial(_check_entry, keep_unreadable=keep_unreadable)
    with ThreadPoolExecutor() as pool:  # reading and hashing both release the GIL
        read = list(pool.map(opened, listing.entries))
    photographs = tuple(one for one in read if isinstance(one, LabelledPhotograph))
    aside = tuple(one for one in read if isinstance(one, SetAside))
    if not photographs:
        why = f": {aside[0].file}: {aside[0].reason}" if aside else ""
        raise InvalidInput(f"The data set has no usable photograph{why}", where=str(folder))
    notes = (*listing.notes, *_notes_on_unlisted(folder, listing))
    return Dataset(folder.resolve().name, folder, layout, photographs, aside, notes)


def _check_entry(
    entry: ListedPhotograph, *, keep_unreadable: bool
) -> LabelledPhotograph | SetAside:
    """Check an entry: the photograph, or why it is set aside."""
    grade = GRADES.get(entry.grade)
    if grade is None:
        return SetAside(
            str(entry.file), f"'{entry.grade}' is not an ICDR grade from 0 to 4", "grade"
        )
    try:
        data = _content(entry.file)
        if not keep_unreadable:
            read_header(data, limits=LOCAL_FILE_LIMITS)
    except FileNotFoundError:
        return SetAside(str(entry.file), "the file is missing", "missing")
    except OSError as err:
        return SetAside(str(entry.file), f"the file cannot be read: {err.strerror}", "unreadable")
    except EmptyBody:
        return SetAside(str(entry.file), "the file is empty", "unreadable")
    except RequestRefused as err:
        return SetAside(str(entry.file), err.what, "unreadable")
    sha256 = entry.sha256 or sha256_of(data)
    return LabelledPhotograph(
        file=entry.file,
        image_id=entry.image_id or entry.file.stem,
        grade=grade,
        split=entry.split or None,
        group=entry.group or sha256,
        sha256=sha256,
    )


def _content(file: Path) -> bytes:
    """Read a file that a table names.

    Raises:
        OSError: It cannot be read, or would not end: a table may name a device or a pipe.
        PayloadTooLarge: It has more bytes than a photograph on disk may.
    """
    try:
        mode = file.stat().st_mode
    except ValueError as err:
        raise OSError(errno.EINVAL, "no file can have that name") from err
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with file.open("rb") as stream:
        data = stream.read(LOCAL_FILE_LIMITS.max_bytes + 1)
    if len(data) > LOCAL_FILE_LIMITS.max_bytes:
        raise PayloadTooLarge(f"The file has more than {LOCAL_FILE_LIMITS.max_bytes} bytes")
    return data


def _notes_on_unlisted(folder: Path, listing: Listing) -> Iterator[str]:
    """Yield a note for every folder with photographs that no table lists."""
    listed = {entry.file for entry in listing.entries}
    for parent in sorted({file.parent for file in listed}):
        unlisted = sum(file not in listed for file in photographs_in(parent))
        if unlisted:
            where = name_within(folder, parent)
            yield f"Photographs in {where} that no table labels, not read: {unlisted:,}."

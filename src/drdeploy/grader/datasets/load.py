"""Recognise the layout of a folder of labelled photographs, and read it."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EmptyBody, InvalidInput, PayloadTooLarge, RequestRefused
from drdeploy.files import sha256_of_bytes
from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.grader.datasets.grade_names import parse_grade
from drdeploy.grader.datasets.labels import make_missing_columns_error, read_label_table
from drdeploy.grader.datasets.layouts import LAYOUTS
from drdeploy.grader.datasets.matching import AmbiguousPhotograph
from drdeploy.grader.datasets.tables import (
    OTHER_TABLE_SUFFIXES,
    SPREADSHEET_SUFFIXES,
    spreadsheet_error,
    unread_table_error,
)
from drdeploy.grader.fundus.decode import read_and_check_header
from drdeploy.grader.fundus.formats.foreign import ARCHIVE_SUFFIXES, HEAD_BYTES
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.photograph_files import (
    SYSTEM_NAMES,
    FoundFiles,
    find_content_type_of_photograph,
    read_photograph_bytes,
    search_folder_for_photographs,
    write_sentences_on_left_out_files,
)
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from drdeploy.grader.datasets.labels import ListedPhotograph, Listing


ENOUGH_FOR_OTHER_GRADES = 20
"""A data set with at least this many photographs should contain grades above 1."""


def load_dataset(
    folder: Path, *, keep_unreadable: bool = False, names: PhotographNames | None = None
) -> Dataset:
    """Read a data set in any of the supported layouts.

    Every file in the table of labels is opened.  A file is set aside with the reason if it is
    missing, is not an image or has no ICDR grade.  The pixels are not decoded here, but later, in
    :func:`~drdeploy.grader.datasets.inspection.set_undecodable_aside`.

    Args:
        folder: The data set's folder, or a table of labels.
        keep_unreadable: Whether to keep files that are not images. An evaluation can then count the
            files that a grader refuses.
        names: How photographs are named in results. With None, each photograph gets a hash as its
            name, made with a secret key of the user.

    Raises:
        InvalidInput: The folder does not exist, has none of the layouts, or has no usable
            photograph. This error is also raised if a table lacks a column, or if a name in the
            table fits several photographs.
    """
    names = names or PhotographNames.with_user_key()
    if not (folder.is_file() or folder.is_dir()):
        raise InvalidInput(
            "The folder of the data set does not exist",
            where=str(folder),
            remedy="Give the folder that holds the table of labels",
        )
    try:
        layout, listing = _list_photographs(folder)
    except AmbiguousPhotograph as err:
        raise _make_ambiguity_error(folder, err, names) from err
    root = folder.parent if folder.is_file() else folder
    return _load_listed_photographs(layout, root, listing, names, keep_unreadable)


def _list_photographs(folder: Path) -> tuple[str, Listing]:
    """Recognise a folder's layout; return its name and the photographs that the folder lists."""
    if folder.is_file():
        with folder.open("rb") as file:
            if find_content_type_of_photograph(file.read(HEAD_BYTES)):
                raise InvalidInput(
                    "The file is a picture, not a data set",
                    where=str(folder),
                    remedy="Give the folder that holds the labelled photographs, or grade the "
                    "picture with `drdeploy grade`",
                )
        return "labels.csv" if folder.stem == "labels" else "table", read_label_table(folder)
    for layout in LAYOUTS:
        root = layout.root_in(folder)
        if root is not None:
            return layout.name, layout.read(root)
    raise _explain_missing_layout(folder)


def _explain_missing_layout(folder: Path) -> InvalidInput:
    """Make the error for a folder in no known layout; a table in the folder gets its own error."""
    by_suffix: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), reverse=True):
        if not file.name.startswith(".") and file.name.casefold() not in SYSTEM_NAMES:
            by_suffix[file.suffix.lower()] = file
    for suffixes, make_error in (
        (SPREADSHEET_SUFFIXES, spreadsheet_error),
        ((".csv", ".tsv", ".tab"), make_missing_columns_error),
        ((*ARCHIVE_SUFFIXES, *OTHER_TABLE_SUFFIXES), unread_table_error),
    ):
        found = [by_suffix[suffix] for suffix in suffixes if suffix in by_suffix]
        if found:
            return make_error(min(found))
    known = "; ".join(f"{layout.looks_like} ({layout.name})" for layout in LAYOUTS)
    return InvalidInput(
        "The folder has none of the supported layouts",
        where=str(folder),
        remedy=f"The supported layouts are: {known}",
    )


def _make_ambiguity_error(
    folder: Path, err: AmbiguousPhotograph, names: PhotographNames
) -> InvalidInput:
    root = folder.parent if folder.is_file() else folder
    candidates = [
        names.name_of_photograph(
            file, _path_relative_to_folder(root, file), _hash_file_content(file)
        )
        for file in err.candidates
    ]
    remedy = "Write the path of the photograph into the table, with folder and suffix as on disk"
    if not names.are_file_names:
        remedy += "; --names shows file names"
    return InvalidInput(
        f"A name in the table fits several photographs: {' and '.join(candidates)}",
        where=str(folder),
        remedy=remedy,
    )


def _hash_file_content(file: Path) -> str:
    try:
        return sha256_of_bytes(_read_regular_file(file))
    except (OSError, PayloadTooLarge):
        return ""


def _load_listed_photographs(
    layout: str, folder: Path, listing: Listing, names: PhotographNames, keep_unreadable: bool
) -> Dataset:
    opened = partial(
        _load_photograph_or_set_aside, folder=folder, names=names, keep_unreadable=keep_unreadable
    )
    with ThreadPoolExecutor() as pool:  # reading and hashing both release the GIL
        read = list(pool.map(opened, listing.entries))
    photographs = tuple(one for one in read if isinstance(one, LabelledPhotograph))
    aside = tuple(one for one in read if isinstance(one, SetAside))
    if not photographs:
        why = f", for example {aside[0].name}: {aside[0].reason}" if aside else ""
        raise InvalidInput(
            f"The data set has no usable photograph{why}",
            where=str(folder),
            remedy="Check that the table of labels names files in this folder, and gives each a "
            "grade from 0 to 4",
        )
    notes = (
        *listing.notes,
        *_write_note_on_binary_grades(photographs),
        *_write_note_on_unlisted_photographs(folder, listing, names),
    )
    return Dataset(
        folder.resolve().name, folder, layout, photographs, aside, notes, listing.group_unit
    )


def _write_note_on_binary_grades(photographs: Sequence[LabelledPhotograph]) -> Iterator[str]:
    """Yield a note if all grades are 0 or 1, which may mean "no retinopathy" and "retinopathy"."""
    if len(photographs) >= ENOUGH_FOR_OTHER_GRADES and {one.grade for one in photographs} == {0, 1}:
        yield (
            "All grades are 0 or 1. If 1 means any retinopathy, the labels are not ICDR grades, "
            "and the results mean nothing."
        )


def _load_photograph_or_set_aside(
    entry: ListedPhotograph, *, folder: Path, names: PhotographNames, keep_unreadable: bool
) -> LabelledPhotograph | SetAside:
    """Return the photograph of an entry, or the reason why it is set aside."""
    own = _path_relative_to_folder(folder, entry.file)
    try:
        data = _read_regular_file(entry.file)
        problem: Exception | None = None
    except (OSError, PayloadTooLarge) as err:
        data, problem = b"", err
    content = sha256_of_bytes(data)
    name = names.name_of_photograph(entry.file, own, "" if problem else content)
    split = entry.split or None
    if entry.ungradable:
        return SetAside(entry.file, name, entry.ungradable, "grade", split)
    grade = parse_grade(entry.grade)
    if grade is None:
        reason = f"{names.quote_table_cell(entry.grade)} is not an ICDR grade from 0 to 4"
        return SetAside(entry.file, name, reason, "grade", split)
    try:
        if problem:
            raise problem
        if not keep_unreadable:
            read_and_check_header(data, limits=LOCAL_FILE_LIMITS)
    except FileNotFoundError:
        return SetAside(entry.file, name, "the file is missing", "missing", split)
    except OSError as err:
        reason = f"the file cannot be read: {err.strerror}"
        return SetAside(entry.file, name, reason, "unreadable", split)
    except EmptyBody:
        return SetAside(entry.file, name, "the file is empty", "unreadable", split)
    except RequestRefused as err:
        return SetAside(entry.file, name, err.what, "unreadable", split)
    sha256 = entry.sha256 or content
    group = entry.group or sha256
    return LabelledPhotograph(
        file=entry.file,
        image_id=entry.image_id or entry.file.stem,
        grade=grade,
        split=split,
        group=group,
        sha256=sha256,
        file_sha256=content if sha256 != content else "",
        name=name,
        group_name=names.name_of_table_entry("group", group),
        cells=entry.cells,
    )


def _path_relative_to_folder(folder: Path, file: Path) -> str:
    """Return a path relative to the folder, with forward slashes; a path outside stays whole.

    The name of a photograph contains its folders, because the same file name may occur in several
    splits.
    """
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()


def _read_regular_file(file: Path) -> bytes:
    """Read a file that a table names.

    Raises:
        OSError: The file is unreadable, or is not a regular file. A table may name a device or a
            pipe, which has no end.
        PayloadTooLarge: The file has more bytes than are allowed for a photograph on disk.
    """
    try:
        mode = file.stat().st_mode
    except ValueError as err:
        raise OSError(errno.EINVAL, "no file can have this name") from err
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return read_photograph_bytes(file)


def _write_note_on_unlisted_photographs(
    folder: Path, listing: Listing, names: PhotographNames
) -> Iterator[str]:
    """Yield notes on photographs that have no label, and on files that were left out."""
    listed = {entry.file for entry in listing.entries}
    branches = _list_folders_with_labelled_photographs(folder, {file.parent for file in listed})
    found = [search_folder_for_photographs(one, is_deep=one != folder) for one in branches]
    if branches and folder not in branches:  # what else lies beside the folders of photographs?
        beside = search_folder_for_photographs(folder, is_deep=False)
        missed = tuple(left for left in beside.left_out if left.may_be_missed_photograph)
        found.append(FoundFiles(beside.photographs, missed))
    counts = Counter(file.parent for one in found for file in one.photographs if file not in listed)
    for parent, count in sorted(counts.items()):
        # A folder may be a patient's.
        where = (
            _path_relative_to_folder(folder, parent)
            if names.are_file_names
            else "a folder of the data set"
        )
        yield f"Photographs without a label were skipped in {where}: {count:,}."
    # Tables and text files belong to a data set.
    left_out = [left for one in found for left in one.left_out if left.cause != "other"]
    for sentence in write_sentences_on_left_out_files(left_out, show_paths=names.are_file_names):
        yield f"{sentence}."


def _list_folders_with_labelled_photographs(folder: Path, parents: Iterable[Path]) -> set[Path]:
    """Return the data set's folder and its subfolders, if they hold labelled photographs.

    A subfolder without labelled photographs is left out, because it may be another data set.
    """
    inside = {parent for parent in parents if ".." not in parent.parts}
    branches = {
        folder / parent.relative_to(folder).parts[0] if parent != folder else parent
        for parent in inside
        if parent.is_relative_to(folder)  # a table may name files anywhere on the disk
    }
    # A table may also name folders that do not or cannot exist: no name can contain a NUL.
    return {branch for branch in branches if os.path.isdir(branch)}  # noqa: PTH112

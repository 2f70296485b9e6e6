"""Find out which layout a folder has, and read it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.grading import Grade
from drdeploy.training.datasets.dataset import Dataset, LabelledPhotograph, SetAside
from drdeploy.training.datasets.layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.training.datasets.layouts import Entry


def load_dataset(folder: Path) -> Dataset:
    """Read a data set of any known layout.

    A file that is listed but missing, and a grade that is none, are set aside with the reason.

    Raises:
        InvalidInput: There is no such folder, no layout fits, or a table lacks a column.
    """
    if not folder.is_dir():
        raise InvalidInput("There is no such folder", where=str(folder))
    for layout in LAYOUTS:
        root = layout.root_in(folder)
        if root is not None:
            return _read(layout.name, folder, layout.read(root))
    known = "; ".join(f"{layout.name}: {layout.looks_like}" for layout in LAYOUTS)
    raise InvalidInput(
        "The folder has none of the known layouts", where=str(folder), remedy=f"Known are {known}"
    )


def _read(layout: str, folder: Path, entries: list[Entry]) -> Dataset:
    photographs: list[LabelledPhotograph] = []
    aside: list[SetAside] = []
    for entry in entries:
        reason = _why_not(entry)
        if reason:
            aside.append(SetAside(str(entry.file), reason))
        else:
            photographs.append(_photograph(entry))
    if not photographs:
        why = f": {aside[0].file}: {aside[0].reason}" if aside else ""
        raise InvalidInput(f"The data set has no usable photograph{why}", where=str(folder))
    return Dataset(folder.resolve().name, folder, layout, tuple(photographs), tuple(aside))


def _why_not(entry: Entry) -> str:
    if entry.grade not in {str(int(grade)) for grade in Grade}:
        return f"'{entry.grade}' is no ICDR grade from 0 to 4"
    return "" if entry.file.is_file() else "the file is missing"


def _photograph(entry: Entry) -> LabelledPhotograph:
    sha256 = entry.sha256 or hashlib.sha256(entry.file.read_bytes()).hexdigest()
    return LabelledPhotograph(
        file=entry.file,
        image_id=entry.image_id or entry.file.stem,
        grade=Grade(int(entry.grade)),
        split=entry.split or None,
        group=entry.group or sha256,
        sha256=sha256,
    )

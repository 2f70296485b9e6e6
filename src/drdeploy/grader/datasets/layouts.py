"""Readers for the layouts in which labelled fundus photographs are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drdeploy.grader.datasets.tables import PhotographIndex, photographs_in, read_header, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class ListedPhotograph:
    """One labelled photograph as a table or folder states it, before it is checked.

    An empty string means unknown.

    Attributes:
        file: Where the photograph should be.
        grade: The label as it is written.
        image_id: What the data set calls it.
        split: ``train``, ``test`` or another.
        group: Capture session or patient.
        sha256: Of the original that the file was made from.
    """

    file: Path
    grade: str
    image_id: str = ""
    split: str = ""
    group: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Listing:
    """Everything that a layout's tables or folders list, in a fixed order.

    Attributes:
        entries: One for each photograph.
        notes: What was not read, in sentences.
    """

    entries: tuple[ListedPhotograph, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How to recognise and read one layout.

    Attributes:
        name: What a data set with it is called by.
        looks_like: A description, for users whose folder has none of the layouts.
        root_in: Finds the folder at which the layout starts; None if it is not there.
        read: Lists what is in that folder.
    """

    name: str
    looks_like: str
    root_in: Callable[[Path], Path | None]
    read: Callable[[Path], Listing]


# ---- labels.csv ---------------------------------------------------------------------------


def _labels_root(folder: Path) -> Path | None:
    return folder if (folder / "labels.csv").is_file() else None


def read_labels(table: Path) -> Listing:
    """Read a table that names files relative to its own folder."""
    root = table.parent
    rows = read_rows(table, "file", "icdr_grade")
    return Listing(
        tuple(
            ListedPhotograph(
                file=root / row["file"],
                grade=row["icdr_grade"],
                image_id=row.get("image_id", ""),
                split=row.get("split", ""),
                group=row.get("session_group") or row.get("group") or row.get("patient") or "",
                sha256=row.get("source_sha256", "").lower(),
            )
            for row in rows
        )
    )


# ---- APTOS 2019 ---------------------------------------------------------------------------


def _aptos_root(folder: Path) -> Path | None:
    table = folder / "train.csv"
    if not (table.is_file() and (folder / "train_images").is_dir()):
        return None
    return folder if "id_code" in read_header(table) else None


def _read_aptos(root: Path) -> Listing:
    entries = _aptos_part(root, "train")
    test = root / "test.csv"
    if not test.is_file():
        return Listing(entries)
    if "diagnosis" in read_header(test):
        return Listing(entries + _aptos_part(root, "test"))
    unread = len(read_rows(test))
    return Listing(entries, (f"test.csv has no labels; its {unread:,} rows are not read.",))


def _aptos_part(root: Path, split: str) -> tuple[ListedPhotograph, ...]:
    photographs = PhotographIndex(root / f"{split}_images")
    return tuple(
        ListedPhotograph(file=photographs.find(row["id_code"]), grade=row["diagnosis"], split=split)
        for row in read_rows(root / f"{split}.csv", "id_code", "diagnosis")
    )


# ---- a folder for each grade --------------------------------------------------------------

GRADE_FOLDERS: Final = {
    "No_DR": "0",
    "Mild": "1",
    "Moderate": "2",
    "Severe": "3",
    "Proliferate_DR": "4",
}
"""Grades by folder, as in the 224 x 224 Gaussian-filtered copy of APTOS 2019 that the original
study used."""


def _folders_root(folder: Path) -> Path | None:
    """Find the folder itself, or ``gaussian_filtered_images`` in it, which may hold another."""
    candidates = [
        folder,
        *sorted(folder.glob("*_images")),
        *sorted(folder.glob("*_images/*_images")),
    ]
    return next((one for one in candidates if (one / "No_DR").is_dir()), None)


def _read_folders(root: Path) -> Listing:
    missing = [name for name in GRADE_FOLDERS if not (root / name).is_dir()]
    return Listing(
        tuple(
            ListedPhotograph(file=file, grade=grade)
            for name, grade in GRADE_FOLDERS.items()
            for file in photographs_in(root / name)
        ),
        tuple(f"There is no folder {name}." for name in missing),
    )


# ---- IDRiD as it is distributed -----------------------------------------------------------

IDRID_IMAGES: Final = {"train": "a. Training Set", "test": "b. Testing Set"}
IDRID_LABELS: Final = {
    "train": "a. IDRiD_Disease Grading_Training Labels.csv",
    "test": "b. IDRiD_Disease Grading_Testing Labels.csv",
}


def _idrid_root(folder: Path) -> Path | None:
    """Find the folder itself, or the one in it that holds the disease grading part."""
    tables = "2. Groundtruths/*IDRiD_Disease Grading_*.csv"
    for depth in ("", "*/", "*/*/"):
        found = sorted(folder.glob(depth + tables))
        if found:
            return found[0].parent.parent
    return None


def _read_idrid(root: Path) -> Listing:
    entries: list[ListedPhotograph] = []
    notes: list[str] = []
    for split, name in IDRID_LABELS.items():
        if (root / "2. Groundtruths" / name).is_file():
            entries += _idrid_part(root, split)
        else:
            notes.append(f"There is no table '{name}'; the photographs of '{split}' are not read.")
    return Listing(tuple(entries), tuple(notes))


def _idrid_part(root: Path, split: str) -> list[ListedPhotograph]:
    photographs = PhotographIndex(root / "1. Original Images" / IDRID_IMAGES[split])
    table = root / "2. Groundtruths" / IDRID_LABELS[split]
    return [
        ListedPhotograph(
            file=photographs.find(row["Image name"]),
            grade=row["Retinopathy grade"],
            # Both splits use the same names, for different photographs.
            image_id=f"{split}/{row['Image name']}",
            split=split,
        )
        for row in read_rows(table, "Image name", "Retinopathy grade")
        if row["Image name"]
    ]


LAYOUTS: Final = (
    Layout(
        "labels.csv",
        "a table labels.csv with the columns file and icdr_grade",
        _labels_root,
        lambda root: read_labels(root / "labels.csv"),
    ),
    Layout(
        "aptos2019",
        "train.csv with id_code and diagnosis beside train_images/",
        _aptos_root,
        _read_aptos,
    ),
    Layout(
        "grade-folders",
        f"folders called {', '.join(GRADE_FOLDERS)}",
        _folders_root,
        _read_folders,
    ),
    Layout(
        "idrid",
        "'1. Original Images' beside '2. Groundtruths' with the tables of disease grading",
        _idrid_root,
        _read_idrid,
    ),
)
"""The layouts, in the order in which they are looked for."""

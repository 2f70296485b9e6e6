"""Readers for the layouts in which labelled fundus photographs are published."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets.grade_names import parse_grade
from drdeploy.grader.datasets.labels import (
    LabelFormat,
    ListedPhotograph,
    Listing,
    explain_unreadable_table,
    is_label_table,
    read_label_table,
)
from drdeploy.grader.datasets.matching import list_photograph_files_below
from drdeploy.grader.datasets.tables import (
    TABLE_SUFFIXES,
    read_table,
    read_table_rows,
    simplify_column_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """How to recognise and read one layout.

    Attributes:
        name: Name of the layout.
        looks_like: A description of the layout. It is shown to users whose folder is not
            recognised.
        root_in: Function that finds the folder at which the layout starts, or returns None.
        read: Function that lists the photographs in this folder.
    """

    name: str
    looks_like: str
    root_in: Callable[[Path], Path | None]
    read: Callable[[Path], Listing]


# ---- tables in the folder -----------------------------------------------------------------


def list_table_files(folder: Path) -> list[Path]:
    """List the files in a folder that may be tables, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in TABLE_SUFFIXES and not file.name.startswith(".")
    )


def _find_labels_tables(folder: Path) -> list[Path]:
    """Return the tables with the name ``labels``. If there are several, ``labels.csv`` is first."""
    found = [file for file in list_table_files(folder) if file.stem.lower() == "labels"]
    return sorted(found, key=lambda file: TABLE_SUFFIXES.index(file.suffix.lower()))


def _find_folder_of_labels(folder: Path) -> Path | None:
    return folder if _find_labels_tables(folder) else None


def _list_photographs_of_labels(root: Path) -> Listing:
    table, *others = _find_labels_tables(root)
    notes = tuple(f"{one.name} was skipped, because {table.name} is read." for one in others)
    return read_label_table(table) + Listing((), notes)


def _list_label_tables(folder: Path) -> list[Path]:
    """List the tables of labels in a folder.

    A table whose name contains "submission" is left out. In a competition's data, this table only
    shows the form of an answer, and its grades mean nothing.
    """
    return [
        table
        for table in list_table_files(folder)
        if "submission" not in table.name.lower() and is_label_table(table)
    ]


def _find_folder_of_tables(folder: Path) -> Path | None:
    return folder if _list_label_tables_below(folder) else None


def _list_label_tables_below(folder: Path) -> list[Path]:
    """List the tables of labels in a folder or, if the folder has none, in its subfolders."""
    below = (table for one in _list_subfolders(folder) for table in _list_label_tables(one))
    return _list_label_tables(folder) or [*below]


_SPLIT_WORDS: Final = (
    ("train", re.compile("train")),
    ("test", re.compile("test|solution")),
    ("valid", re.compile("val")),
)


def split_from_name(name: str) -> str:
    """Return the split that the name of a table or folder mentions; empty if there is none."""
    return next((split for split, words in _SPLIT_WORDS if words.search(name.lower())), "")


def _list_photographs_of_tables(root: Path) -> Listing:
    """Read all tables of labels in a folder: one table for each split, or a single table.

    A note names each further table that cannot be read, because it may hold labels, too.

    Raises:
        InvalidInput: Two tables belong to the same split, or one of several tables names no split.
    """
    tables = _list_label_tables_below(root)
    splits = [split_from_name(table.name) or split_from_name(table.parent.name) for table in tables]
    if len(tables) > 1 and (len(set(splits)) < len(tables) or "" in splits):
        listed = ", ".join(table.relative_to(root).as_posix() for table in tables)
        raise InvalidInput(
            f"The folder has several tables of labels: {listed}",
            where=str(root),
            remedy="Give the path of the right table instead of the folder's path",
        )
    listing = Listing(())
    for table, split in zip(tables, splits, strict=True):
        listing += read_label_table(table, LabelFormat(split=split))
    searched = [root, *(_list_subfolders(root) if tables[0].parent != root else [])]
    notes = tuple(
        f"{table.relative_to(root).as_posix()} was skipped. {why}."
        for folder in searched
        for table in list_table_files(folder)
        if (why := explain_unreadable_table(table))
    )
    return listing + Listing((), notes)


# ---- EyePACS, Messidor-2, DDR -------------------------------------------------------------


def _find_eyepacs_folder(folder: Path) -> Path | None:
    return folder if _list_eyepacs_tables(folder) else None


def _list_eyepacs_tables(folder: Path) -> list[Path]:
    known = re.compile(r"trainlabels.*|testlabels.*|retinopathy_solution")
    return [one for one in list_table_files(folder) if known.fullmatch(one.stem.lower())]


def _list_eyepacs_photographs(root: Path) -> Listing:
    listing = Listing(())
    for table in _list_eyepacs_tables(root):
        split = split_from_name(table.name)
        form = LabelFormat(split=split, names_files=False, is_published=True)
        listing += read_label_table(table, form)
    return listing


def _find_messidor2_folder(folder: Path) -> Path | None:
    return folder if (folder / "messidor_data.csv").is_file() else None


def _list_messidor2_photographs(root: Path) -> Listing:
    form = LabelFormat(names_files=False, is_published=True)
    return read_label_table(root / "messidor_data.csv", form)


def _find_ddr_folder(folder: Path) -> Path | None:
    """Return the folder with the grades of the data set DDR: one text file for each split."""
    candidates = [folder, *sorted(folder.glob("DR_grading")), *sorted(folder.glob("*/DR_grading"))]
    return next((one for one in candidates if _list_ddr_tables(one)), None)


def _list_ddr_tables(folder: Path) -> list[Path]:
    return [
        folder / f"{split}.txt"
        for split in ("train", "valid", "test")
        if (folder / f"{split}.txt").is_file() and (folder / split).is_dir()
    ]


def _list_ddr_photographs(root: Path) -> Listing:
    listing = Listing(())
    for table in _list_ddr_tables(root):
        form = LabelFormat(
            folder=root / table.stem, split=table.stem, is_published=True, ungradable="5"
        )
        listing += read_label_table(table, form)
    return listing


# ---- DeepDRiD -----------------------------------------------------------------------------

_DEEPDRID_TABLE: Final = "regular-fundus-*/regular-fundus-*.csv"


def _find_deepdrid_folder(folder: Path) -> Path | None:
    return folder if _list_deepdrid_tables(folder) else None


def _list_deepdrid_tables(folder: Path) -> list[Path]:
    patterns = (_DEEPDRID_TABLE, f"*/{_DEEPDRID_TABLE}", f"*/*/{_DEEPDRID_TABLE}")
    inside = sorted(folder.glob("regular-fundus-*.csv"))
    return inside or [table for pattern in patterns for table in sorted(folder.glob(pattern))]


def _list_deepdrid_photographs(root: Path) -> Listing:
    listing = Listing(())
    for table in _list_deepdrid_tables(root):
        form = LabelFormat(
            split=split_from_name(table.name),
            names_files=False,  # the paths in image_path are those of another computer
            is_published=True,
            file_column="imageid",
            ungradable="5",
        )
        listing += read_label_table(table, form)
    return listing


# ---- APTOS 2019 ---------------------------------------------------------------------------


def _find_aptos_folder(folder: Path) -> Path | None:
    is_there = (folder / "train.csv").is_file() and (folder / "train_images").is_dir()
    return folder if is_there and _has_table_column(folder / "train.csv", "id_code") else None


def _has_table_column(table: Path, name: str) -> bool:
    return (
        read_table(
            table, lambda cells: simplify_column_name(name) in map(simplify_column_name, cells)
        )
        is not None
    )


def _list_aptos_photographs(root: Path) -> Listing:
    listing = _list_aptos_split(root, "train")
    test = root / "test.csv"
    if not test.is_file():
        return listing
    if _has_table_column(test, "diagnosis"):
        return listing + _list_aptos_split(root, "test")
    unread = len(read_table_rows(test, "id_code"))
    return listing + Listing((), (f"test.csv has no labels; its {unread:,} rows are not read.",))


def _list_aptos_split(root: Path, split: str) -> Listing:
    form = LabelFormat(
        folder=root / f"{split}_images", split=split, names_files=False, is_published=True
    )
    return read_label_table(root / f"{split}.csv", form)


# ---- a folder for each grade --------------------------------------------------------------

GRADE_FOLDERS: Final = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
"""The names of the folders of grades in a copy of APTOS 2019 with Gaussian-filtered photographs of
224 x 224 pixels. The 2023 study that drdeploy follows used this copy.
"""


def _find_parent_of_grade_folders(folder: Path) -> Path | None:
    """Return the folder that contains the folders of the grades, or those of the splits.

    This is the given folder, or a subfolder whose name ends with ``_images``. A subfolder with this
    ending may lie inside another one.
    """
    candidates = [
        folder,
        *sorted(folder.glob("*_images")),
        *sorted(folder.glob("*_images/*_images")),
    ]
    return next(
        (one for one in candidates if _holds_grade_folders(one) or _list_split_folders(one)), None
    )


def _find_grade_folders(folder: Path) -> dict[Path, int]:
    """Return the subfolders that are named after a grade, by number or in words."""
    found = {one: parse_grade(one.name) for one in _list_subfolders(folder)}
    return {one: int(grade) for one, grade in found.items() if grade is not None}


def _holds_grade_folders(folder: Path) -> bool:
    """Return whether the subfolders are named after grades, and not after patients."""
    has_other_numbers = any(
        one.name.isdecimal() and parse_grade(one.name) is None for one in _list_subfolders(folder)
    )
    return 0 in _find_grade_folders(folder).values() and not has_other_numbers


def _list_split_folders(folder: Path) -> list[Path]:
    return [
        one
        for one in _list_subfolders(folder)
        if split_from_name(one.name) and _holds_grade_folders(one)
    ]


def _list_subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _list_photographs_in_grade_folders(root: Path) -> Listing:
    if _holds_grade_folders(root):
        return _list_photographs_of_grades(root, "")
    listing = Listing(())
    split_folders = _list_split_folders(root)
    for folder in split_folders:
        listing += _list_photographs_of_grades(folder, split_from_name(folder.name))
    notes = tuple(
        f"The folder '{folder.name}' was skipped, because its name mentions no split."
        for folder in _list_subfolders(root)
        if folder not in split_folders and _holds_grade_folders(folder)
    )
    return listing + Listing((), notes)


def _list_photographs_of_grades(root: Path, split: str) -> Listing:
    folders = _find_grade_folders(root)
    missing = sorted(set(range(len(GRADE_FOLDERS))) - set(folders.values()))
    entries = tuple(
        ListedPhotograph(file=file, grade=str(grade), split=split)
        for folder, grade in sorted(folders.items(), key=lambda one: (one[1], one[0]))
        for file in list_photograph_files_below(folder)
    )
    notes = [f"There is no folder for grade {grade}." for grade in missing]
    others = [one for one in _list_subfolders(root) if one not in folders]
    unread = sum(len(list_photograph_files_below(folder)) for folder in others)
    if unread and not split:
        notes.append(
            f"Photographs in folders that are not named after a grade were skipped: {unread:,}."
        )
    return Listing(entries, tuple(notes))


# ---- IDRiD as it is distributed -----------------------------------------------------------

IDRID_IMAGES: Final = {"train": "a. Training Set", "test": "b. Testing Set"}
IDRID_LABELS: Final = {
    "train": "a. IDRiD_Disease Grading_Training Labels.csv",
    "test": "b. IDRiD_Disease Grading_Testing Labels.csv",
}


def _find_idrid_folder(folder: Path) -> Path | None:
    """Return the given folder, or its subfolder with the disease grading part of IDRiD."""
    tables = "2. Groundtruths/*IDRiD_Disease Grading_*.csv"
    for depth in ("", "*/", "*/*/"):
        found = sorted(folder.glob(depth + tables))
        if found:
            return found[0].parent.parent
    return None


def _list_idrid_photographs(root: Path) -> Listing:
    listing = Listing(())
    for split, name in IDRID_LABELS.items():
        if (root / "2. Groundtruths" / name).is_file():
            listing += _list_idrid_split(root, split)
        else:
            note = (
                f"The table '{name}' does not exist, so the photographs of '{split}' are not read."
            )
            listing += Listing((), (note,))
    return listing


def _list_idrid_split(root: Path, split: str) -> Listing:
    form = LabelFormat(
        folder=root / "1. Original Images" / IDRID_IMAGES[split],
        split=split,
        names_files=False,
        is_published=True,
    )
    listing = read_label_table(root / "2. Groundtruths" / IDRID_LABELS[split], form)
    # Both splits use the same names, for different photographs.
    named = (replace(one, image_id=f"{split}/{one.image_id}") for one in listing.entries)
    return Listing(tuple(named), listing.notes, listing.group_unit)


LAYOUTS: Final = (
    Layout(
        "labels.csv",
        "a table labels.csv with the columns file and icdr_grade",
        _find_folder_of_labels,
        _list_photographs_of_labels,
    ),
    Layout(
        "aptos2019",
        "train.csv with the columns id_code and diagnosis, beside train_images/",
        _find_aptos_folder,
        _list_aptos_photographs,
    ),
    Layout(
        "grade-folders",
        f"folders called 0 to 4, or {', '.join(GRADE_FOLDERS)}",
        _find_parent_of_grade_folders,
        _list_photographs_in_grade_folders,
    ),
    Layout(
        "idrid",
        "the folder '1. Original Images' beside '2. Groundtruths' with IDRiD's tables of grades",
        _find_idrid_folder,
        _list_idrid_photographs,
    ),
    Layout(
        "deepdrid",
        "regular-fundus-training/ with its table regular-fundus-training.csv",
        _find_deepdrid_folder,
        _list_deepdrid_photographs,
    ),
    Layout(
        "eyepacs",
        "trainLabels.csv with the columns image and level",
        _find_eyepacs_folder,
        _list_eyepacs_photographs,
    ),
    Layout("messidor2", "messidor_data.csv", _find_messidor2_folder, _list_messidor2_photographs),
    Layout(
        "ddr",
        "train.txt, valid.txt and test.txt, each beside a folder of the same name",
        _find_ddr_folder,
        _list_ddr_photographs,
    ),
    Layout(
        "table",
        "another table with a column of photographs and a column of grades",
        _find_folder_of_tables,
        _list_photographs_of_tables,
    ),
)
"""The layouts, in the order in which they are looked for."""

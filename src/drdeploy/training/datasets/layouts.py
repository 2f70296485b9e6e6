"""One reader for each layout that labelled fundus photographs come in."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff")

GAUSSIAN_FOLDERS: Final = {
    "No_DR": "0",
    "Mild": "1",
    "Moderate": "2",
    "Severe": "3",
    "Proliferate_DR": "4",
}
"""Of the 224 x 224 Gaussian-filtered copy of APTOS 2019, which the original study used."""

IDRID_SPLITS: Final = {"a. Training Set": "train", "b. Testing Set": "test"}
IDRID_LABELS: Final = {
    "train": "a. IDRiD_Disease Grading_Training Labels.csv",
    "test": "b. IDRiD_Disease Grading_Testing Labels.csv",
}


@dataclass(frozen=True)
class Entry:
    """One line of a table of labels, not yet believed.  An empty string is unknown."""

    file: Path
    grade: str
    image_id: str = ""
    split: str = ""
    group: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Layout:
    """How to recognise and read one layout.

    Attributes:
        looks_like: In words, for whoever has none of them.
        root_in: The folder that the layout starts at, or None.
        read: Its entries, in a fixed order.
    """

    name: str
    looks_like: str
    root_in: Callable[[Path], Path | None]
    read: Callable[[Path], list[Entry]]


# ---- labels.csv ---------------------------------------------------------------------------


def _labels_root(folder: Path) -> Path | None:
    return folder if (folder / "labels.csv").is_file() else None


def _read_labels(root: Path) -> list[Entry]:
    table = root / "labels.csv"
    return [
        Entry(
            file=root / row["file"],
            grade=row["icdr_grade"],
            image_id=row.get("image_id", ""),
            split=row.get("split", ""),
            group=row.get("session_group") or row.get("group") or row.get("patient") or "",
            sha256=row.get("source_sha256", ""),
        )
        for row in _rows(table, "file", "icdr_grade")
    ]


# ---- APTOS 2019 ---------------------------------------------------------------------------


def _aptos_root(folder: Path) -> Path | None:
    table = folder / "train.csv"
    return folder if table.is_file() and "id_code" in _header(table) else None


def _read_aptos(root: Path) -> list[Entry]:
    images = root / "train_images"
    return [
        Entry(file=_with_suffix(images / row["id_code"]), grade=row["diagnosis"])
        for row in _rows(root / "train.csv", "id_code", "diagnosis")
    ]


# ---- the Gaussian-filtered folders --------------------------------------------------------


def _gaussian_root(folder: Path) -> Path | None:
    candidates = [folder, *sorted(folder.glob("*gaussian*"))]
    candidates += sorted(folder.glob("*gaussian*/*gaussian*"))
    return next((one for one in candidates if _grade_folders(one)), None)


def _grade_folders(folder: Path) -> list[Path]:
    return [folder / name for name in GAUSSIAN_FOLDERS if (folder / name).is_dir()]


def _read_gaussian(root: Path) -> list[Entry]:
    return [
        Entry(file=file, grade=GAUSSIAN_FOLDERS[folder.name])
        for folder in _grade_folders(root)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]


# ---- IDRiD as it is distributed -----------------------------------------------------------


def _idrid_root(folder: Path) -> Path | None:
    candidates = [folder, *sorted(folder.glob("B*Disease Grading*"))]
    return next((one for one in candidates if (one / "2. Groundtruths").is_dir()), None)


def _read_idrid(root: Path) -> list[Entry]:
    entries: list[Entry] = []
    for folder, split in IDRID_SPLITS.items():
        table = root / "2. Groundtruths" / IDRID_LABELS[split]
        if not table.is_file():
            continue
        images = root / "1. Original Images" / folder
        entries += [
            Entry(
                file=_with_suffix(images / row["Image name"]),
                grade=row["Retinopathy grade"],
                # The same names stand in both splits for different photographs.
                image_id=f"{split}/{row['Image name']}",
                split=split,
            )
            for row in _rows(table, "Image name", "Retinopathy grade")
            if row["Image name"]
        ]
    return entries


LAYOUTS: Final = (
    Layout(
        "labels.csv",
        "a table labels.csv with the columns file and icdr_grade",
        _labels_root,
        _read_labels,
    ),
    Layout(
        "aptos2019",
        "train.csv with id_code and diagnosis beside train_images/",
        _aptos_root,
        _read_aptos,
    ),
    Layout(
        "gaussian-filtered folders",
        f"folders called {', '.join(GAUSSIAN_FOLDERS)}",
        _gaussian_root,
        _read_gaussian,
    ),
    Layout(
        "idrid",
        "'1. Original Images' beside '2. Groundtruths'",
        _idrid_root,
        _read_idrid,
    ),
)


def _header(table: Path) -> list[str]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        return [name.strip() for name in next(csv.reader(file), [])]


def _rows(table: Path, *required: str) -> list[dict[str, str]]:
    """The rows of a table, names and values stripped of spaces.

    Raises:
        InvalidInput: A required column is missing, or the file is no text.
    """
    try:
        header = _header(table)
        missing = [name for name in required if name not in header]
        if missing:
            raise InvalidInput(
                f"The table has no column '{missing[0]}'",
                where=str(table),
                remedy=f"It needs {' and '.join(required)}",
            )
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))[1:]
    except (UnicodeDecodeError, csv.Error) as err:
        raise InvalidInput("The table is no CSV file in UTF-8", where=str(table)) from err
    padded = ([*line, *[""] * (len(header) - len(line))] for line in lines if any(line))
    return [
        {name: value.strip() for name, value in zip(header, line, strict=False) if name}
        for line in padded
    ]


def _with_suffix(stem: Path) -> Path:
    """The file of that name, whatever its suffix; as a .png where there is none."""
    candidates = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    found = next((one for one in candidates if one.is_file()), None)
    return found or stem.with_name(f"{stem.name}.png")

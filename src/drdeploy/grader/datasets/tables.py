"""Read tables of labels as they are published: stray spaces, empty columns, missing suffixes."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def read_header(table: Path) -> list[str]:
    """Return the names of the columns without spaces around them.

    Raises:
        InvalidInput: The file is not CSV in UTF-8.
    """
    return next(_lines(table), [])


def read_rows(table: Path, *required: str) -> list[dict[str, str]]:
    """Return the rows of a table, without empty rows and without spaces around values.

    Raises:
        InvalidInput: A required column is missing, or the file is not CSV in UTF-8.
    """
    header = read_header(table)
    missing = [name for name in required if name not in header]
    if missing:
        raise InvalidInput(
            f"The table has no column '{missing[0]}'",
            where=str(table),
            remedy=f"It needs {' and '.join(required)}",
        )
    rows = list(_lines(table))[1:]
    # Spreadsheets leave out the empty cells at the end of a row.
    padded = ([*row, *[""] * (len(header) - len(row))] for row in rows if any(row))
    return [
        {name: value for name, value in zip(header, row, strict=False) if name} for row in padded
    ]


def _lines(table: Path) -> Iterator[list[str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for line in csv.reader(file):
                yield [value.strip() for value in line]
    except (UnicodeDecodeError, csv.Error) as err:
        raise InvalidInput(
            "The table is not CSV in UTF-8", where=str(table), remedy="Save it as CSV UTF-8"
        ) from err


def photographs_in(folder: Path) -> list[Path]:
    """List a folder's files with an image's suffix, sorted; nothing if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


class PhotographIndex:
    """The photographs of a folder, found by name with or without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = photographs_in(folder)
        self._files = {file.stem: file for file in files} | {file.name: file for file in files}

    def find(self, name: str) -> Path:
        """Return the file of that name, or the path that it would have."""
        return self._files.get(name, self.folder / name)

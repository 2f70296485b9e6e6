"""Read text tables, for example from Excel, pandas or R, with any separator and several encodings.

The following are ignored: empty rows, empty columns, spaces around a cell, and lines before the
line with the names of the columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from drdeploy.errors import InvalidInput
from drdeploy.files import read_bytes_up_to_limit
from drdeploy.grader.fundus.formats.foreign import (
    ARCHIVE_SUFFIXES,
    find_content_that_is_no_photograph,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

TABLE_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".tab")
SPREADSHEET_SUFFIXES: Final = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")

TABLE_BYTES_MAX: Final = 256 * MIB
TABLE_COLUMNS_MAX: Final = 1000
"""The largest number of columns. Every row gets a cell for each column. Without a limit on columns,
a small file with a long header and many short rows could fill the memory."""

_MISSING: Final = frozenset({"", "-", "?", "na", "n/a", "nan", "null", "none", "<na>", "."})
"""The words that spreadsheets, pandas and R write for a missing value."""
_SEPARATORS: Final = (",", ";", "\t", "|", " ")
_SEPARATORS_IN_CELL: Final = re.compile(r"[,;\t|]")
_LINES_BEFORE: Final = 20
"""The number of lines at the beginning of a table that are searched for the column names."""
_SPREADSHEETS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""The first bytes of Excel and LibreOffice files, which are ZIP or OLE files."""
_ENCODINGS: Final = (
    # The mark of UTF-32 begins with the mark of UTF-16.
    ((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    ((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
)
_END: Final = "\0end"
"""A line that no table holds."""
_BRACKETS: Final = re.compile(r"\([^)]*\)|\[[^\]]*\]")
OTHER_TABLE_SUFFIXES: Final = frozenset(
    {
        *(".arff", ".db", ".dta", ".feather", ".json", ".jsonl", ".mat", ".mdb", ".npy", ".npz"),
        *(".parquet", ".pickle", ".pkl", ".rda", ".rdata", ".rds", ".sas7bdat", ".sav", ".sqlite"),
        *(".xml", ".yaml", ".yml"),
    }
)
"""The suffixes of tables that are not text with separators."""


@dataclass(frozen=True)
class TextTable:
    """The cells of a table, without spaces around them and without empty rows.

    Attributes:
        path: Path of the file.
        header: The names of the columns as they are written; empty if the table has no header.
        rows: The rows. Each row has as many cells as the header, or two cells if there is no
            header.
        notes: Sentences that say what was assumed about the file, and what was left out.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def simplify_column_name(name: str) -> str:
    """Return the name of a column in lower case, without spaces, punctuation and brackets."""
    return re.sub(r"[\W_]", "", _BRACKETS.sub("", name).lower() or name.lower())


def is_missing_value(cell: str) -> bool:
    """Whether a cell is empty, or holds a word that programs write for a missing value."""
    return cell.lower() in _MISSING


def read_table_rows(table: Path, *required: str) -> list[dict[str, str]]:
    """Return the rows of a table as dictionaries, with the names of the columns as keys.

    Args:
        table: The file.
        required: The columns that the table must have. Upper and lower case count as equal.

    Raises:
        InvalidInput: A required column is missing or occurs twice, or the file is not a text table.
    """
    names = {simplify_column_name(name): name for name in required}
    found = read_table(table, lambda cells: set(names) <= set(map(simplify_column_name, cells)))
    if found is None:
        first = next(_split_rows(read_table_text(table)[0], ","), [])
        absent = [
            name
            for name in required
            if simplify_column_name(name) not in map(simplify_column_name, first)
        ] or [*required]
        raise InvalidInput(
            f"The table has no column '{absent[0]}'",
            where=str(table),
            remedy=f"The table needs the columns {' and '.join(required)}",
        )
    header = [names.get(simplify_column_name(name), name) for name in found.header]
    for name in required:
        if header.count(name) > 1:
            raise InvalidInput(
                f"The table has {header.count(name)} columns '{name}'",
                where=str(table),
                remedy="Remove all but one of them",
            )
    return [
        {name: value for name, value in zip(header, row, strict=True) if name} for row in found.rows
    ]


def read_table(table: Path, is_header: Callable[[Sequence[str]], bool]) -> TextTable | None:
    """Return the table, or None if no line near its beginning is a header.

    Args:
        table: The file.
        is_header: Returns whether the cells of a row are names of columns.

    Raises:
        InvalidInput: The file cannot be read, or is not a text table.
    """
    text, notes = read_table_text(table)
    try:
        found = _find_separator_and_header_position(text, is_header)
        if found is None:
            return None
        separator, place = found
        rows = _split_all_rows(text, separator)
    except csv.Error as err:
        raise _unreadable_row_error(table, err) from err
    before = [row for row in rows[:place] if any(row) and not row[0].lower().startswith("sep=")]
    if before:
        notes.append(f"{table.name}: lines above the column names were skipped: {len(before)}.")
    if len(rows[place]) > TABLE_COLUMNS_MAX:
        raise InvalidInput(
            f"The table has {len(rows[place]):,} columns, but at most {TABLE_COLUMNS_MAX:,} are "
            "read",
            where=str(table),
            remedy="Keep only the columns that are needed",
        )
    header, body = rows[place], [row for row in rows[place + 1 :] if any(row)]
    if body and all(len(row) == len(header) + 1 and row[-1] for row in body):
        header = ["", *header]  # R's write.table numbers the rows, and gives the numbers no name
    surplus = sum(any(row[len(header) :]) for row in body)
    if surplus:
        notes.append(_write_note_on_surplus_values(table, surplus))
    return TextTable(
        table,
        tuple(header),
        tuple(_fit_row_to_width(row, len(header)) for row in body),
        tuple(notes),
    )


def read_two_columns_without_header(
    table: Path, is_pair: Callable[[str, str], bool]
) -> TextTable | None:
    """Return a table that has two columns and no header; None if ``is_pair`` rejects a row.

    Raises:
        InvalidInput: The file cannot be read, or is not a text table.
    """
    text, notes = read_table_text(table)
    for separator in _SEPARATORS:
        try:
            rows = [row for row in _split_all_rows(text, separator) if any(row)]
        except _UnclosedQuote:
            continue  # another separator may fit
        except csv.Error as err:
            raise _unreadable_row_error(table, err) from err
        pairs = [_fit_row_to_width(row, 2) for row in rows]
        if pairs and all(is_pair(*pair) for pair in pairs):
            surplus = sum(any(row[2:]) for row in rows)
            if surplus:
                notes.append(_write_note_on_surplus_values(table, surplus))
            return TextTable(table, (), tuple(pairs), tuple(notes))
    return None


def read_table_text(table: Path) -> tuple[str, list[str]]:
    """Return the text of a table, with a note if its encoding had to be guessed.

    Raises:
        InvalidInput: The file cannot be read, or it is not text.
    """
    try:
        data = read_bytes_up_to_limit(table, TABLE_BYTES_MAX)
    except OSError as err:
        raise InvalidInput(
            f"The table cannot be read: {err.strerror}",
            where=str(table),
            remedy="Give a table that exists and that you may read",
        ) from err
    except ValueError as err:
        raise InvalidInput(
            f"The table cannot be read: {err}",
            where=str(table),
            remedy="Keep only the columns and rows that are needed",
        ) from err
    _refuse_binary_table_file(table, data)
    for marks, encoding in _ENCODINGS:
        if data.startswith(marks):
            return _decode_table_text(table, data, encoding), []
    if data[1:2] == b"\0" and data[3:4] == b"\0":
        return _decode_table_text(table, data, "utf-16-le"), [f"{table.name} is read as UTF-16."]
    if data[0:1] == b"\0" and data[2:3] == b"\0":
        return _decode_table_text(table, data, "utf-16-be"), [f"{table.name} is read as UTF-16."]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as err:
        if b"\0" in data:
            raise _not_a_table_error(table) from err
    return _decode_table_text(table, data, "cp1252"), [
        f"Read as Windows-1252, because the encoding is not UTF-8: {table.name}."
    ]


def _refuse_binary_table_file(table: Path, data: bytes) -> None:
    suffix = table.suffix.lower()
    if suffix in ARCHIVE_SUFFIXES or suffix in OTHER_TABLE_SUFFIXES:
        raise unread_table_error(table)
    if data.startswith(_SPREADSHEETS):
        raise spreadsheet_error(table)
    other = find_content_that_is_no_photograph(data)
    if other:
        raise InvalidInput(
            f"The file is {other.noun}, not a table", where=str(table), remedy=other.remedy
        )


def unread_table_error(table: Path) -> InvalidInput:
    """Make the error for a file that cannot be read as a table: an archive, or a binary format."""
    is_archive = table.suffix.lower() in ARCHIVE_SUFFIXES
    return InvalidInput(
        "The file is an archive, not a table"
        if is_archive
        else "Tables in this format are not read",
        where=str(table),
        remedy="Unpack it" if is_archive else "Save the table as CSV",
    )


def spreadsheet_error(table: Path) -> InvalidInput:
    """Make the error for a spreadsheet file where a text table is expected."""
    return InvalidInput(
        "The table is a spreadsheet file, which cannot be read",
        where=str(table),
        remedy='Save the table as "CSV UTF-8" in the spreadsheet program',
    )


def _decode_table_text(table: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as err:
        raise _not_a_table_error(table) from err


def _not_a_table_error(table: Path) -> InvalidInput:
    return InvalidInput(
        "The table is not CSV in UTF-8, UTF-16 or Windows-1252",
        where=str(table),
        remedy="Save the table as CSV UTF-8",
    )


class _UnclosedQuote(csv.Error):
    """A quotation mark at the beginning of a cell is not closed before the end of the table."""


def _unreadable_row_error(table: Path, err: csv.Error) -> InvalidInput:
    remedy = "Remove the quotation mark, or close it in the same cell"
    if isinstance(err, _UnclosedQuote):
        what = "A quotation mark is not closed, so the rows after it cannot be read"
        return InvalidInput(what, where=f"{table}: {err}", remedy=remedy)
    if "field limit" in str(err):
        what = (
            f"A cell of the table has more than {csv.field_size_limit():,} characters, perhaps "
            "because a quotation mark is not closed"
        )
        return InvalidInput(what, where=str(table), remedy=remedy)
    return _not_a_table_error(table)


def _write_note_on_surplus_values(table: Path, rows: int) -> str:
    return (
        f"{table.name}: values after the last column were skipped. Rows with such values: {rows:,}."
    )


def _find_separator_and_header_position(
    text: str, is_header: Callable[[Sequence[str]], bool]
) -> tuple[str, int] | None:
    """Return the separator and the position of the first row that is a header."""
    found = [
        (place, order, separator)
        for order, separator in enumerate(_SEPARATORS)
        for place, row in enumerate(islice(_split_rows(text, separator), _LINES_BEFORE))
        if is_header(row) and not (separator == " " and _SEPARATORS_IN_CELL.search("".join(row)))
    ]
    place, _, separator = min(found, default=(0, 0, ""))
    return (separator, place) if separator else None


def _split_rows(text: str, separator: str, end: str = "") -> Iterator[list[str]]:
    """Yield the cells of each row; ``end`` is a last line to read after the text."""
    # Some programs quote with apostrophes; the first line then begins with an apostrophe.
    quote = "'" if text.lstrip().startswith("'") else '"'
    lines = chain(io.StringIO(text, newline=""), [end] if end else [])
    for row in csv.reader(lines, delimiter=separator, quotechar=quote, skipinitialspace=True):
        yield [value.strip() for value in row]


def _split_all_rows(text: str, separator: str) -> list[list[str]]:
    """Return the cells of all rows.

    Python's reader takes everything after a quotation mark that is not closed as one cell. The rows
    in this cell would be lost. Then a line that is read after the text is in the cell, too.

    Raises:
        _UnclosedQuote: A quotation mark is not closed; the error says in which row.
    """
    *rows, last = _split_rows(text, separator, end=_END)
    if last != [_END]:
        raise _UnclosedQuote(f"row {len(rows) + 1}")
    return rows


def _fit_row_to_width(row: Sequence[str], width: int) -> tuple[str, ...]:
    """Return a row with exactly ``width`` cells: empty cells are added, or cells are cut off.

    Spreadsheets leave out empty cells at the end of a row.
    """
    return (*row[:width], *[""] * (width - len(row)))

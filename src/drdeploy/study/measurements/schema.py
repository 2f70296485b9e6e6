"""Declare columns of ``measurements.csv``, and write and read their values.

A column is declared only once, with its type, meaning and rules. The declaration is an annotated
field of :class:`~drdeploy.study.measurements.measurement.Measurement`. The header, the rows, the
validation and ``docs/reference/measurements.md`` are all made from the declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


class Rule(Enum):
    """The rules of a column besides its type."""

    OPTIONAL = "optional"
    """A file that another tool wrote may lack the column.

    The values of the column are then empty.
    """

    ONE_PER_TRIAL = "one per trial"
    """All rows of a trial have the same value, because the column describes the measured
    configuration."""

    ADDED_LATER = "added later"
    """Files of older versions lack the column, and a run that continues such a file adds it."""


OPTIONAL, ONE_PER_TRIAL, ADDED_LATER = Rule

_UNITS = {"_s": "s", "_mb": "MiB", "_bytes": "bytes"}
_TYPE_NAMES = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    datetime: "time, UTC",
    str: "text",
}
# Line breaks within an error message are replaced, so that each row is one line. A line without a
# line break at its end is therefore an incomplete row.
_LINE_BREAKS = str.maketrans(dict.fromkeys("\r\n\0", " "))


@dataclass(frozen=True)
class CsvColumn:
    """A column of ``measurements.csv``, as its field declares it.

    Attributes:
        kind: ``bool``, ``int``, ``float``, ``datetime`` or ``str``.
        is_nullable: Whether an empty cell means that the value is not known.
        choices: The strings that a cell may hold; empty if every string is allowed.
        meaning: The meaning of the column, in one or two sentences for the reference page.
    """

    name: str
    kind: type
    is_nullable: bool
    choices: tuple[str, ...]
    meaning: str
    rules: frozenset[Rule]

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers."""
        return self.kind in {int, float}

    @property
    def unit(self) -> str:
        """The unit at the end of the column's name; empty for a count, a label or a time."""
        return next((unit for end, unit in _UNITS.items() if self.name.endswith(end)), "")

    @property
    def type_in_plain_words(self) -> str:
        """The type of the column in plain words, for example ``whole number``."""
        return _TYPE_NAMES[self.kind]

    def decode_cell(self, text: str) -> object:
        """Return the value that the text of a cell stands for.

        Raises:
            ValueError: The text is not a value of the column's type.
        """
        if self.is_nullable and not text:
            return None
        if self.kind is bool:
            if text not in {"true", "false"}:
                raise ValueError(f"{text!r} is neither true nor false")
            return text == "true"
        return datetime.fromisoformat(text) if self.kind is datetime else self.kind(text)


def encode_cell(value: object) -> str:
    """Return the text of the cell for a value; :meth:`CsvColumn.decode_cell` does the reverse."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case float():
            return repr(value)  # repr() never rounds
        case _:
            return str(value).translate(_LINE_BREAKS)


def list_declared_columns(row_class: type) -> tuple[CsvColumn, ...]:
    """Return the columns that a dataclass declares, in the order of its fields."""
    hints = get_type_hints(row_class, include_extras=True)
    columns = []
    for field in fields(row_class):
        hint, meaning, *rules = get_args(hints[field.name])
        choices = tuple(dict.fromkeys(_list_literal_values(hint)))
        kinds = [str] if choices else list(get_args(hint) or (hint,))
        column = CsvColumn(
            name=field.name,
            kind=next(kind for kind in kinds if kind is not NoneType),
            is_nullable=NoneType in kinds,
            choices=choices,
            meaning=meaning,
            rules=frozenset(rules),
        )
        columns.append(column)
    return tuple(columns)


def _list_literal_values(hint: Any) -> list[str]:
    """Return all values that a ``Literal`` allows, or a union of several ``Literal`` types."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [value for part in get_args(hint) for value in _list_literal_values(part)]

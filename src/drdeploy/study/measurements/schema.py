"""How a column of ``measurements.csv`` is declared, and how its values are written and read.

A column is declared once, as an annotated field of
:class:`~drdeploy.study.measurements.measurement.Measurement`: its type, what it means, and its
rules.  The header, rows, validation and ``docs/reference/measurements.md`` all follow from that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


class Rule(Enum):
    """What is asked of a column besides its type."""

    OPTIONAL = "optional"
    """A file that another tool wrote may lack it; the column is empty then."""

    ONE_PER_TRIAL = "one per trial"
    """It says what was measured, so all rows of a trial agree in it."""

    ADDED_LATER = "added later"
    """Our own older files lack it, and a study that goes on in one of them adds it."""


OPTIONAL, ONE_PER_TRIAL, ADDED_LATER = Rule

_UNITS = {"_s": "s", "_mb": "MiB", "_bytes": "bytes"}
_TYPE_NAMES = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    datetime: "time, UTC",
    str: "text",
}
# One row is one line, whatever an error message holds: that is how a row that was not written
# completely is recognised.
_LINE_BREAKS = str.maketrans(dict.fromkeys("\r\n\0", " "))


@dataclass(frozen=True)
class CsvColumn:
    """A column, as its field declares it.

    Attributes:
        kind: ``bool``, ``int``, ``float``, ``datetime`` or ``str``.
        is_nullable: Whether an empty cell stands for a value that is not known.
        choices: The texts that it may hold; empty where any is allowed.
        meaning: One sentence or two, for the reference.
    """

    name: str
    kind: type
    is_nullable: bool
    choices: tuple[str, ...]
    meaning: str
    rules: frozenset[Rule]

    @property
    def is_number(self) -> bool:
        """Whether calculations use it."""
        return self.kind in {int, float}

    @property
    def unit(self) -> str:
        """The unit that its name ends in; empty for a count, a label or a time."""
        return next((unit for end, unit in _UNITS.items() if self.name.endswith(end)), "")

    @property
    def type_name(self) -> str:
        """Its type in words."""
        return _TYPE_NAMES[self.kind]

    def decode(self, text: str) -> object:
        """Read a cell.

        Raises:
            ValueError: The text is not a value of its type.
        """
        if self.is_nullable and not text:
            return None
        if self.kind is bool:
            if text not in {"true", "false"}:
                raise ValueError(f"{text!r} is neither true nor false")
            return text == "true"
        return datetime.fromisoformat(text) if self.kind is datetime else self.kind(text)


def encode(value: object) -> str:
    """Return the cell that holds a value; :meth:`CsvColumn.decode` reads the same value from it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case float():
            return repr(value)  # str() of another version may round; repr() never does
        case _:
            return str(value).translate(_LINE_BREAKS)


def columns_of(row_class: type) -> tuple[CsvColumn, ...]:
    """Return the columns that a dataclass declares, in the order of its fields."""
    hints = get_type_hints(row_class, include_extras=True)
    columns = []
    for field in fields(row_class):
        hint, meaning, *rules = get_args(hints[field.name])
        choices = tuple(dict.fromkeys(_literals(hint)))
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


def _literals(hint: Any) -> list[str]:
    """The values of a ``Literal``, or of a union of several."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [value for part in get_args(hint) for value in _literals(part)]

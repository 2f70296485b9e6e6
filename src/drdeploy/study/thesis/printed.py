"""The figures that the study printed, with the digits that it printed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.study.thesis.raw_rows import PUBLISHED_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIELDS = ("id", "where", "quantity", "model", "configuration", "value", "unit")
CLOSE = 0.01
"""A figure within 1 % of the printed one is close."""


class ReproductionVerdict(StrEnum):
    """How a printed figure compares with the rows."""

    REPRODUCED = "reproduced"
    CLOSE = "close"
    DIFFERS = "differs"
    NOT_RECOMPUTABLE = "not_recomputable"


@dataclass(frozen=True)
class Printed:
    """One figure that the study printed.

    Attributes:
        where: ``Table 6.1`` or ``Section 6.1.2.1``.
        text: The number as it was printed, trailing zeros and all.
    """

    id: str
    where: str
    quantity: str
    model: str
    configuration: str
    text: str
    unit: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def unit_of_last_digit(self) -> float:
        """Size of one unit in the last printed digit: ``0.01`` for ``2.16``."""
        return float(Decimal(1).scaleb(self._exponent))

    def equals(self, value: float) -> bool:
        """Whether the value, rounded or truncated to the printed digits, is the printed one."""
        # Studies round and truncate, so both count; ties are rounded either way.
        step, printed = Decimal(1).scaleb(self._exponent), Decimal(self.text)
        # Decimal, because 2.675 is below itself in binary and would be rounded down.
        exact = Decimal(repr(float(value)))
        ways = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN)
        return any(exact.quantize(step, rounding=way) == printed for way in ways)

    def verdict_on(self, value: float) -> ReproductionVerdict:
        """Compare a recomputed value with the printed one."""
        if self.equals(value):
            return ReproductionVerdict.REPRODUCED
        is_close = abs(value - self.value) <= CLOSE * abs(self.value)
        return ReproductionVerdict.CLOSE if is_close else ReproductionVerdict.DIFFERS

    @property
    def _exponent(self) -> int:
        exponent = Decimal(self.text).as_tuple().exponent
        return exponent if isinstance(exponent, int) else 0


def read_printed(folder: Path) -> tuple[Printed, ...]:
    """Read ``published.csv``.

    Raises:
        AnalysisError: The file or a column is missing, an id is repeated, or a value is wrong.
    """
    path = folder / PUBLISHED_FILE
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The printed figures cannot be read",
            where=str(path),
            remedy=f"Put {PUBLISHED_FILE} beside the raw rows, with {', '.join(FIELDS)}",
        ) from err
    missing = [name for name in FIELDS if name not in table.columns]
    if missing or table.empty:
        what = f"lack {', '.join(missing)}" if missing else "are none"
        raise AnalysisError(
            f"The printed figures {what}", where=str(path), remedy=f"Needed: {', '.join(FIELDS)}"
        )
    printed = tuple(
        _figure(row, f"{path}, line {line}")
        for line, row in enumerate(table.to_dict("records"), start=2)
    )
    _require_one_each(printed, path)
    return printed


def _figure(row: Mapping[Any, Any], where: str) -> Printed:
    text = row["value"].strip()
    try:
        is_number = Decimal(text).is_finite()
    except InvalidOperation:
        is_number = False
    if not is_number:
        raise AnalysisError(
            f"The printed value {text!r} is not a number",
            where=where,
            remedy="Write it with a point and the digits that were printed",
        )
    words = {name: row[name].strip() for name in FIELDS if name != "value"}
    return Printed(text=text, **words)


def _require_one_each(printed: tuple[Printed, ...], path: Path) -> None:
    seen: set[str] = set()
    for figure in printed:
        if figure.id in seen:
            raise AnalysisError(
                f"The id {figure.id} stands twice",
                where=str(path),
                remedy="Give every printed figure an id of its own",
            )
        seen.add(figure.id)

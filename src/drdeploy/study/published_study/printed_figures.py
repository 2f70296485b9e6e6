"""Read the numbers that the study printed, with their digits."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.hosting.images.reference import ReferenceImage
from drdeploy.study.published_study.raw_rows import PUBLISHED_FILE, STUDY_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIELDS = ("id", "where", "quantity", "model", "configuration", "value", "unit")
IMAGES_SOURCE = "thesis, table 5.2"
CLOSE = 0.01
"""A recomputed number within 1 % of the printed number gets the verdict ``close``."""


class ReproductionVerdict(StrEnum):
    """The result of comparing a printed number with the rows."""

    REPRODUCED = "reproduced"
    CLOSE = "close"
    DIFFERS = "differs"
    NOT_RECOMPUTABLE = "not_recomputable"


@dataclass(frozen=True)
class PrintedFigure:
    """One number that the study printed.

    Attributes:
        where: The place in the study, for example ``Table 6.1`` or ``Section 6.1.2.1``.
        text: The number as it was printed, including trailing zeros.
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
        """The printed number as a float."""
        return float(self.text)

    @property
    def unit_of_last_digit(self) -> float:
        """The size of one unit in the last printed digit, for example ``0.01`` for ``2.16``."""
        return float(Decimal(1).scaleb(self._exponent_of_last_digit))

    def equals_after_rounding(self, value: float) -> bool:
        """Whether a value gives the printed digits if it is rounded or truncated."""
        # Studies round or truncate, so both count. A tie may be rounded up or down.
        step, printed = Decimal(1).scaleb(self._exponent_of_last_digit), Decimal(self.text)
        # Decimal, because the float 2.675 is slightly below 2.675 and would be rounded down.
        exact = Decimal(repr(float(value)))
        ways = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN)
        return any(exact.quantize(step, rounding=way) == printed for way in ways)

    def classify_recomputed_value(self, value: float) -> ReproductionVerdict:
        """Return whether a recomputed value reproduces the printed value, is close, or differs."""
        if self.equals_after_rounding(value):
            return ReproductionVerdict.REPRODUCED
        is_close = abs(value - self.value) <= CLOSE * abs(self.value)
        return ReproductionVerdict.CLOSE if is_close else ReproductionVerdict.DIFFERS

    @property
    def _exponent_of_last_digit(self) -> int:
        exponent = Decimal(self.text).as_tuple().exponent
        return exponent if isinstance(exponent, int) else 0


@cache
def load_texts_about_figures() -> dict[str, dict[str, str]]:
    """Return the texts about printed numbers from ``texts.toml``, by table and key."""
    return tomllib.loads((STUDY_FOLDER / "texts.toml").read_text("utf-8"))


def read_printed_figures(folder: Path) -> tuple[PrintedFigure, ...]:
    """Read ``published.csv``.

    Raises:
        AnalysisError: The file or a column is missing, an id is repeated, or a value is wrong.
    """
    path = folder / PUBLISHED_FILE
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not a CSV file in UTF-8"
        raise AnalysisError(
            f"The table of the numbers that the study printed cannot be read: {reason}",
            where=str(path),
            remedy=f"Give a folder whose {PUBLISHED_FILE} has the columns {', '.join(FIELDS)}, or "
            "omit the folder to use the packaged files",
        ) from err
    missing = [name for name in FIELDS if name not in table.columns]
    if missing or table.empty:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has no rows"
        raise AnalysisError(
            f"The file of printed numbers {what}",
            where=str(path),
            remedy=f"Write a CSV file with the columns {', '.join(FIELDS)}",
        )
    printed = tuple(
        _parse_printed_figure(row, f"{path}, line {line}")
        for line, row in enumerate(table.to_dict("records"), start=2)
    )
    repeated = [id_ for id_, count in Counter(one.id for one in printed).items() if count > 1]
    if repeated:
        raise AnalysisError(
            f"Two printed numbers have the id '{repeated[0]}'",
            where=str(path),
            remedy="Give every printed number an id of its own",
        )
    return printed


def _parse_printed_figure(row: Mapping[Any, Any], where: str) -> PrintedFigure:
    text = row["value"].strip()
    try:
        is_number = Decimal(text).is_finite()
    except InvalidOperation:
        is_number = False
    if not is_number:
        raise AnalysisError(
            f"The printed value {text!r} is not a number",
            where=where,
            remedy="Write the printed digits with a decimal point",
        )
    words = {name: row[name].strip() for name in FIELDS if name != "value"}
    return PrintedFigure(text=text, **words)


def list_published_image_sizes() -> tuple[ReferenceImage, ...]:
    """Return the printed sizes of the study's container images.

    Each size has the name of the image of drdeploy that corresponds to the study's image.
    """
    sizes = {(one.configuration, one.unit): one.value for one in read_printed_figures(STUDY_FOLDER)}
    return tuple(
        ReferenceImage(ours, round(sizes[theirs, "MB"]), sizes[theirs, "GB"], IMAGES_SOURCE)
        for theirs, ours in load_texts_about_figures()["images"].items()
    )

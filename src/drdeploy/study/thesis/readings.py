"""Which other reading of the same rows gives the printed number.

A reading departs from the definition in something that has a name: another statistic than the
mean, fewer rows, means that were rounded before they were divided, another size or instance,
another column, the model names exchanged, the reduction taken of the other one, another price.
Readings with one departure are tried first, then those with two.  With many readings, one or
another hits the printed digits by chance: how many would be expected to is told beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.thesis.departures import apply_departures, departures_of, other_rows
from drdeploy.study.thesis.printed import ReproductionVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drdeploy.study.thesis.departures import Reading
    from drdeploy.study.thesis.formulas import Constant, Formula, Samples, Term
    from drdeploy.study.thesis.printed import Printed

NEIGHBOURHOOD = 0.1
"""Readings within 10 % of the printed number say how dense readings lie there."""
WINDOW_UNITS = 1.5
"""Rounding and truncating accept one and a half units of the last digit together."""
TELLING = 0.5
"""Where more matches than this are expected by chance, a match says little."""
MOST_SHOWN = 5
MOST_DEPARTURES = 2


@dataclass(frozen=True)
class Search:
    """What came of looking for a reading.

    Attributes:
        matches: Readings that give the printed digits, with their values; fewest departures alone.
        found: How many there are (``matches`` holds the first few).
        tried: How many readings were tried.
        by_chance: How many of them would be expected to hit the printed digits by chance.
    """

    matches: tuple[tuple[Reading, float], ...]
    found: int
    tried: int
    by_chance: float

    @property
    def is_telling(self) -> bool:
        """Whether so few readings match by chance that a match means something."""
        return bool(self.matches) and self.by_chance < TELLING


def search(
    figure: Printed,
    formula: Formula,
    samples: Samples,
    printed_terms: Mapping[Term, Constant] | None = None,
) -> Search:
    """Try every reading with one departure, then with two, until some give the printed digits."""
    single = tuple(departures_of(formula, samples, printed_terms or {}))
    tried: list[float] = []
    for count in range(1, MOST_DEPARTURES + 1):
        matches: list[tuple[Reading, float]] = []
        for departures in combinations(single, count):
            reading = apply_departures(formula, departures)
            if reading is None:
                continue
            value = reading.value(samples)
            if not np.isfinite(value):
                continue
            tried.append(value)
            if figure.equals(value) and not _is_told(reading, value, matches):
                matches.append((reading, value))
        if matches:
            break
    chance = _expected_by_chance(figure, tried)
    return Search(tuple(matches[:MOST_SHOWN]), len(matches), len(tried), chance)


def _is_told(reading: Reading, value: float, matches: list[tuple[Reading, float]]) -> bool:
    """Rounding and cutting often give one and the same number: told once."""
    return any(
        reading.kinds == other.kinds and reading.formula == other.formula and value == found
        for other, found in matches
    )


def near(figure: Printed, formula: Formula, samples: Samples) -> tuple[tuple[Reading, float], ...]:
    """Readings with other rows alone that come within 1 % of the printed number.

    A label may be wrong and the digits off as well.
    """
    readings = [
        apply_departures(formula, (departure,)) for departure in other_rows(formula, samples)
    ]
    values = [(reading, reading.value(samples)) for reading in readings if reading]
    close = [
        (reading, value)
        for reading, value in values
        if figure.judge(value) is ReproductionVerdict.CLOSE
    ]
    return tuple(sorted(close, key=lambda one: abs(one[1] - figure.value)))


def _expected_by_chance(figure: Printed, tried: Iterable[float]) -> float:
    """Density of readings around the printed number times the width that counts as a match."""
    span = NEIGHBOURHOOD * abs(figure.value)
    near = sum(0 < abs(value - figure.value) <= span for value in tried)
    window = WINDOW_UNITS * figure.unit_of_last_digit
    return near * min(1.0, window / (2 * span)) if span else 0.0

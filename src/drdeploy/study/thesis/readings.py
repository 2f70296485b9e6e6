"""The search for another reading of the same rows that gives the printed number.

A reading departs from the definition in something that has a name: another statistic than the
mean, fewer rows, means that were rounded before they were divided, another size or instance,
another column, the other model, the inverse reduction, another price.  Readings with one departure
are tried first, then those with two.  Among many readings, one or another gives the printed digits
by chance; how many are expected to do so is stated with the result.
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
"""The density of readings is counted within 10 % of the printed number."""
WINDOW_UNITS = 1.5
"""Rounding and truncating together accept values within one and a half units of the last digit."""
TELLING = 0.5
"""If more matches than this are expected by chance, a match says little."""
MOST_SHOWN = 5
MOST_DEPARTURES = 2


@dataclass(frozen=True)
class Search:
    """The result of a search for readings.

    Attributes:
        matches: The first few readings that give the printed digits, with their values; only those
            with the fewest departures.
        found: Number of such readings.
        tried: Number of readings that were tried.
        by_chance: Number of them that are expected to give the printed digits by chance.
    """

    matches: tuple[tuple[Reading, float], ...]
    found: int
    tried: int
    by_chance: float

    @property
    def is_telling(self) -> bool:
        """Whether there is a match that chance hardly explains."""
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
            if figure.equals(value) and not _is_known(reading, value, matches):
                matches.append((reading, value))
        # Two departures explain far more numbers than one, so they are tried only if one does not.
        if matches:
            break
    chance = _expected_by_chance(figure, tried)
    return Search(tuple(matches[:MOST_SHOWN]), len(matches), len(tried), chance)


def _is_known(reading: Reading, value: float, matches: list[tuple[Reading, float]]) -> bool:
    """Whether a match of the same kinds has the same value: rounding often equals truncating."""
    return any(
        reading.kinds == other.kinds and reading.formula == other.formula and value == found
        for other, found in matches
    )


def near(figure: Printed, formula: Formula, samples: Samples) -> tuple[tuple[Reading, float], ...]:
    """Find readings with only other rows that come within 1 % of the printed number.

    They show where a label may be wrong although the digits do not match.
    """
    readings = [
        apply_departures(formula, (departure,)) for departure in other_rows(formula, samples)
    ]
    values = [(reading, reading.value(samples)) for reading in readings if reading]
    close = [
        (reading, value)
        for reading, value in values
        if figure.verdict_on(value) is ReproductionVerdict.CLOSE
    ]
    return tuple(sorted(close, key=lambda one: abs(one[1] - figure.value)))


def _expected_by_chance(figure: Printed, tried: Iterable[float]) -> float:
    """Density of readings around the printed number, times the width that counts as a match."""
    span = NEIGHBOURHOOD * abs(figure.value)
    # A reading that gives the number itself is what is to be explained: it is not counted.
    near = sum(0 < abs(value - figure.value) <= span for value in tried)
    window = WINDOW_UNITS * figure.unit_of_last_digit
    return near * min(1.0, window / (2 * span)) if span else 0.0

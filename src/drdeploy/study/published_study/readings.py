"""Search for other readings of the same rows that give the printed number.

A reading differs from the definition in one or two respects. It may use another statistic, fewer
rows, another memory size or instance, another column, the other model, or another price. It may
also exchange the two amounts of a ratio, or round means before dividing them. Readings with one
departure are tried first, then readings with two departures. If many readings are tried, some give
the printed digits by chance. The result therefore says how many matches are expected by chance
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.published_study.departures import (
    apply_departures,
    list_departures_to_other_rows,
    list_possible_departures,
)
from drdeploy.study.published_study.printed_figures import ReproductionVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drdeploy.study.published_study.departures import FigureReading
    from drdeploy.study.published_study.formulas import Constant, Formula, StudySamples, Term
    from drdeploy.study.published_study.printed_figures import PrintedFigure

NEIGHBOURHOOD = 0.1
"""Readings within 10 % of the printed number are counted, to estimate how many match by chance."""
WINDOW_UNITS = 1.5
"""The width of the range of values that give the printed digits by rounding or truncation, in units
of the last digit."""
TELLING = 0.5
"""If at least this number of matches is expected by chance, a match is weak evidence."""
MOST_SHOWN = 5
MOST_DEPARTURES = 2


@dataclass(frozen=True)
class ReadingSearch:
    """The result of a search for readings, which are other ways to compute a printed number.

    Attributes:
        matches: The first few readings that give the printed digits, with their values.
        found: The number of readings that give the printed digits.
        tried: The number of readings that were tried.
        by_chance: The number of tried readings that are expected to give the printed digits by
            chance alone.
    """

    matches: tuple[tuple[FigureReading, float], ...]
    found: int
    tried: int
    by_chance: float

    @property
    def has_match_beyond_chance(self) -> bool:
        """Whether a reading gives the printed digits, and probably not by chance."""
        return bool(self.matches) and self.by_chance < TELLING


def search_other_readings(
    figure: PrintedFigure,
    formula: Formula,
    samples: StudySamples,
    printed_terms: Mapping[Term, Constant] | None = None,
) -> ReadingSearch:
    """Try all readings (ways to compute the number) that differ from the definition in one respect.

    If none of them gives the printed digits, readings that differ in two respects are tried.
    """
    single = tuple(list_possible_departures(formula, samples, printed_terms or {}))
    tried: list[float] = []
    for count in range(1, MOST_DEPARTURES + 1):
        matches: list[tuple[FigureReading, float]] = []
        for departures in combinations(single, count):
            reading = apply_departures(formula, departures)
            if reading is None:
                continue
            value = reading.compute_value_of_figure(samples)
            if not np.isfinite(value):
                continue
            tried.append(value)
            if figure.equals_after_rounding(value) and not _is_same_match_listed(
                reading, value, matches
            ):
                matches.append((reading, value))
        # Pairs of departures give far more different numbers than single departures. Pairs are
        # tried only if no single departure gives the printed digits.
        if matches:
            break
    chance = _count_matches_expected_by_chance(figure, tried)
    return ReadingSearch(tuple(matches[:MOST_SHOWN]), len(matches), len(tried), chance)


def _is_same_match_listed(
    reading: FigureReading, value: float, matches: list[tuple[FigureReading, float]]
) -> bool:
    """Whether ``matches`` holds a reading with the same value, formula and kinds of departures."""
    return any(
        reading.kinds == other.kinds and reading.formula == other.formula and value == found
        for other, found in matches
    )


def find_close_readings_with_other_rows(
    figure: PrintedFigure, formula: Formula, samples: StudySamples
) -> tuple[tuple[FigureReading, float], ...]:
    """Return readings that use other rows and give a value within 1 % of the printed number.

    A close reading suggests that the study's text names the wrong rows, even if the reading does
    not give the printed digits.
    """
    readings = [
        apply_departures(formula, (departure,))
        for departure in list_departures_to_other_rows(formula, samples)
    ]
    values = [
        (reading, reading.compute_value_of_figure(samples)) for reading in readings if reading
    ]
    close = [
        (reading, value)
        for reading, value in values
        if figure.classify_recomputed_value(value) is ReproductionVerdict.CLOSE
    ]
    return tuple(sorted(close, key=lambda one: abs(one[1] - figure.value)))


def _count_matches_expected_by_chance(figure: PrintedFigure, tried: Iterable[float]) -> float:
    """Return how many of the tried readings are expected to give the printed digits by chance."""
    span = NEIGHBOURHOOD * abs(figure.value)
    # A reading that gives exactly the printed number is not counted, because the question is
    # whether it did so by chance.
    near = sum(0 < abs(value - figure.value) <= span for value in tried)
    window = WINDOW_UNITS * figure.unit_of_last_digit
    return near * min(1.0, window / (2 * span)) if span else 0.0

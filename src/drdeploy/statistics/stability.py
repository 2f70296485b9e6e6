"""Check that the rows of a scenario have one distribution and are independent of each other.

Every interval assumes this. The checks of this module remove no row. Outliers are listed, and drift
and dependence are reported beside the numbers that they affect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.means import FEWEST_ROWS, estimate_ratio_of_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from drdeploy.arrays import Floats
    from drdeploy.statistics.estimate import Estimate

FEWEST_FOR_A_VERDICT = 8
"""The smallest number of rows for a verdict. With five rows or fewer, the test for drift cannot
give a p value below its significance level. With six or seven rows, the p value can be below this
level only if the values rise or fall almost without exception.
"""
LEVEL = 0.01
"""The significance level of each test. If a study has 26 scenarios, each test gives about one false
alarm in every four studies."""
FENCE = 1.5
"""A row is an outlier if it is more than this many box lengths away from the box of a box plot
(Tukey 1977)."""


class Stability(StrEnum):
    """Whether the rows of a scenario have the same distribution and are independent."""

    STEADY = "steady"
    DRIFTS = "drifts"
    DEPENDENT = "rows depend on each other"
    TOO_FEW = "too few rows to tell"


@dataclass(frozen=True)
class Outlier:
    """A row outside the whiskers of the box plot; it is not removed from the sample.

    Attributes:
        position: Position in the sample, counted from 0.
        value: The measured value.
    """

    position: int
    value: float


@dataclass(frozen=True)
class Steadiness:
    """The result of checking the rows of a scenario.

    If there are too few rows for a verdict, or if all rows are equal, the four values of drift and
    autocorrelation are None.

    Attributes:
        verdict: Whether the rows have the same distribution and are independent.
        drift: Change from the first to the last row (Theil-Sen), divided by the median; 0.1 means
            10 %.
        drift_p: P value of Kendall's rank correlation of the values with their order (Mann 1945).
        autocorrelation: Rank correlation of each row with the next.
        autocorrelation_p: P value of the autocorrelation.
        outliers: Rows that lie more than 1.5 times the interquartile range below the first or above
            the third quartile.
        halves: The mean of the odd rows (the first, the third and so on), divided by the mean of
            the even rows. Both halves of the rows have the same configuration, so the ratio should
            be close to 1 (an A/A check).
    """

    verdict: Stability
    drift: float | None
    drift_p: float | None
    autocorrelation: float | None
    autocorrelation_p: float | None
    outliers: tuple[Outlier, ...]
    halves: Estimate


def check_steadiness_of_rows(sample: ArrayLike) -> Steadiness:
    """Check the values of a scenario in the order in which they were measured."""
    values = np.asarray(sample, dtype=np.float64).ravel()
    outliers, halves = find_outliers(values), estimate_ratio_of_odd_to_even_rows(values)
    if values.size < FEWEST_FOR_A_VERDICT or np.ptp(values) == 0:
        return Steadiness(Stability.TOO_FEW, None, None, None, None, outliers, halves)
    order = np.arange(values.size)
    drift_p = float(stats.kendalltau(order, values).pvalue)
    slope = float(stats.theilslopes(values, order).slope)
    drift = slope * (values.size - 1) / float(np.median(values))
    dependence, dependence_p = _rank_correlation_of_neighbours(values)
    verdict = Stability.STEADY
    if drift_p < LEVEL:
        verdict = Stability.DRIFTS
    elif dependence_p is not None and dependence_p < LEVEL:
        verdict = Stability.DEPENDENT
    return Steadiness(verdict, drift, drift_p, dependence, dependence_p, outliers, halves)


def _rank_correlation_of_neighbours(values: Floats) -> tuple[float | None, float | None]:
    """Return the rank correlation of each row with the next, and its p value."""
    before, after = values[:-1], values[1:]
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None, None
    found = stats.spearmanr(before, after)
    return float(found.statistic), float(found.pvalue)


def find_outliers(values: Floats) -> tuple[Outlier, ...]:
    """Return the rows outside the whiskers of the box plot, in the order of measurement."""
    if values.size < FEWEST_ROWS:
        return ()
    low, high = np.quantile(values, [0.25, 0.75])
    reach = FENCE * (high - low)
    beyond = np.flatnonzero((values < low - reach) | (values > high + reach))
    return tuple(Outlier(int(at), float(values[at])) for at in beyond)


def estimate_ratio_of_odd_to_even_rows(values: Floats) -> Estimate:
    """Compare the odd rows of a scenario with its even rows.

    The odd and the even rows have the same configuration. About one in twenty intervals of the
    ratio should therefore exclude 1. If clearly more than one in twenty exclude 1, the
    intervals of the study are too short, and comparisons of configurations show differences that do
    not exist.
    """
    return estimate_ratio_of_means(values[::2], values[1::2])

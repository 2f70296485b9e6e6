"""Check that the rows of one scenario are alike and independent, as every interval assumes.

Nothing is ever trimmed because of what is found here: outliers are listed, and drift and
dependence are reported beside the numbers that they make doubtful.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.means import FEWEST_ROWS, Estimate, ratio_of_means

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

FEWEST_FOR_A_VERDICT = 8
"""With fewer rows, neither test can reach its level."""
LEVEL = 0.01
"""Level of each test.  In a study of 26 scenarios, each gives one false alarm in four studies."""
FENCE = 1.5
"""How many box lengths from the box a row is an outlier (Tukey 1977), as in the figures."""


class Stability(StrEnum):
    """Whether the rows of a scenario are alike and independent."""

    STEADY = "steady"
    DRIFTS = "drifts"
    DEPENDENT = "rows depend on each other"
    TOO_FEW = "too few rows to tell"


@dataclass(frozen=True)
class Outlier:
    """A row outside the whiskers of the box plot; it counts like any other.

    Attributes:
        position: In the order of the sample, from 0.
        value: What was measured.
    """

    position: int
    value: float


@dataclass(frozen=True)
class Steadiness:
    """The result of checking the rows of a scenario.

    Attributes:
        verdict: Whether they are alike and independent.
        drift: Change from the first to the last row (Theil-Sen) over the median, 0.1 for 10 %.
        drift_p: P value of Kendall's rank correlation with the order (Mann 1945).
        autocorrelation: Rank correlation of each row with the next.
        autocorrelation_p: P value of that correlation.
        outliers: Rows more than one and a half box lengths from the box.
        halves: A/A check: mean of the odd rows over the mean of the even ones.
    """

    verdict: Stability
    drift: float | None
    drift_p: float | None
    autocorrelation: float | None
    autocorrelation_p: float | None
    outliers: tuple[Outlier, ...]
    halves: Estimate


def steadiness(sample: ArrayLike) -> Steadiness:
    """Check values in the order in which they were measured."""
    values = np.asarray(sample, dtype=np.float64).ravel()
    outliers, halves = outliers_of(values), a_a_ratio(values)
    if values.size < FEWEST_FOR_A_VERDICT or np.ptp(values) == 0:
        return Steadiness(Stability.TOO_FEW, None, None, None, None, outliers, halves)
    order = np.arange(values.size)
    drift_p = float(stats.kendalltau(order, values).pvalue)
    slope = float(stats.theilslopes(values, order).slope)
    drift = slope * (values.size - 1) / float(np.median(values))
    dependence, dependence_p = _dependence(values)
    verdict = Stability.STEADY
    if drift_p < LEVEL:
        verdict = Stability.DRIFTS
    elif dependence_p is not None and dependence_p < LEVEL:
        verdict = Stability.DEPENDENT
    return Steadiness(verdict, drift, drift_p, dependence, dependence_p, outliers, halves)


def _dependence(values: Floats) -> tuple[float | None, float | None]:
    """Rank correlation of each row with the next, and its p value; None if the rows do not vary."""
    before, after = values[:-1], values[1:]
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None, None
    found = stats.spearmanr(before, after)
    return float(found.statistic), float(found.pvalue)


def outliers_of(values: Floats) -> tuple[Outlier, ...]:
    """Return the rows beyond the whiskers of the box plot, in their order."""
    if values.size < FEWEST_ROWS:
        return ()
    low, high = np.quantile(values, [0.25, 0.75])
    reach = FENCE * (high - low)
    beyond = np.flatnonzero((values < low - reach) | (values > high + reach))
    return tuple(Outlier(int(at), float(values[at])) for at in beyond)


def a_a_ratio(values: Floats) -> Estimate:
    """Compare the rows of a scenario with each other: every other row over the rest.

    Both halves come from the same configuration, so about one interval in twenty should exclude 1.
    If more do, the intervals of the study are too short to compare configurations by.
    """
    return ratio_of_means(values[::2], values[1::2])

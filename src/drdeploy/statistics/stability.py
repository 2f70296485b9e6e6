"""Whether the rows of one scenario are what an interval takes them for: alike and independent.

Nothing is ever trimmed because of what is found here: outliers are listed, drift and dependence
are told beside the numbers that they make doubtful.
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
"""Below this neither test can reach its level."""
LEVEL = 0.01
"""Of each test: in a study of 26 scenarios, one false alarm in four studies for each."""
FENCE = 1.5
"""Box lengths beyond which a row is an outlier (Tukey 1977), as in the figures."""


class Stability(StrEnum):
    """The verdict."""

    STEADY = "steady"
    DRIFTS = "drifts"
    DEPENDENT = "rows depend on each other"
    TOO_FEW = "too few rows to tell"


@dataclass(frozen=True)
class Outlier:
    """A row outside the whiskers; it counts like any other.

    Attributes:
        position: From 0, in the order of the sample.
    """

    position: int
    value: float


@dataclass(frozen=True)
class Steadiness:
    """What the order of the rows says.

    Attributes:
        drift: Change from the first to the last row over the median (Theil-Sen), 0.1 for 10 %.
        drift_p: Of Kendall's rank correlation with the order (Mann 1945).
        autocorrelation: Rank correlation of each row with the next.
        autocorrelation_p: Of the same.
        outliers: Rows beyond one and a half box lengths from the box.
        halves: A/A check: mean of the odd rows over mean of the even ones.
    """

    verdict: Stability
    drift: float | None
    drift_p: float | None
    autocorrelation: float | None
    autocorrelation_p: float | None
    outliers: tuple[Outlier, ...]
    halves: Estimate


def steadiness(sample: ArrayLike) -> Steadiness:
    """Judge values in the order in which they were measured."""
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
    """Rank correlation of neighbours and its p; None where either side does not vary."""
    before, after = values[:-1], values[1:]
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None, None
    found = stats.spearmanr(before, after)
    return float(found.statistic), float(found.pvalue)


def outliers_of(values: Floats) -> tuple[Outlier, ...]:
    """Rows beyond the whiskers of the box plot, in their order."""
    if values.size < FEWEST_ROWS:
        return ()
    low, high = np.quantile(values, [0.25, 0.75])
    reach = FENCE * (high - low)
    beyond = np.flatnonzero((values < low - reach) | (values > high + reach))
    return tuple(Outlier(int(at), float(values[at])) for at in beyond)


def a_a_ratio(values: Floats) -> Estimate:
    """Rows against rows of the same scenario: every other one over the rest.

    Both halves come from one configuration, so about one interval in twenty, and no more, should
    exclude 1; where more do, intervals of this study are too short to compare by.
    """
    return ratio_of_means(values[::2], values[1::2])

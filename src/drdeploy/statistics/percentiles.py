"""Medians and percentiles with the intervals of their order statistics: no distribution assumed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import CONFIDENCE, TAIL, Estimate, too_few

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def median(sample: ArrayLike) -> Estimate:
    """Median with interpolated order statistics (Hettmansperger and Sheather 1986)."""
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    method = "interpolated order statistics"
    estimate = Estimate(
        float(np.median(values)) if values.size else None, None, None, values.size, method
    )
    depth, weight = _median_depth(values.size)
    if depth == 0:
        return replace(estimate, reason=too_few(values.size, rows_needed(0.5)))
    low = (1 - weight) * values[depth - 1] + weight * values[depth]
    high = (1 - weight) * values[-depth] + weight * values[-depth - 1]
    return replace(estimate, low=float(low), high=float(high))


def percentile(sample: ArrayLike, share: float) -> Estimate:
    """Percentile with the interval of two order statistics (coverage at least 95 %).

    Args:
        sample: The rows.
        share: 0.95 for p95.

    Returns:
        The sample percentile (linear interpolation).  Without an interval where even the
        smallest and the largest row cover the percentile less than 95 % of the time.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    value = float(np.quantile(values, share)) if values.size else None
    estimate = Estimate(value, None, None, values.size, "order statistics")
    ranks = _ranks_around(share, values.size)
    if ranks is None:
        return replace(estimate, reason=too_few(values.size, rows_needed(share)))
    return replace(estimate, low=float(values[ranks[0]]), high=float(values[ranks[1]]))


def rows_needed(share: float) -> int:
    """Fewest rows with which a percentile has a 95 % interval: 59 for p95, 6 for the median."""
    n = 1
    while 1 - share**n - (1 - share) ** n < CONFIDENCE:
        n += 1
    return n


def _median_depth(n: int) -> tuple[int, float]:
    """Depth d of the order statistics around the median and the weight of depth d + 1.

    Depth 0 where even the extremes cover the median less than 95 % of the time.
    """
    depth = int(stats.binom.ppf(TAIL, n, 0.5))
    if depth == 0 or _covers(depth, n) < CONFIDENCE:
        return 0, 0.0
    outer, inner = _covers(depth, n), _covers(depth + 1, n)
    inward = (outer - CONFIDENCE) / (outer - inner)
    return depth, (n - depth) * inward / (depth + (n - 2 * depth) * inward)


def _covers(depth: int, n: int) -> float:
    return 1 - 2 * float(stats.binom.cdf(depth - 1, n, 0.5))


def _ranks_around(share: float, n: int) -> tuple[int, int] | None:
    """Zero-based ranks of the closest pair of order statistics that covers the percentile.

    Of equally close pairs, the one that splits the error most evenly between its two sides.
    """
    if n < rows_needed(share):
        return None
    below = stats.binom.cdf(np.arange(n), n, share)  # P(at most k rows lie below the percentile)
    pairs = (
        (high - low, abs(below[low] - (1 - below[high])), low, high)
        for low in range(n)
        for high in [_lowest_upper_rank(below, low)]
        if high < n
    )
    closest = min(pairs)
    return closest[2], closest[3]


def _lowest_upper_rank(below: NDArray[np.float64], low: int) -> int:
    # P(x[low] < q < x[high]) = P(low + 1 <= rows below q <= high) = below[high] - below[low]
    return int(np.searchsorted(below, below[low] + CONFIDENCE))

"""Estimate medians and percentiles, with intervals that assume no distribution.

How many of n rows lie below the true percentile follows a binomial distribution, whatever the
rows are.  So the chance that the percentile lies between two of the sorted rows is known exactly,
and such a pair is the interval.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import CONFIDENCE, TAIL, Estimate, too_few

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def median(sample: ArrayLike) -> Estimate:
    """Estimate the median, with interpolated order statistics as the interval.

    The pairs of a small sample jump from, say, 93 % to 98 % coverage; between them the limits are
    interpolated (Hettmansperger and Sheather, Stat. Probab. Lett. 1986, 4:75-79).
    """
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
    """Estimate a percentile, with two order statistics as the interval.

    Args:
        sample: The rows.
        share: 0.95 for p95.

    Returns:
        The sample percentile (linear interpolation).  It has no interval if even the smallest and
        the largest row contain the true percentile less than 95 % of the time.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    value = float(np.quantile(values, share)) if values.size else None
    estimate = Estimate(value, None, None, values.size, "order statistics")
    ranks = _ranks_around(share, values.size)
    if ranks is None:
        return replace(estimate, reason=too_few(values.size, rows_needed(share)))
    return replace(estimate, low=float(values[ranks[0]]), high=float(values[ranks[1]]))


def rows_needed(share: float) -> int:
    """Return how many rows a percentile's interval needs: 59 for p95, 6 for the median."""
    n = 1
    # The chance that neither all rows nor none of them lie below the percentile.
    while 1 - share**n - (1 - share) ** n < CONFIDENCE:
        n += 1
    return n


def _median_depth(n: int) -> tuple[int, float]:
    """Return the depth d of the pair around the median, and the weight of the pair at d + 1.

    Depth 1 is the pair of the smallest and the largest row.  Depth 0 means that even this pair
    contains the median less than 95 % of the time.
    """
    depth = int(stats.binom.ppf(TAIL, n, 0.5))
    if depth == 0 or _coverage(depth, n) < CONFIDENCE:
        return 0, 0.0
    outer, inner = _coverage(depth, n), _coverage(depth + 1, n)
    inward = (outer - CONFIDENCE) / (outer - inner)
    return depth, (n - depth) * inward / (depth + (n - 2 * depth) * inward)


def _coverage(depth: int, n: int) -> float:
    """Chance that the pair of order statistics at that depth contains the median."""
    return 1 - 2 * float(stats.binom.cdf(depth - 1, n, 0.5))


def _ranks_around(share: float, n: int) -> tuple[int, int] | None:
    """Return the zero-based ranks of the closest pair that covers the percentile often enough.

    Of equally close pairs it is the one that splits the error most evenly between its sides.
    """
    if n < rows_needed(share):
        return None
    below = stats.binom.cdf(np.arange(n), n, share)  # P(at most k rows lie below the percentile)
    pairs = (
        (high - low, abs(below[low] - (1 - below[high])), low, high)
        for low in range(n)
        # P(x[low] < q < x[high]) = P(low < rows below q <= high) = below[high] - below[low]
        for high in [int(np.searchsorted(below, below[low] + CONFIDENCE))]
        if high < n
    )
    closest = min(pairs)
    return closest[2], closest[3]

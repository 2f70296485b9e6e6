"""Estimate medians and percentiles, with intervals that assume no distribution.

The number of rows below the true percentile follows a binomial distribution, whatever the
distribution of the rows is. For any two of the sorted rows, the chance that the true percentile
lies between them is therefore known exactly. The interval of a percentile runs between two sorted
rows for which this chance is at least 95 %.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import CONFIDENCE, TAIL, Estimate, reason_for_too_few_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def estimate_median(sample: ArrayLike) -> Estimate:
    """Estimate the median, with an interval that is interpolated between sorted rows.

    For example, one pair of sorted rows encloses the median in 93 % of samples, and the next wider
    pair encloses it in 98 %. The 95 % limits are interpolated between these two pairs
    (Hettmansperger and Sheather, Statistics and Probability Letters 1986, 4:75-79).
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    method = "interpolated order statistics"
    estimate = Estimate(
        float(np.median(values)) if values.size else None, None, None, values.size, method
    )
    depth, weight = _depth_of_median_interval(values.size)
    if depth == 0:
        return replace(
            estimate, reason=reason_for_too_few_rows(values.size, rows_needed_for_percentile(0.5))
        )
    low = (1 - weight) * values[depth - 1] + weight * values[depth]
    high = (1 - weight) * values[-depth] + weight * values[-depth - 1]
    return replace(estimate, low=float(low), high=float(high))


def estimate_percentile(sample: ArrayLike, share: float) -> Estimate:
    """Estimate a percentile, with two of the sorted rows as the limits of its interval.

    Args:
        sample: The rows.
        share: The percentile as a share, for example 0.95 for p95.

    Returns:
        The sample percentile (linear interpolation). If there are too few rows, there is no
        interval, because even the smallest and the largest row enclose the true percentile in less
        than 95 % of samples.
    """
    values = np.sort(np.asarray(sample, dtype=np.float64).ravel())
    value = float(np.quantile(values, share)) if values.size else None
    estimate = Estimate(value, None, None, values.size, "order statistics")
    ranks = _ranks_enclosing_percentile(share, values.size)
    if ranks is None:
        return replace(
            estimate, reason=reason_for_too_few_rows(values.size, rows_needed_for_percentile(share))
        )
    return replace(estimate, low=float(values[ranks[0]]), high=float(values[ranks[1]]))


def rows_needed_for_percentile(share: float) -> int:
    """Return how many rows the interval of a percentile needs, for example 59 for p95."""
    n = 1
    # The chance that some rows lie below the percentile, and some above it.
    while 1 - share**n - (1 - share) ** n < CONFIDENCE:
        n += 1
    return n


def _depth_of_median_interval(n: int) -> tuple[int, float]:
    """Return how to interpolate the limits of a median between two pairs of sorted rows.

    The pair at depth 1 is the smallest and the largest row. The pair at depth 2 is the second
    smallest and the second largest row, and so on.

    Returns:
        The depth of the outer pair, and the weight of the inner pair in the interpolation. The
        depth of the inner pair is greater by one. A depth of 0 means that there are too few rows:
        even the smallest and the largest row enclose the median in less than 95 % of samples.
    """
    depth = int(stats.binom.ppf(TAIL, n, 0.5))
    if depth == 0 or _coverage_of_median_pair(depth, n) < CONFIDENCE:
        return 0, 0.0
    outer, inner = _coverage_of_median_pair(depth, n), _coverage_of_median_pair(depth + 1, n)
    inward = (outer - CONFIDENCE) / (outer - inner)
    return depth, (n - depth) * inward / (depth + (n - 2 * depth) * inward)


def _coverage_of_median_pair(depth: int, n: int) -> float:
    """Return the chance that the median lies between the ``depth``-th smallest and largest row."""
    return 1 - 2 * float(stats.binom.cdf(depth - 1, n, 0.5))


def _ranks_enclosing_percentile(share: float, n: int) -> tuple[int, int] | None:
    """Return the ranks, counted from 0, of the two sorted rows that enclose a percentile.

    The two rows enclose the true percentile in at least 95 % of samples. Of all such pairs, the
    function returns the pair with the fewest rows in between. If several pairs have equally few, it
    returns the pair for which the percentile is about as often below the interval as above it. The
    result is None if there are too few rows.
    """
    if n < rows_needed_for_percentile(share):
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

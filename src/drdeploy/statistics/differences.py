"""Estimate how much two configurations differ, from independent or paired rows.

Rows are paired if each row of one side was measured next to one row of the other, with the same
photograph.  Then whatever disturbed both drops out of the comparison, and the interval is shorter.
Rows of two trials that ran one after the other are not paired, even if there are as many of each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError
from drdeploy.statistics.estimate import TAIL, Estimate, too_few
from drdeploy.statistics.means import (
    BOOTSTRAP_ROWS,
    FEWEST_ROWS,
    MEDIAN_BOOTSTRAP_ROWS,
    SEED,
    as_sample,
    share_of,
)
from drdeploy.statistics.studentised import (
    OF_A_COMPARISON,
    Pivot,
    bootstrap_limits,
    means,
    resampled,
    students_limits,
    welch,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_STUDENTISED, _STUDENTS_T = "calibrated studentised bootstrap", "Student's t"


def difference_of_means(one: ArrayLike, other: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the difference of the means of two independent samples, one minus the other.

    With fewer than 10 rows on either side, the interval is Welch's.
    """
    above, below = as_sample(one), as_sample(other)
    smaller = min(above.size, below.size)
    estimate = Estimate(
        float(above.mean() - below.mean()) if smaller else None,
        *(None, None, above.size, _method(smaller)),
        n_other=below.size,
    )
    reason = _why_no_interval(above) or _why_no_interval(below)
    if reason:
        return replace(estimate, reason=reason)
    top, bottom = means(above[None]), means(below[None])
    observed = top.minus(bottom)
    if smaller < BOOTSTRAP_ROWS:
        freedom = welch(top, above.size, bottom, below.size)
        return estimate.with_limits(students_limits(observed, freedom))
    rng = np.random.default_rng(seed)
    resamples = means(resampled(above, rng)).minus(means(resampled(below, rng)))
    return estimate.with_limits(bootstrap_limits(observed, resamples, OF_A_COMPARISON))


def paired_difference(one: ArrayLike, other: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the mean difference of pairs, one minus the other.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    pairs = _pairs(one, other)
    changes = pairs[:, 0] - pairs[:, 1]
    estimate = Estimate(
        float(changes.mean()) if changes.size else None,
        *(None, None, changes.size, f"{_method(changes.size)}, paired"),
    )
    reason = _why_no_interval(changes)
    if reason:
        return replace(estimate, reason=reason)
    observed = means(changes[None])
    if changes.size < BOOTSTRAP_ROWS:
        return estimate.with_limits(students_limits(observed, changes.size - 1))
    resamples: Pivot = means(resampled(changes, np.random.default_rng(seed)))
    return estimate.with_limits(bootstrap_limits(observed, resamples, OF_A_COMPARISON))


def paired_ratio(one: ArrayLike, other: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the ratio of the means of paired rows.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    pairs = _pairs(one, other)
    ratio = share_of(pairs[:, 0], pairs[:, 1], seed=seed)
    return replace(ratio, method=f"{ratio.method}, paired", n_other=ratio.n)


def paired_ratio_of_medians(one: ArrayLike, other: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the ratio of the medians of paired rows, by percentile bootstrap over pairs.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    pairs = _pairs(one, other)
    n = len(pairs)
    medians = np.median(pairs, axis=0) if n else np.array([np.nan, np.nan])
    estimate = Estimate(
        float(medians[0] / medians[1]) if n and medians[1] else None,
        *(None, None, n, "percentile bootstrap, paired"),
        n_other=n,
    )
    if n < MEDIAN_BOOTSTRAP_ROWS:
        return replace(estimate, reason=too_few(n, MEDIAN_BOOTSTRAP_ROWS))
    if pairs.min() <= 0:
        return replace(estimate, reason="no interval: a value is zero or negative")
    drawn = np.median(resampled(pairs, np.random.default_rng(seed)), axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [TAIL, 1 - TAIL])
    return estimate.with_limits((float(low), float(high)))


def _pairs(one: ArrayLike, other: ArrayLike) -> Floats:
    first, second = as_sample(one), as_sample(other)
    if first.size != second.size:
        raise AnalysisError(
            f"The rows are not paired: {first.size} on one side, {second.size} on the other",
            remedy="Compare them as independent samples",
        )
    pairs = np.column_stack([first, second])
    complete: Floats = pairs[np.isfinite(pairs).all(axis=1)]
    return complete


def _why_no_interval(values: Floats) -> str:
    if values.size < FEWEST_ROWS:
        return too_few(values.size, FEWEST_ROWS)
    return "no interval: all rows are equal" if np.ptp(values) == 0 else ""


def _method(n: int) -> str:
    return _STUDENTISED if n >= BOOTSTRAP_ROWS else _STUDENTS_T

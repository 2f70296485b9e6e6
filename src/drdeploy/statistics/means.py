"""Estimate means and ratios of latencies, whose samples are small and skewed.

A 95 % interval should contain the true value 95 times out of 100.  The table shows how often each
of ours does, in per cent of 1,000 simulated samples (from ``benchmarks/interval_coverage.py``).
The rows are log-normal with sigma 0.1 to 0.8, or have a tail in addition: 2 to 10 % of them take 2
to 4 times as long.

==================  ================================  =====================  =====================
statistic           interval                          log-normal             with a tail
                                                      n = 10 / 25 / 100      n = 10 / 25 / 100
==================  ================================  =====================  =====================
mean                calibrated studentised bootstrap  95-97 / 97 / 96-97     95-96 / 95-96 / 94-97
ratio of means      the same, two samples             95-96 / 96-98 / 95-97  95-96 / 95 / 94-95
median              interpolated order statistics     94-95 / 95 / 94        95 / 96 / 94-95
ratio of medians    percentile bootstrap              96 / 96 / 96           96 / 97 / 96
paired ratio        calibrated studentised bootstrap  95-97 / 96-97 / 95-97  95-96 / 94-96 / 95-97
p95                 order statistics                  none / none / 97       none / none / 96-97
standard deviation  Bonett 2006                       87-95 / 86-91 / 88     66 / 61 / 82
==================  ================================  =====================  =====================

The last line is not in the benchmark.  An interval of a standard deviation is rough if there are
outliers, and pages say so.

No interval can know about a tail of which the sample has no row.  If one row in twenty takes five
times as long, the interval of the mean of ten or twenty-five rows contains the truth 86 to 89 % of
the time.  The interval of a percentile comes from order statistics, which is exact for every
distribution; :func:`rows_needed` says how many rows it takes.

Differences and paired rows are in ``differences``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import TAIL, Estimate, too_few
from drdeploy.statistics.percentiles import median, percentile, rows_needed
from drdeploy.statistics.studentised import (
    OF_A_COMPARISON,
    OF_A_MEAN,
    RESAMPLES,
    bootstrap_limits,
    log_means,
    log_shares,
    resampled,
    students_limits,
    welch,
)

__all__ = [
    "RESAMPLES",
    "Estimate",
    "mean",
    "median",
    "percentile",
    "ratio_of_means",
    "ratio_of_medians",
    "rows_needed",
    "share_of",
    "standard_deviation",
]

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SEED = 2023
BOOTSTRAP_ROWS = 10
"""Fewest rows for the studentised bootstrap.  With fewer it is erratic: some resamples hardly vary,
and dividing by their error gave limits of 10^11 at n = 5.  Student's t of the log covers as well
there: 93-95 % at n = 3 to 8 (of ratios, by Welch: 94-97 %)."""
MEDIAN_BOOTSTRAP_ROWS = 5
FEWEST_ROWS = 3
STUDENTISED = "calibrated studentised bootstrap of the log"
STUDENTS_T = "Student's t of the log"


def mean(sample: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the arithmetic mean of positive values.

    The interval is computed for the logarithm, so that it stays positive: by the calibrated
    studentised bootstrap, or by Student's t for fewer than 10 rows.
    """
    values = as_sample(sample)
    estimate = Estimate(_mean_of(values), None, None, values.size, _method(values.size))
    reason = why_no_interval(values, FEWEST_ROWS)
    if reason:
        return replace(estimate, reason=reason)
    observed = log_means(values[None, :])
    if values.size < BOOTSTRAP_ROWS:
        return _with_log_limits(estimate, students_limits(observed, values.size - 1))
    resamples = log_means(resampled(values, np.random.default_rng(seed)))
    return _with_log_limits(estimate, bootstrap_limits(observed, resamples, OF_A_MEAN))


def standard_deviation(sample: ArrayLike) -> Estimate:
    """Estimate the standard deviation (n - 1), with an interval from 10 rows on.

    The interval is Bonett's (Comput. Stat. Data Anal. 2006, 50:775-782): that of normal rows,
    widened by the kurtosis of the sample.
    """
    values = as_sample(sample)
    spread = float(values.std(ddof=1)) if values.size > 1 else None
    estimate = Estimate(spread, None, None, values.size, "Bonett's interval")
    reason = why_no_interval(values, BOOTSTRAP_ROWS)
    if reason:
        return replace(estimate, reason=reason)
    return estimate.with_limits(_bonett_limits(values))


def ratio_of_means(numerator: ArrayLike, denominator: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the ratio of the means of two independent samples; the interval is as for a mean."""
    above, below = as_sample(numerator), as_sample(denominator)
    smaller = min(above.size, below.size)
    estimate = _ratio_estimate(
        _mean_of(above), _mean_of(below), above.size, below.size, _method(smaller)
    )
    reason = why_no_interval(above, FEWEST_ROWS) or why_no_interval(below, FEWEST_ROWS)
    if reason:
        return replace(estimate, reason=reason)
    top, bottom = log_means(above[None, :]), log_means(below[None, :])
    if smaller < BOOTSTRAP_ROWS:
        freedom = welch(top, above.size, bottom, below.size)
        return _with_log_limits(estimate, students_limits(top.minus(bottom), freedom))
    rng = np.random.default_rng(seed)
    resamples = log_means(resampled(above, rng)).minus(log_means(resampled(below, rng)))
    return _with_log_limits(
        estimate, bootstrap_limits(top.minus(bottom), resamples, OF_A_COMPARISON)
    )


def ratio_of_medians(numerator: ArrayLike, denominator: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the ratio of the medians of two independent samples, by percentile bootstrap."""
    above, below = as_sample(numerator), as_sample(denominator)
    estimate = _ratio_estimate(
        _median_of(above), _median_of(below), above.size, below.size, "percentile bootstrap"
    )
    reason = why_no_interval(above, MEDIAN_BOOTSTRAP_ROWS) or why_no_interval(
        below, MEDIAN_BOOTSTRAP_ROWS
    )
    if reason:
        return replace(estimate, reason=reason)
    rng = np.random.default_rng(seed)
    tops, bottoms = (np.median(resampled(sample, rng), axis=1) for sample in (above, below))
    low, high = np.quantile(tops / bottoms, [TAIL, 1 - TAIL])
    return estimate.with_limits((float(low), float(high)))


def share_of(part: ArrayLike, whole: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the mean of a part over the mean of the whole, on the rows that have both."""
    rows = np.column_stack([as_sample(part), as_sample(whole)])
    rows = rows[np.isfinite(rows).all(axis=1)]
    parts, wholes = rows[:, 0], rows[:, 1]
    estimate = _ratio_estimate(
        _mean_of(parts), _mean_of(wholes), len(rows), None, _method(len(rows))
    )
    reason = why_no_interval(parts, FEWEST_ROWS) or why_no_interval(wholes, FEWEST_ROWS)
    if reason:
        return replace(estimate, reason=reason)
    observed = log_shares(rows[None])
    if observed.squared_error[0] <= 0:
        return replace(estimate, reason="no interval: the share is the same in all rows")
    if len(rows) < BOOTSTRAP_ROWS:
        return _with_log_limits(estimate, students_limits(observed, len(rows) - 1))
    resamples = log_shares(resampled(rows, np.random.default_rng(seed)))
    return _with_log_limits(estimate, bootstrap_limits(observed, resamples, OF_A_COMPARISON))


def as_sample(sample: ArrayLike) -> Floats:
    """Return the values as one flat array."""
    return np.asarray(sample, dtype=np.float64).ravel()


def why_no_interval(values: Floats, needed: int) -> str:
    """Say why positive values have no interval; empty if they have one."""
    if values.size < needed:
        return too_few(values.size, needed)
    if values.min() <= 0:
        return "no interval: a value is zero or negative"
    if np.ptp(values) == 0:
        return "no interval: all rows are equal"
    return ""


def _mean_of(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _median_of(values: Floats) -> float | None:
    return float(np.median(values)) if values.size else None


def _method(n: int) -> str:
    return STUDENTISED if n >= BOOTSTRAP_ROWS else STUDENTS_T


def _with_log_limits(estimate: Estimate, limits: tuple[float, float]) -> Estimate:
    return estimate.with_limits((float(np.exp(limits[0])), float(np.exp(limits[1]))))


def _ratio_estimate(
    above: float | None, below: float | None, n: int, n_other: int | None, method: str
) -> Estimate:
    value = None if above is None or not below else above / below
    return Estimate(value, None, None, n, method, n_other=n_other)


def _bonett_limits(values: Floats) -> tuple[float, float]:
    n, z = values.size, float(stats.norm.ppf(1 - TAIL))
    deviations = values - values.mean()
    centre = stats.trim_mean(values, 1 / (2 * np.sqrt(n - 4)))
    kurtosis = n * ((values - centre) ** 4).sum() / (deviations**2).sum() ** 2
    small_sample = n / (n - z)
    error = small_sample * np.sqrt(max(kurtosis - (n - 3) / n, 0) / (n - 1))
    log_variance = np.log(small_sample * values.var(ddof=1))
    limits = np.sqrt(np.exp(log_variance + z * error * np.array([-1, 1])))
    return float(limits[0]), float(limits[1])

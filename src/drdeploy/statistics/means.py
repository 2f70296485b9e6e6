"""Estimate means and ratios of latencies, whose samples are small and skewed.

A row is one measured request, and its value here is usually a latency. A sample is a list of such
values.

A 95 % interval should contain the true value 95 times out of 100. This was checked with 1,000
simulated samples for each case. The table shows in what percentage of them each interval contains
the true value. ``none`` means that the sample is too small for an interval. The simulated latencies
are log-normal with a sigma of 0.1 to 0.8. In the simulations with a tail, 2 to 10 % of the
latencies are 2 to 4 times as long. A cell such as 95-97 gives the lowest and the highest percentage
of several simulations.

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

``benchmarks/interval_coverage.py`` computes every line of the table except the last one. If there
are outliers, the interval of a standard deviation is only approximate.

No interval can account for slow rows that the sample does not contain. Suppose that one row in
twenty takes five times as long as the others. Then the interval from 10 or 25 rows contains the
true mean in only 86 to 89 % of the samples.

The interval of a percentile runs from one of the sorted rows to another, and is valid for every
distribution of latencies. The function :func:`rows_needed_for_percentile` returns how many rows
such an interval needs.

The rows of two configurations can be paired if both were measured with the same photographs. A pair
then consists of two rows, one of each configuration, with the same photograph. A large photograph
makes both rows of its pair slow, so its effect cancels out in the ratio. The interval is therefore
shorter. Do not pair rows just because both configurations have the same number of rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.errors import AnalysisError
from drdeploy.statistics.estimate import TAIL, Estimate, reason_for_too_few_rows
from drdeploy.statistics.studentised import (
    OF_A_COMPARISON,
    OF_A_MEAN,
    ROUNDING,
    StatisticWithError,
    compute_log_means,
    compute_log_ratios_of_paired_means,
    degrees_of_freedom,
    draw_resamples,
    student_t_limits,
    studentised_bootstrap_limits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from drdeploy.arrays import Floats
    from drdeploy.statistics.studentised import Tails

SEED = 2023
BOOTSTRAP_ROWS = 10
"""The smallest number of rows for the studentised bootstrap. With fewer rows, some resamples hardly
vary. Dividing by the tiny standard error of such resamples gave limits of 10^11 at n = 5. Smaller
samples therefore use Student's t of the logarithm. At n = 3 to 8, the intervals of
Student's t contain the true mean in 93-95 % of samples. For ratios, Welch's intervals contain the
true ratio in 94-97 % of samples."""
MEDIAN_BOOTSTRAP_ROWS = 5
FEWEST_ROWS = 3
STUDENTISED = "calibrated studentised bootstrap of the log"
STUDENTS_T = "Student's t of the log"


def estimate_mean(sample: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the arithmetic mean of positive values.

    The interval is computed for the logarithm of the mean, so that its limits stay positive. The
    method is the calibrated studentised bootstrap, or Student's t for fewer than 10 rows.
    """
    values = flatten_to_float_array(sample)
    reason = reason_for_no_interval(values, FEWEST_ROWS)
    return _estimate_with_log_interval(
        _mean_or_none(values), [values], reason, compute_log_means, tails=OF_A_MEAN, seed=seed
    )


def estimate_standard_deviation(sample: ArrayLike) -> Estimate:
    """Estimate the standard deviation (n - 1), with an interval if there are at least 10 rows.

    The interval is Bonett's (Computational Statistics and Data Analysis 2006, 50:775-782). Bonett
    takes the interval for a normal distribution, and adjusts its length to the kurtosis of the
    sample.
    """
    values = flatten_to_float_array(sample)
    spread = float(values.std(ddof=1)) if values.size > 1 else None
    reason = reason_for_no_interval(values, BOOTSTRAP_ROWS)
    estimate = Estimate(spread, None, None, values.size, "Bonett's interval", reason=reason)
    return estimate if reason else estimate.with_limits(_bonett_limits_of_deviation(values))


def estimate_ratio_of_means(
    numerator: ArrayLike, denominator: ArrayLike, *, seed: int = SEED
) -> Estimate:
    """Estimate the ratio of the means of two independent samples."""
    above, below = flatten_to_float_array(numerator), flatten_to_float_array(denominator)
    ratio = _divide_or_none(_mean_or_none(above), _mean_or_none(below))
    reason = reason_for_no_interval(above, FEWEST_ROWS) or reason_for_no_interval(
        below, FEWEST_ROWS
    )
    return _estimate_with_log_interval(
        ratio, [above, below], reason, compute_log_means, tails=OF_A_COMPARISON, seed=seed
    )


def estimate_share_of_whole(part: ArrayLike, whole: ArrayLike, *, seed: int = SEED) -> Estimate:
    """Estimate the mean of a part divided by the mean of the whole.

    An example is the share of the prediction in the total latency. Values at the same
    position of ``part`` and ``whole`` belong to the same row.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    rows = _pair_finite_values(part, whole)
    parts, wholes = rows.T
    ratio = _divide_or_none(_mean_or_none(parts), _mean_or_none(wholes))
    reason = reason_for_no_interval(parts, FEWEST_ROWS) or reason_for_no_interval(
        wholes, FEWEST_ROWS
    )
    if not reason and compute_log_ratios_of_paired_means(rows[None]).squared_error[0] <= ROUNDING:
        reason = "no interval: the share is the same in all rows"
    return _estimate_with_log_interval(
        ratio, [rows], reason, compute_log_ratios_of_paired_means, tails=OF_A_COMPARISON, seed=seed
    )


def estimate_paired_ratio_of_means(
    one: ArrayLike, other: ArrayLike, *, seed: int = SEED
) -> Estimate:
    """Estimate the ratio of the means of paired rows.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    ratio = estimate_share_of_whole(one, other, seed=seed)
    return replace(ratio, method=f"{ratio.method}, paired", n_other=ratio.n)


def estimate_ratio_of_medians(
    numerator: ArrayLike, denominator: ArrayLike, *, seed: int = SEED
) -> Estimate:
    """Estimate the ratio of the medians of two independent samples, by percentile bootstrap."""
    above, below = flatten_to_float_array(numerator), flatten_to_float_array(denominator)
    ratio = _divide_or_none(_median_or_none(above), _median_or_none(below))
    reason = reason_for_no_interval(above, MEDIAN_BOOTSTRAP_ROWS) or reason_for_no_interval(
        below, MEDIAN_BOOTSTRAP_ROWS
    )
    estimate = Estimate(
        *(ratio, None, None, above.size, "percentile bootstrap", below.size), reason=reason
    )
    if reason:
        return estimate
    rng = np.random.default_rng(seed)
    tops, bottoms = (np.median(draw_resamples(sample, rng), axis=1) for sample in (above, below))
    return estimate.with_limits(_limits_of_middle_95_percent(tops / bottoms))


def estimate_paired_ratio_of_medians(
    one: ArrayLike, other: ArrayLike, *, seed: int = SEED
) -> Estimate:
    """Estimate the ratio of the medians of paired rows.

    The interval comes from a percentile bootstrap, which draws whole pairs.

    Raises:
        AnalysisError: The samples are not of the same length.
    """
    pairs = _pair_finite_values(one, other)
    n, reason = len(pairs), ""
    if n < MEDIAN_BOOTSTRAP_ROWS:
        reason = reason_for_too_few_rows(n, MEDIAN_BOOTSTRAP_ROWS)
    elif pairs.min() <= 0:
        reason = "no interval: a value is zero or negative"
    ratio = _divide_or_none(*map(_median_or_none, pairs.T))
    estimate = Estimate(*(ratio, None, None, n, "percentile bootstrap, paired", n), reason=reason)
    if reason:
        return estimate
    drawn = np.median(draw_resamples(pairs, np.random.default_rng(seed)), axis=1)
    return estimate.with_limits(_limits_of_middle_95_percent(drawn[:, 0] / drawn[:, 1]))


def flatten_to_float_array(sample: ArrayLike) -> Floats:
    """Return the values as one flat array."""
    return np.asarray(sample, dtype=np.float64).ravel()


def reason_for_no_interval(values: Floats, needed: int) -> str:
    """Return why no interval can be computed from the values; empty if one can be computed."""
    if values.size < needed:
        return reason_for_too_few_rows(values.size, needed)
    if values.min() <= 0:
        return "no interval: a value is zero or negative"
    if np.ptp(values) == 0:
        return "no interval: all rows are equal"
    return ""


def _estimate_with_log_interval(
    value: float | None,
    samples: Sequence[Floats],
    reason: str,
    log_statistic: Callable[[Floats], StatisticWithError],
    *,
    tails: Tails,
    seed: int,
) -> Estimate:
    """Estimate a statistic, with an interval that is computed on a logarithmic scale.

    The statistic belongs to one sample, or is a ratio of statistics of two independent samples.

    Args:
        value: The estimated statistic or ratio.
        samples: One sample, or two samples of which the first is the numerator.
        reason: Why there is no interval; empty if there is one.
        log_statistic: Function that takes an array with one sample per row, and computes the
            logarithm of the statistic for each sample.
        tails: Shares of the bootstrap's pivots that are cut off on each side (see
            :mod:`~drdeploy.statistics.studentised`).
        seed: Seed for drawing the resamples.
    """
    sizes = [len(sample) for sample in samples]
    method = STUDENTISED if min(sizes) >= BOOTSTRAP_ROWS else STUDENTS_T
    n, n_other = sizes if len(sizes) > 1 else (sizes[0], None)
    estimate = Estimate(value, None, None, n, method, n_other, reason)
    if reason:
        return estimate
    observed = [log_statistic(sample[None]) for sample in samples]
    centre = reduce(StatisticWithError.subtract_independent_statistic, observed)
    if method == STUDENTS_T:
        limits = student_t_limits(centre, degrees_of_freedom(observed, sizes))
    else:
        rng = np.random.default_rng(seed)
        resamples = [log_statistic(draw_resamples(sample, rng)) for sample in samples]
        limits = studentised_bootstrap_limits(
            centre, reduce(StatisticWithError.subtract_independent_statistic, resamples), tails
        )
    return estimate.with_limits((float(np.exp(limits[0])), float(np.exp(limits[1]))))


def _pair_finite_values(one: ArrayLike, other: ArrayLike) -> Floats:
    """Return the pairs of two samples in shape ``(n, 2)``, without pairs that are not finite."""
    first, second = flatten_to_float_array(one), flatten_to_float_array(other)
    if first.size != second.size:
        raise AnalysisError(
            f"A paired comparison needs samples of equal size, not {first.size} and "
            f"{second.size} rows",
            remedy="Compare the two samples as independent samples",
        )
    pairs = np.column_stack([first, second])
    complete: Floats = pairs[np.isfinite(pairs).all(axis=1)]
    return complete


def _mean_or_none(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _median_or_none(values: Floats) -> float | None:
    return float(np.median(values)) if values.size else None


def _divide_or_none(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below


def _limits_of_middle_95_percent(resamples: Floats) -> tuple[float, float]:
    """Return the two values between which the middle 95 % of the resamples lie."""
    low, high = np.quantile(resamples, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _bonett_limits_of_deviation(values: Floats) -> tuple[float, float]:
    n, z = values.size, float(stats.norm.ppf(1 - TAIL))
    deviations = values - values.mean()
    centre = stats.trim_mean(values, 1 / (2 * np.sqrt(n - 4)))
    kurtosis = n * ((values - centre) ** 4).sum() / (deviations**2).sum() ** 2
    small_sample = n / (n - z)
    error = small_sample * np.sqrt(max(kurtosis - (n - 3) / n, 0) / (n - 1))
    log_variance = np.log(small_sample * values.var(ddof=1))
    limits = np.sqrt(np.exp(log_variance + z * error * np.array([-1, 1])))
    return float(limits[0]), float(limits[1])

"""Compute CloudWatch's statistics of the samples of one period.

Source: CloudWatch user guide, "CloudWatch statistics definitions". A percentage of the samples is
turned into a whole number of samples. A lower bound is rounded down, and any other percentage is
rounded up. For example, p95 of n samples is the sample with the rank ceil(0.95 n), and tm95 is the
mean of the samples up to this rank. This follows from the guide, which calls p99 the largest value
that is left when the highest 1 % are ignored. If a period has many samples, CloudWatch keeps them
only in rounded form. CloudWatch's percentiles are then close to those of this module, but not
always equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.hosting.local.monitoring.monitoring_errors import make_validation_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.hosting.local.monitoring.metric_store import MetricSamples

NUMBER = r"\d+(?:\.\d{1,10})?"
ONE_PERCENTAGE = re.compile(rf"(p|tm|wm|tc|ts)({NUMBER})")
BOUNDS = re.compile(rf"(TM|WM|TC|TS|PR)\(({NUMBER}%?)?:({NUMBER}%?)?\)")
ROUNDING = 1e-9
"""A rank is lowered by this amount before it is rounded up, because a floating-point product can be
slightly larger than the exact result."""


@dataclass(frozen=True)
class Statistic:
    """A CloudWatch statistic, such as an average or a percentile, and how to compute it.

    Attributes:
        name: The name in the request, for example ``p99.9`` or ``TM(10%:90%)``.
        compute: A function that takes the samples of a period, and returns the value of the
            statistic. It returns None if the statistic cannot be computed from the samples.
        percentile: For a percentile, its percentage, for example 99.9; None for any other
            statistic.
    """

    name: str
    compute: Callable[[MetricSamples], float | None]
    percentile: float | None = None


@dataclass(frozen=True)
class _Ranked:
    """Sorted values, how often each occurred, and how many of its occurrences a statistic counts.

    A statistic such as a trimmed mean counts only the samples within its bounds.

    For a winsorized mean, a sample outside of the bounds counts with the value of the nearer bound.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    kept: NDArray[np.float64]
    edges: tuple[float, float]


Bounds = tuple[str | None, str | None]


def parse_basic_statistic(text: str) -> Statistic:
    """Return one of CloudWatch's five basic statistics, for example ``Average``.

    All five can be computed from any samples, even from statistic sets.

    Raises:
        MonitoringError: There is no such statistic.
    """
    if text not in BASIC_STATISTICS:
        raise make_validation_error(
            f"Value '{text}' for parameter Statistics is invalid: it must be one of "
            f"{', '.join(BASIC_STATISTICS)}."
        )
    return Statistic(text, BASIC_STATISTICS[text])


def parse_extended_statistic(text: str) -> Statistic:
    """Return a percentile, or a statistic that counts only the samples within bounds.

    Raises:
        MonitoringError: There is no such statistic.
    """
    if text in {"IQM", "iqm"}:
        return Statistic(text, _make_bounded_statistic("TM", ("25%", "75%")))
    single = ONE_PERCENTAGE.fullmatch(text)
    if single and float(single[2]) <= 100:
        if single[1] == "p":
            share = float(single[2])
            return Statistic(text, lambda samples: _compute_percentile(samples, share), share)
        return Statistic(text, _make_bounded_statistic(single[1].upper(), (None, f"{single[2]}%")))
    ranged = BOUNDS.fullmatch(text)
    if ranged and _are_valid_bounds(ranged[1], ranged[2], ranged[3]):
        return Statistic(text, _make_bounded_statistic(ranged[1], (ranged[2], ranged[3])))
    raise make_validation_error(
        f"The value {text} for parameter Statistic is not supported. CloudWatch has p99.9, tm99, "
        "wm98, tc90, ts90 and IQM. TM, WM, TC and TS take bounds, as in TM(10%:90%) or "
        "TM(150:1000). PR takes values as bounds, as in PR(:300)."
    )


def parse_statistic(text: str) -> Statistic:
    """Return a basic or an extended statistic.

    Raises:
        MonitoringError: There is no such statistic.
    """
    if text in BASIC_STATISTICS:
        return parse_basic_statistic(text)
    return parse_extended_statistic(text)


def count_samples(samples: MetricSamples) -> float:
    """Return the number of samples."""
    return math.fsum(samples.counts) + math.fsum(one.count for one in samples.sets)


def _sum_samples(samples: MetricSamples) -> float:
    values = (value * count for value, count in zip(samples.values, samples.counts, strict=True))
    return math.fsum(values) + math.fsum(one.total for one in samples.sets)


def _average_samples(samples: MetricSamples) -> float | None:
    count = count_samples(samples)
    return _sum_samples(samples) / count if count else None


def _find_minimum(samples: MetricSamples) -> float | None:
    return min([*samples.values, *(one.minimum for one in samples.sets)], default=None)


def _find_maximum(samples: MetricSamples) -> float | None:
    return max([*samples.values, *(one.maximum for one in samples.sets)], default=None)


BASIC_STATISTICS: dict[str, Callable[[MetricSamples], float | None]] = {
    "SampleCount": count_samples,
    "Sum": _sum_samples,
    "Average": _average_samples,
    "Minimum": _find_minimum,
    "Maximum": _find_maximum,
}


def _are_valid_bounds(kind: str, low: str | None, high: str | None) -> bool:
    bounds = [one for one in (low, high) if one is not None]
    are_percentages = {one.endswith("%") for one in bounds}
    numbers = [float(one.rstrip("%")) for one in bounds]
    return (
        len(are_percentages) == 1
        and numbers == sorted(numbers)
        and not (True in are_percentages and (kind == "PR" or numbers[-1] > 100))
    )


def _make_bounded_statistic(kind: str, bounds: Bounds) -> Callable[[MetricSamples], float | None]:
    def compute_statistic_within_bounds(samples: MetricSamples) -> float | None:
        ranked = _rank_samples(samples, bounds)
        return None if ranked is None else _COMPUTE_BOUNDED[kind](ranked)

    return compute_statistic_within_bounds


def _sort_single_samples(
    samples: MetricSamples,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the sorted values with their counts; None if extended statistics are impossible.

    Extended statistics need every single value. A statistic set allows them only if its minimum
    and maximum are equal, because all its values are then the same. CloudWatch computes no extended
    statistic if a value is negative.
    """
    values, counts = list(samples.values), list(samples.counts)
    for one in samples.sets:
        if one.minimum != one.maximum:
            return None
        values.append(one.minimum)
        counts.append(one.count)
    if not values or min(values) < 0:
        return None
    order = np.argsort(values, kind="stable")
    return np.asarray(values)[order], np.asarray(counts)[order]


def _compute_percentile(samples: MetricSamples, share: float) -> float | None:
    found = _sort_single_samples(samples)
    if found is None:
        return None
    values, counts = found
    cumulative = np.cumsum(counts)
    rank = max(1.0, math.ceil(cumulative[-1] * share / 100 - ROUNDING))
    return float(values[min(np.searchsorted(cumulative, rank - ROUNDING), len(values) - 1)])


def _rank_samples(samples: MetricSamples, bounds: Bounds) -> _Ranked | None:
    found = _sort_single_samples(samples)
    if found is None:
        return None
    values, counts = found
    low, high = bounds
    if any(one is not None and one.endswith("%") for one in bounds):
        last = np.cumsum(counts)
        total = float(last[-1])
        from_rank = math.floor(_parse_percent_bound(low, 0) * total + ROUNDING)
        to_rank = math.ceil(_parse_percent_bound(high, 100) * total - ROUNDING)
        kept = np.clip(np.minimum(last, to_rank) - np.maximum(last - counts, from_rank), 0, None)
        inside = values[kept > 0]
        edges = (float(inside[0]), float(inside[-1])) if len(inside) else (0.0, 0.0)
        return _Ranked(values, counts, kept, edges)
    edges = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    is_inside = (values > edges[0]) & (values <= edges[1])
    return _Ranked(values, counts, np.where(is_inside, counts, 0.0), edges)


def _parse_percent_bound(bound: str | None, default: float) -> float:
    return (default if bound is None else float(bound.rstrip("%"))) / 100


def _average_trimmed(ranked: _Ranked) -> float | None:
    count = ranked.kept.sum()
    return float((ranked.values * ranked.kept).sum() / count) if count else None


def _average_winsorized(ranked: _Ranked) -> float | None:
    clipped = np.clip(ranked.values, *ranked.edges)
    return float((clipped * ranked.counts).sum() / ranked.counts.sum())


_COMPUTE_BOUNDED: dict[str, Callable[[_Ranked], float | None]] = {
    "TM": _average_trimmed,
    "WM": _average_winsorized,
    "TC": lambda ranked: float(ranked.kept.sum()),
    "TS": lambda ranked: float((ranked.values * ranked.kept).sum()),
    "PR": lambda ranked: float(100 * ranked.kept.sum() / ranked.counts.sum()),
}

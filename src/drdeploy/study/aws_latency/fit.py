"""Fit the coefficients by which latency on AWS is estimated from latency on this machine.

Ratios are averaged on a logarithmic scale, so that a ratio of 0.5 and a ratio of 2 cancel out. For
cold starts, the time to pull the container image is first subtracted from the latency. Two
coefficients are then fitted together: the CPU ratio, and the time to place the container. Their
values make the sum of the squared relative errors as small as possible. Neither coefficient can
become negative.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from drdeploy.study.aws_latency.series import KINDS, STUDY_IMAGE_GB, STUDY_SOURCE
from drdeploy.study.published_study.printed_figures import read_printed_figures
from drdeploy.study.published_study.raw_rows import STUDY_FOLDER
from drdeploy.study.recommendation.aws_latency_estimates import (
    COLD_RATIO,
    INSTANCE_OVERHEAD,
    INSTANCE_RATIO,
    PLACEMENT,
    PULL,
    SERVERLESS_OVERHEAD,
    SERVERLESS_RATIO,
    name_ratio_of_instance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from drdeploy.study.aws_latency.series import PairedSeries, SeriesSummary

BASE_MB = 1024
"""The memory with which the 2023 study measured its larger container images."""
LARGEST_IMAGE_GB = 1.79827
"""The compressed size of the 2023 study's largest container image (table 5.2, no optimisation)."""
ENOUGH_OWN_SERIES = 3
"""There are three kinds of series: warm serverless requests, requests to instances, and cold
starts. If the user's account has at least this many series of one kind, the model is fitted to them
without the 2023 study's series of this kind.
"""


def fit_coefficients(summaries: Sequence[SeriesSummary], pull_s_per_gb: float) -> dict[str, float]:
    """Fit every coefficient except ``pull_s_per_gb``, which the caller passes.

    Args:
        summaries: The series to fit. At least one series of each kind is needed: warm serverless
            rows, rows of instances, and cold starts.
        pull_s_per_gb: The time to pull a container image, in seconds per compressed GB, from
            :func:`fit_image_pull_s_per_gb`.
    """
    by_kind: dict[str, list[SeriesSummary]] = defaultdict(list)
    for one in summaries:
        by_kind[one.series.cold_warm_or_instance].append(one)
        if one.series.instance_type:
            by_kind[name_ratio_of_instance(one.series.instance_type)].append(one)
    chosen = {kind: choose_series_to_fit(those) for kind, those in by_kind.items()}
    warm, instances, cold = (chosen.pop(kind) for kind in KINDS)
    placement, cold_ratio = _fit_placement_and_ratio(cold, pull_s_per_gb)
    return {
        SERVERLESS_OVERHEAD: _average_overhead_s(warm),
        INSTANCE_OVERHEAD: _average_overhead_s(instances),
        SERVERLESS_RATIO: _compute_geometric_mean_of_ratios(warm),
        INSTANCE_RATIO: _compute_geometric_mean_of_ratios(instances),
        **{name: _compute_geometric_mean_of_ratios(those) for name, those in chosen.items()},
        PLACEMENT: placement,
        PULL: pull_s_per_gb,
        COLD_RATIO: cold_ratio,
    }


def choose_series_to_fit(summaries: Sequence[SeriesSummary]) -> list[SeriesSummary]:
    """Return only the series of the user's account if there are at least 3 of them, else all."""
    own = [one for one in summaries if one.series.source != STUDY_SOURCE]
    return own if len(own) >= ENOUGH_OWN_SERIES else list(summaries)


def predict_aws_median_latency_s(one: SeriesSummary, values: Mapping[str, float]) -> float:
    """Return the median latency on AWS that the given coefficients predict for a series."""
    series = one.series
    if series.start == "cold":
        placed_and_pulled_s = values[PLACEMENT] + values[PULL] * series.image_gb
        return placed_and_pulled_s + values[COLD_RATIO] * one.here_s
    if series.memory_mb:
        return values[SERVERLESS_RATIO] * one.here_s + values[SERVERLESS_OVERHEAD]
    name = name_ratio_of_instance(series.instance_type)
    return values.get(name, values[INSTANCE_RATIO]) * one.here_s + values[INSTANCE_OVERHEAD]


def fit_image_pull_s_per_gb(summaries: Sequence[SeriesSummary]) -> float:
    """Return the time to pull a container image, in seconds per compressed GB.

    The value is fitted to the 2023 study's cold starts with its largest and its smallest container
    image. The study published all rows of the smallest image, but only the mean of the largest.
    """
    printed = _read_cold_starts_with_largest_image()
    slopes = [
        (printed[one.series.network] - one.mean_aws_s) / (LARGEST_IMAGE_GB - STUDY_IMAGE_GB)
        for one in summaries
    ]
    return float(np.mean(slopes))


def list_cold_starts_with_larger_images(series: Sequence[PairedSeries]) -> list[PairedSeries]:
    """Return the 2023 study's cold starts with 1024 MB of memory.

    The study measured its larger container images only with this memory, so only these cold starts
    can be compared with those of the larger images.
    """
    return [
        one
        for one in series
        if one.start == "cold" and one.memory_mb == BASE_MB and one.source == STUDY_SOURCE
    ]


def resample_series(
    resampled: Sequence[Sequence[SeriesSummary]], at: int, rng: np.random.Generator
) -> list[SeriesSummary]:
    """Return the summaries of one bootstrap resample of the series.

    The series are drawn with replacement. Series are drawn separately for each source, kind of
    start and instance type.

    Args:
        resampled: For each series, a list that holds one summary for each resample of the series'
            rows.
        at: The number of the resample: the summaries at this position of the lists are used.
        rng: The random number generator.
    """
    groups: dict[tuple[str, ...], list[SeriesSummary]] = defaultdict(list)
    for one in resampled:
        series = one[at].series
        groups[series.source, series.start, series.instance_type].append(one[at])
    return [
        those[number]
        for those in groups.values()
        for number in rng.integers(0, len(those), len(those))
    ]


@cache
def _read_cold_starts_with_largest_image() -> dict[str, float]:
    return {
        one.model: one.value
        for one in read_printed_figures(STUDY_FOLDER)
        if one.quantity == "cold-start latency before optimisation"
    }


def _fit_placement_and_ratio(
    summaries: Sequence[SeriesSummary], pull_s_per_gb: float
) -> tuple[float, float]:
    total = np.array([one.aws_s for one in summaries])
    here = np.array([one.here_s for one in summaries])
    pulled = np.array([one.series.image_gb * pull_s_per_gb for one in summaries])
    relative: NDArray[np.float64] = np.column_stack([np.ones(total.size), here]) / total[:, None]
    (placement, ratio), _ = optimize.nnls(relative, (total - pulled) / total)
    return float(placement), float(ratio)


def _compute_geometric_mean_of_ratios(summaries: Sequence[SeriesSummary]) -> float:
    return float(np.exp(np.mean(np.log([one.ratio for one in summaries]))))


def _average_overhead_s(summaries: Sequence[SeriesSummary]) -> float:
    return float(np.mean([one.overhead_s for one in summaries]))

"""Estimate the latency on AWS from latency that was measured on this machine.

For a warm request, the estimate is the time in the container times a CPU ratio, plus the overhead
of the platform. A cold start has three parts. First, the platform places the container. Second, it
pulls the container image, which takes longer for a larger compressed size. Third, the container
starts and makes its first prediction. For this part, the time on this machine is multiplied by a
second CPU ratio. :mod:`drdeploy.study.aws_latency` fits the coefficients.

The interval of an expected latency accounts for the uncertainty of the coefficients, and for the
errors of the model on series that were left out of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL
from drdeploy.study.recommendation.simulation.service import RowTimes, ServiceTimes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from drdeploy.arrays import Floats
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration

SERVERLESS_OVERHEAD, INSTANCE_OVERHEAD = "serverless overhead", "real-time overhead"
SERVERLESS_RATIO, INSTANCE_RATIO = "CPU ratio, serverless", "CPU ratio, instances"
PLACEMENT, PULL, COLD_RATIO = "placement", "pull", "CPU ratio, cold start"
NAMES = (
    *(SERVERLESS_OVERHEAD, INSTANCE_OVERHEAD, SERVERLESS_RATIO, INSTANCE_RATIO),
    *(PLACEMENT, PULL, COLD_RATIO),
)


def name_ratio_of_instance(instance_type: str) -> str:
    """Return the name of the coefficient that holds the CPU ratio of an instance type."""
    return f"CPU ratio, {instance_type}"


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of the model.

    Attributes:
        low: Lower end of the 95 % interval. For the interval, a bootstrap resamples both the series
            and their rows.
        high: Upper end of the 95 % interval.
        unit: ``s``, ``s/GB``, or ``1`` for a ratio.
        date: When the rows on AWS were measured.
        source: The rows to which the coefficient is fitted.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    date: str
    source: str


@dataclass(frozen=True)
class LeftOutSeries:
    """One series on AWS, with the estimate of a model that was fitted to the other series.

    Attributes:
        name: For example ``MobileNet, 1024 MB, cold``.
        start: ``warm`` or ``cold``.
        here_s: The median time in the container on this machine. For a cold start, it includes the
            start of the container.
        expected_s: The expected latency on AWS.
        aws_s: The median latency on AWS.
    """

    name: str
    start: str
    here_s: float
    expected_s: float
    aws_s: float

    @property
    def relative_prediction_error(self) -> float:
        """The relative error of the expected latency; negative if the expectation is too low."""
        return self.expected_s / self.aws_s - 1


@dataclass(frozen=True, eq=False)
class TransferModel:
    """The fitted model, which estimates latency on AWS from latency on this machine.

    Attributes:
        values: The value of each coefficient by name.
        draws: The value of each coefficient in each bootstrap resample, by name.
        errors: For ``warm`` and for ``cold``, a random factor for each resample. Latencies are
            multiplied by it, to account for the error that the model may make for a new
            configuration.
        coefficients: The coefficients with intervals and sources.
        left_out: For each series, the estimate of a model that was fitted to all other series.
        notes: Sentences on the limits of the fit.
    """

    values: Mapping[str, float]
    draws: Mapping[str, Floats]
    errors: Mapping[str, Floats]
    coefficients: tuple[Coefficient, ...]
    left_out: tuple[LeftOutSeries, ...]
    notes: tuple[str, ...] = ()

    def compute_median_error(self, start: str) -> float:
        """Return the median error for the left-out series, as a share of the measured latency."""
        errors = [abs(one.relative_prediction_error) for one in self.left_out if one.start == start]
        return float(np.median(errors))

    def expect_times(
        self, local: ServiceTimes, instance_type: str, image_gb: float
    ) -> ExpectedServiceTimes:
        """Return the times that are expected on AWS.

        Args:
            local: The times measured on this machine.
            instance_type: The instance type; empty for a serverless endpoint.
            image_gb: The compressed size of the container image in GB.
        """
        steps = [
            _LatencyCoefficients.from_coefficients(
                {name: float(values[at]) for name, values in self.draws.items()},
                instance_type,
                image_gb,
                {start: float(factors[at]) for start, factors in self.errors.items()},
            )
            for at in range(self.errors["warm"].size)
        ]
        best = _LatencyCoefficients.from_coefficients(self.values, instance_type, image_gb)
        expected = best.apply_to_local_times(local)
        return ExpectedServiceTimes(expected.warm, expected.cold, local=local, steps=tuple(steps))


@dataclass(frozen=True)
class _LatencyCoefficients:
    """The coefficients that apply to one configuration, from one set of fitted coefficients."""

    ratio: float
    overhead_s: float
    placed_and_pulled_s: float
    cold_ratio: float
    warm_error: float = 1.0
    cold_error: float = 1.0

    @classmethod
    def from_coefficients(
        cls,
        values: Mapping[str, float],
        instance_type: str,
        image_gb: float,
        errors: Mapping[str, float] | None = None,
    ) -> _LatencyCoefficients:
        known = name_ratio_of_instance(instance_type)
        # An instance type without a series on AWS gets the mean ratio of the types that have one.
        ratio = values.get(known, values[INSTANCE_RATIO])
        return cls(
            ratio=ratio if instance_type else values[SERVERLESS_RATIO],
            overhead_s=values[INSTANCE_OVERHEAD if instance_type else SERVERLESS_OVERHEAD],
            placed_and_pulled_s=values[PLACEMENT] + values[PULL] * image_gb,
            cold_ratio=values[COLD_RATIO],
            **{f"{start}_error": factor for start, factor in (errors or {}).items()},
        )

    def apply_to_local_times(self, local: ServiceTimes) -> ServiceTimes:
        """Convert times that were measured on this machine to times that are expected on AWS.

        The overhead of the platform is added to the latency of a request, but not to the time in
        which the container is busy.
        """
        busy = local.warm.busy_s * self.ratio
        warm = RowTimes((busy + self.overhead_s) * self.warm_error, busy * self.warm_error)
        if local.cold is None:
            return ServiceTimes(warm)
        busy = local.cold.busy_s * self.cold_ratio
        total = (busy + self.placed_and_pulled_s) * self.cold_error
        return ServiceTimes(warm, RowTimes(total, busy * self.cold_error))


@dataclass(frozen=True, eq=False)
class ExpectedServiceTimes(ServiceTimes):
    """Times that are expected on AWS.

    Attributes:
        local: The times measured on this machine.
        steps: For each bootstrap resample, the coefficients that convert local times to times on
            AWS.
    """

    local: ServiceTimes = field(kw_only=True)
    steps: tuple[_LatencyCoefficients, ...] = field(kw_only=True)

    def draw_bootstrap_resample(self, rng: np.random.Generator, number: int = 0) -> ServiceTimes:
        """Return a resample of this machine's rows, converted to times on AWS.

        For the same ``number``, all configurations use the same set of fitted coefficients.
        """
        steps = self.steps[number % len(self.steps)]
        return steps.apply_to_local_times(self.local.draw_bootstrap_resample(rng, number))

    @property
    def locally_measured_times(self) -> ServiceTimes:
        """The times measured on this machine."""
        return self.local


@dataclass(frozen=True)
class ExpectedLatency:
    """The median latency of one configuration, as measured here and as expected on AWS.

    Attributes:
        name: The name of the configuration.
        start: ``warm`` or ``cold``.
        here_s: The median of the rows measured on this machine.
        aws_s: The median that is expected on AWS.
        low_s: Lower end of the 95 % interval of ``aws_s``.
        high_s: Upper end of the 95 % interval of ``aws_s``.
    """

    name: str
    start: str
    here_s: float
    aws_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class AppliedTransfer:
    """How a decision estimated latencies on AWS from this machine's rows, for the page and JSON.

    Attributes:
        image_gb: The compressed size of the container image that is pulled.
        latencies: The latency of each configuration, as measured here and as expected on AWS.
        coefficients: All coefficients of the model.
        left_out: For each series, the estimate of a model that was fitted to all other series.
        median_warm_error: The median error of these estimates for warm series.
        median_cold_error: The median error of these estimates for cold series.
        limits: Sentences on the limits of the model.
    """

    image_gb: float
    latencies: tuple[ExpectedLatency, ...]
    coefficients: tuple[Coefficient, ...]
    left_out: tuple[LeftOutSeries, ...]
    median_warm_error: float
    median_cold_error: float
    limits: tuple[str, ...]


def expect_configurations_on_aws(
    configurations: Sequence[MeasuredConfiguration],
    model: TransferModel | None,
    image_gb: float,
) -> tuple[MeasuredConfiguration, ...]:
    """Replace the times that were measured on this machine by times that are expected on AWS.

    Configurations that were measured on AWS keep their measured times. If ``model`` is None, all
    configurations keep their measured times.
    """
    if model is None:
        return tuple(configurations)
    return tuple(
        replace(
            one,
            service=model.expect_times(one.service, one.configuration.instance_type, image_gb),
        )
        if one.service is not None and one.platform == "local"
        else one
        for one in configurations
    )


def describe_applied_transfer(
    configurations: Sequence[MeasuredConfiguration],
    model: TransferModel | None,
    image_gb: float,
    seed: int,
) -> AppliedTransfer | None:
    """Describe how times were converted from this machine to AWS; None if this was not done."""
    latencies = [
        latency
        for one in configurations
        if isinstance(one.service, ExpectedServiceTimes)
        for latency in _compute_both_latencies(one.name, one.service, seed)
    ]
    if model is None or not latencies:
        return None
    warm, cold = (model.compute_median_error(start) for start in ("warm", "cold"))
    return AppliedTransfer(
        image_gb=image_gb,
        latencies=tuple(latencies),
        coefficients=model.coefficients,
        left_out=model.left_out,
        median_warm_error=warm,
        median_cold_error=cold,
        limits=model.notes,
    )


def write_basis_of_latencies(platforms: set[str], transfer: AppliedTransfer | None) -> str:
    """Return a sentence that says where the latencies of a decision come from."""
    if transfer is not None:
        which = "" if platforms == {"local"} else " that were not measured on AWS"
        return (
            f"Latencies{which} are expected values for AWS, computed from times measured on this "
            "machine. "
            "For AWS measurements that the fit did not use, the median error is "
            f"{transfer.median_warm_error:.0%} for warm and {transfer.median_cold_error:.0%} for "
            f"cold requests. The compressed image is assumed to take {transfer.image_gb:g} GB "
            "(--image-gb)."
        )
    if platforms == {"aws"}:
        return "Latencies are as measured on AWS."
    machine = "on this machine, without network, placement and image pull"
    if "aws" in platforms:
        return f"Latencies are as measured, some on AWS and some {machine}."
    return f"Latencies are as measured {machine}."


def _compute_both_latencies(
    name: str, times: ExpectedServiceTimes, seed: int
) -> Iterator[ExpectedLatency]:
    rng = np.random.default_rng(seed)
    drawn = [times.draw_bootstrap_resample(rng, at) for at in range(len(times.steps))]
    for start in ("warm", "cold"):
        here, aws = getattr(times.local, start), getattr(times, start)
        if here is None:
            continue
        medians = [float(np.median(getattr(one, start).total_s)) for one in drawn]
        low, high = np.quantile(medians, [TAIL, 1 - TAIL])
        yield ExpectedLatency(
            name,
            start,
            float(np.median(here.total_s)),
            float(np.median(aws.total_s)),
            float(low),
            float(high),
        )

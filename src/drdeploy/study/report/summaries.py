"""Summarise one scenario, with its times, the parts of its latency, and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.statistics import means as statistics
from drdeploy.statistics import percentiles
from drdeploy.statistics.stability import Steadiness, check_steadiness_of_rows
from drdeploy.study.recommendation.inference_cost import (
    CostBasis,
    SecondPrice,
    compute_cost_of_each_row_usd,
    look_up_price_per_second,
)
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.scenarios import Scenario


@dataclass(frozen=True)
class Latency:
    """The mean, percentiles and standard deviation of a time in seconds."""

    mean: Estimate
    median: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    sd: Estimate


@dataclass(frozen=True)
class Breakdown:
    """The parts of the mean total latency, in seconds; the sum of all parts is the mean.

    Attributes:
        setup_s: The start of the container and the model (ModelSetupTime); zero without a cold
            start.
        decode_transform_s: Decoding the photograph and making the model's input.
        prediction_s: The prediction of the model.
        container_rest_s: The rest of the latency in the container.
        outside_s: The rest of the total latency: network, routing and queue. It is negative if the
            measured parts overlap in time and so add up to more than the total.
    """

    setup_s: float
    decode_transform_s: float
    prediction_s: float
    container_rest_s: float
    outside_s: float


@dataclass(frozen=True)
class Cost:
    """The cost of one inference in USD.

    Attributes:
        inference: The price per second times the total latency, as the study of 2023 defines it.
            For an asynchronous request, the latency in the container is used instead.
        inference_container: The price per second times the latency in the container, which is what
            AWS bills for a serverless endpoint.
        price: The price of a second, with its source.
    """

    inference: Estimate
    inference_container: Estimate
    price: SecondPrice

    @property
    def per_million_usd(self) -> Estimate:
        """The cost of a million inferences in USD."""
        return self.inference.multiplied_by(MILLION)

    @property
    def container_time_per_million_usd(self) -> Estimate:
        """The cost of a million inferences in USD, computed from the time in the container."""
        return self.inference_container.multiplied_by(MILLION)


@dataclass(frozen=True)
class ScenarioSummary:
    """All results that the report shows for one scenario.

    Attributes:
        total: The total latency at the client.
        prediction: The mean time of the model's prediction.
        setup: The mean time to start the container and load the model.
        prediction_share: The prediction time as a share of the total latency.
        breakdown: The parts of the mean latency, or None if no row has them.
        cost: The cost of an inference, or None if the price is not known.
        no_cost: A sentence that names the unknown price; empty if the cost is known.
        steadiness: Whether the total latency drifts or has outliers, and whether rows depend on
            each other.
    """

    scenario: Scenario
    total: Latency
    prediction: Estimate
    setup: Estimate
    prediction_share: Estimate
    breakdown: Breakdown | None
    cost: Cost | None
    no_cost: str
    steadiness: Steadiness


def summarise_scenario(scenario: Scenario, sheet: PriceSheet) -> ScenarioSummary:
    """Summarise the times, the cost and the steadiness of a scenario.

    If the scenario has no rows, its estimates have no value.
    """
    cost, no_cost = _compute_cost_or_reason(scenario, sheet)
    return ScenarioSummary(
        scenario=scenario,
        total=_summarise_latency(scenario),
        prediction=statistics.estimate_mean(scenario.known_values_of_column("prediction_s")),
        setup=statistics.estimate_mean(scenario.known_values_of_column("model_setup_s")),
        prediction_share=statistics.estimate_share_of_whole(
            scenario.rows["prediction_s"], scenario.rows["total_latency_s"]
        ),
        breakdown=compute_mean_latency_parts(scenario),
        cost=cost,
        no_cost=no_cost,
        steadiness=check_steadiness_of_rows(scenario.known_values_of_column("total_latency_s")),
    )


def compute_mean_latency_parts(scenario: Scenario) -> Breakdown | None:
    """Return the mean of each part of the latency; None if no row has the parts.

    Rows without the parts are left out. If some cold starts have a set-up time, the others are left
    out, too.
    """
    rows = scenario.rows.dropna(subset=["container_latency_s", "prediction_s"])
    if rows.empty:
        return None
    # CloudWatch's set-up time may be missing for some cold starts. If it counted as zero for them,
    # the mean set-up time would be too short.
    has_setup = rows["model_setup_s"].notna()
    if scenario.start == "cold" and has_setup.any():
        rows = rows[has_setup]
    means = rows.fillna({"decode_s": 0.0, "transform_s": 0.0, "model_setup_s": 0.0}).mean(
        numeric_only=True
    )
    preparation = means["decode_s"] + means["transform_s"]
    container, setup = means["container_latency_s"], means["model_setup_s"]
    return Breakdown(
        setup_s=float(setup),
        decode_transform_s=float(preparation),
        prediction_s=float(means["prediction_s"]),
        container_rest_s=float(container - preparation - means["prediction_s"]),
        outside_s=float(means["total_latency_s"] - container - setup),
    )


def _summarise_latency(scenario: Scenario) -> Latency:
    seconds = scenario.known_values_of_column("total_latency_s")
    return Latency(
        mean=statistics.estimate_mean(seconds),
        median=percentiles.estimate_median(seconds),
        p90=percentiles.estimate_percentile(seconds, 0.90),
        p95=percentiles.estimate_percentile(seconds, 0.95),
        p99=percentiles.estimate_percentile(seconds, 0.99),
        sd=statistics.estimate_standard_deviation(seconds),
    )


def _compute_cost_or_reason(scenario: Scenario, sheet: PriceSheet) -> tuple[Cost | None, str]:
    """Return the cost, or None with a sentence that names the unknown price."""
    configuration = scenario.configuration
    memory_mb, instance_type = configuration.memory_mb or None, configuration.instance_type
    try:
        price = look_up_price_per_second(
            configuration.endpoint_kind, memory_mb, instance_type, sheet
        )
    except UnknownPrice as err:
        return None, f"{err.what}."
    # The total latency of an asynchronous request includes its time in the queue, in which the
    # instance works on other requests.
    basis = CostBasis.CONTAINER_TIME if scenario.has_queue_in_s3 else CostBasis.TOTAL_LATENCY
    cost = Cost(
        inference=statistics.estimate_mean(
            compute_cost_of_each_row_usd(scenario.rows, price, basis)
        ),
        inference_container=statistics.estimate_mean(
            compute_cost_of_each_row_usd(scenario.rows, price, CostBasis.CONTAINER_TIME)
        ),
        price=price,
    )
    return cost, ""

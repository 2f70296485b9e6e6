"""One scenario in numbers: how fast, in which parts, at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.statistics import means as statistics
from drdeploy.statistics.stability import Steadiness, steadiness
from drdeploy.study.recommendation.cost import (
    MILLION,
    CostBasis,
    SecondPrice,
    cost_usd,
    second_price,
)

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.statistics.means import Estimate
    from drdeploy.study.measurements.scenarios import Scenario


@dataclass(frozen=True)
class Latency:
    """A time in seconds: mean, percentiles and standard deviation."""

    mean: Estimate
    median: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    sd: Estimate


@dataclass(frozen=True)
class Breakdown:
    """The parts of the mean total latency in seconds; they sum to the total.

    Attributes:
        setup_s: Start of the container and the model (ModelSetupTime); zero unless cold.
        decode_transform_s: Decoding the photograph and making the model's input.
        prediction_s: The model's prediction.
        container_rest_s: What is left of the container's time.
        outside_s: What is left of the total: network, routing, queue.  Where the parts overlap it
            is negative, and kept so, because the sum would be wrong otherwise.
    """

    setup_s: float
    decode_transform_s: float
    prediction_s: float
    container_rest_s: float
    outside_s: float


@dataclass(frozen=True)
class Cost:
    """Cost of one inference, in USD.

    Attributes:
        inference: Price per second times total latency, the 2023 study's definition.
        inference_container: Price per second times the container's time, which AWS bills.
        price: The price of a second, and where it comes from.
    """

    inference: Estimate
    inference_container: Estimate
    price: SecondPrice

    @property
    def million(self) -> Estimate:
        """Cost of a million inferences."""
        return self.inference.scaled(MILLION)

    @property
    def million_container(self) -> Estimate:
        """Cost of a million inferences, by the container's time."""
        return self.inference_container.scaled(MILLION)


@dataclass(frozen=True)
class ScenarioSummary:
    """Everything the report says about one scenario.

    Attributes:
        total: Latency as the client sees it.
        prediction: Mean time of the model's prediction.
        setup: Mean time to start the container and load the model.
        prediction_share: Share of the prediction in the total latency.
        cost: None where the price is not known, which ``no_cost`` then names.
        steadiness: Whether the total latency drifts, in the order of the rows.
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


def summarise(scenario: Scenario, sheet: PriceSheet) -> ScenarioSummary:
    """Estimate every figure of a scenario; without rows, the estimates have no value."""
    cost, no_cost = _cost_or_reason(scenario, sheet)
    return ScenarioSummary(
        scenario=scenario,
        total=_latency(scenario),
        prediction=statistics.mean(scenario.seconds("prediction_s")),
        setup=statistics.mean(scenario.seconds("model_setup_s")),
        prediction_share=statistics.share_of(
            scenario.rows["prediction_s"], scenario.rows["total_latency_s"]
        ),
        breakdown=breakdown_of(scenario),
        cost=cost,
        no_cost=no_cost,
        steadiness=steadiness(scenario.seconds("total_latency_s")),
    )


def breakdown_of(scenario: Scenario) -> Breakdown | None:
    """Average the parts over the rows that hold the container's time; None where none does."""
    rows = scenario.rows.dropna(subset=["container_latency_s", "prediction_s"])
    if rows.empty:
        return None
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


def _latency(scenario: Scenario) -> Latency:
    seconds = scenario.seconds("total_latency_s")
    return Latency(
        mean=statistics.mean(seconds),
        median=statistics.median(seconds),
        p90=statistics.percentile(seconds, 0.90),
        p95=statistics.percentile(seconds, 0.95),
        p99=statistics.percentile(seconds, 0.99),
        sd=statistics.standard_deviation(seconds),
    )


def _cost_or_reason(scenario: Scenario, sheet: PriceSheet) -> tuple[Cost | None, str]:
    """The cost, or else None and the price that is not known: the rest of the report holds."""
    configuration = scenario.configuration
    memory_mb, instance_type = configuration.memory_mb or None, configuration.instance_type
    try:
        price = second_price(configuration.endpoint_kind, memory_mb, instance_type, sheet)
    except UnknownPrice as err:
        return None, f"{err.what}."
    cost = Cost(
        inference=statistics.mean(cost_usd(scenario.rows, price)),
        inference_container=statistics.mean(
            cost_usd(scenario.rows, price, CostBasis.CONTAINER_TIME)
        ),
        price=price,
    )
    return cost, ""

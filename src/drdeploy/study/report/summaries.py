"""One scenario in numbers: how fast, in which parts, how dear."""

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
    """A time, in seconds."""

    mean: Estimate
    median: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    sd: Estimate


@dataclass(frozen=True)
class Breakdown:
    """Where the mean total latency goes, in seconds; the parts sum to the total.

    Attributes:
        setup_s: ModelSetupTime; zero unless cold.
        decode_transform_s: From photograph to model input.
        prediction_s: In the model.
        container_rest_s: Between the server's own parts.
        outside_s: Network, routing, queue: what is left of the total.  A negative rest (the
            parts overlap) is kept negative, so that nobody reads a wrong sum.
    """

    setup_s: float
    decode_transform_s: float
    prediction_s: float
    container_rest_s: float
    outside_s: float


@dataclass(frozen=True)
class Cost:
    """Cost of one inference.

    Attributes:
        inference: By the study's definition, USD.
        inference_container: Of the container's time alone, USD.
        price: What a second costs, and who says so.
    """

    inference: Estimate
    inference_container: Estimate
    price: SecondPrice

    @property
    def million(self) -> Estimate:
        """USD per million inferences."""
        return self.inference.scaled(MILLION)

    @property
    def million_container(self) -> Estimate:
        """USD per million inferences, the container's time alone."""
        return self.inference_container.scaled(MILLION)


@dataclass(frozen=True)
class ScenarioSummary:
    """Everything the report says about one scenario.

    Attributes:
        cost: None where the price is unknown; ``no_cost`` then says which.
        steadiness: Of the total latency, in the order of the rows.
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
    """Estimate everything; a scenario without rows has estimates without a value."""
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
    """Mean parts over the rows that know their container's time; None where none does."""
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
    """The report is about more than cost: an unknown price is stated in its place."""
    try:
        return _cost(scenario, sheet), ""
    except UnknownPrice as err:
        return None, f"{err.what}."


def _cost(scenario: Scenario, sheet: PriceSheet) -> Cost:
    hosted = scenario.configuration
    price = second_price(
        hosted.endpoint_kind, hosted.memory_mb or None, hosted.instance_type, sheet
    )
    return Cost(
        inference=statistics.mean(cost_usd(scenario.rows, price)),
        inference_container=statistics.mean(
            cost_usd(scenario.rows, price, CostBasis.CONTAINER_TIME)
        ),
        price=price,
    )

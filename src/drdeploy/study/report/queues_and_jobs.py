"""Summarise asynchronous requests and their queue, and Batch Transform jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.statistics import means as statistics
from drdeploy.statistics import percentiles
from drdeploy.study.measurements.scenarios import label_scenarios
from drdeploy.study.recommendation.inference_cost import (
    compute_cost_of_each_photograph_usd,
    look_up_price_per_second,
)
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.scenarios import Scenario
    from drdeploy.study.recommendation.inference_cost import SecondPrice


@dataclass(frozen=True, eq=False)
class QueueSummary:
    """The queue of an asynchronous scenario.

    Attributes:
        label: The model and the size of the endpoint, and what else distinguishes the scenario.
        arrival_to_output: The mean time from when a request was due to be sent until its result is
            in S3.
        p95: The 95th percentile of the time whose mean is ``arrival_to_output``.
        container: The mean time in the container.
        outside: The mean of the rest of the time until the result is in S3. A request spends this
            rest in the queue and in transfers through S3.
        longest_queue: The largest number of earlier requests that still had no result when a
            request was sent. None if no row gives this number.
    """

    scenario: Scenario
    label: str
    arrival_to_output: Estimate
    p95: Estimate
    container: Estimate
    outside: Estimate
    longest_queue: int | None


@dataclass(frozen=True, eq=False)
class JobSummary:
    """The transform jobs of a batch scenario. Means are means over jobs, not over photographs.

    Attributes:
        label: The model and the instance type, and what else distinguishes the scenario.
        photographs: The number of photographs in each job.
        total: The mean time from the creation of a job to its end.
        startup: The mean time from the creation of a job until its instances were ready to work.
        per_photograph: The working time of a job divided by its number of photographs, as a mean
            over the jobs.
        cost_per_million_usd: The cost of a million photographs, or None if the price is not known.
        price: The price of a second of an instance, or None if the price is not known.
        no_cost: A sentence that names the unknown price; empty if the price is known.
    """

    scenario: Scenario
    label: str
    photographs: int
    total: Estimate
    startup: Estimate
    per_photograph: Estimate
    cost_per_million_usd: Estimate | None
    price: SecondPrice | None
    no_cost: str


def summarise_queues(scenarios: Iterable[Scenario]) -> tuple[QueueSummary, ...]:
    """Summarise each asynchronous scenario with at least one row that counts."""
    chosen = [one for one in scenarios if one.has_queue_in_s3 and one.counted_row_count]
    labels = _label_with_model(chosen)
    return tuple(_summarise_queue(*pair) for pair in zip(chosen, labels, strict=True))


def summarise_jobs(scenarios: Iterable[Scenario], sheet: PriceSheet) -> tuple[JobSummary, ...]:
    """Summarise each batch scenario with at least one row that counts."""
    chosen = [one for one in scenarios if one.has_rows_of_transform_jobs and one.counted_row_count]
    labels = _label_with_model(chosen)
    return tuple(_summarise_jobs(*pair, sheet) for pair in zip(chosen, labels, strict=True))


def _label_with_model(scenarios: Sequence[Scenario]) -> list[str]:
    labels = label_scenarios(scenarios, among=[one.configuration for one in scenarios])
    return [
        f"{one.configuration.model}, {label}" for one, label in zip(scenarios, labels, strict=True)
    ]


def _summarise_queue(scenario: Scenario, label: str) -> QueueSummary:
    rows = scenario.rows.dropna(subset=["container_latency_s"])
    outside_s = (rows["total_latency_s"] - rows["container_latency_s"]).to_numpy(dtype=float)
    total_s = scenario.known_values_of_column("total_latency_s")
    ahead = scenario.known_values_of_column("requests_ahead")
    return QueueSummary(
        scenario=scenario,
        label=label,
        arrival_to_output=statistics.estimate_mean(total_s),
        p95=percentiles.estimate_percentile(total_s, 0.95),
        container=statistics.estimate_mean(scenario.known_values_of_column("container_latency_s")),
        outside=statistics.estimate_mean(outside_s),
        longest_queue=int(ahead.max()) if ahead.size else None,
    )


def _summarise_jobs(scenario: Scenario, label: str, sheet: PriceSheet) -> JobSummary:
    rows = scenario.rows
    work_s = (rows["total_latency_s"] - rows["startup_s"]) / rows["photograph_count"]
    price, no_cost = None, ""
    try:
        price = look_up_price_per_second("batch", None, scenario.configuration.instance_type, sheet)
    except UnknownPrice as err:
        no_cost = f"{err.what}."
    return JobSummary(
        scenario=scenario,
        label=label,
        photographs=int(rows["photograph_count"].max()),
        total=statistics.estimate_mean(scenario.known_values_of_column("total_latency_s")),
        startup=statistics.estimate_mean(scenario.known_values_of_column("startup_s")),
        per_photograph=statistics.estimate_mean(work_s.dropna().to_numpy(dtype=float)),
        cost_per_million_usd=None
        if price is None
        else statistics.estimate_mean(
            compute_cost_of_each_photograph_usd(rows, price)
        ).multiplied_by(MILLION),
        price=price,
        no_cost=no_cost,
    )

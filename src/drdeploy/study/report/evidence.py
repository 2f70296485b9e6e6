"""Compute all results of a report. The page, the tables and the JSON show these results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.report.caveats import (
    write_measurement_limits_of_platforms,
    write_warnings_about_measurements,
)
from drdeploy.study.report.comparisons import compare_scenarios_along_dimension
from drdeploy.study.report.findings import write_findings_per_model
from drdeploy.study.report.queues_and_jobs import summarise_jobs, summarise_queues
from drdeploy.study.report.summaries import summarise_scenario

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Price, PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.scenarios import Configuration, Scenario
    from drdeploy.study.report.comparisons import Dimension, Quantity, ScenarioRatio
    from drdeploy.study.report.findings import ModelFinding
    from drdeploy.study.report.queues_and_jobs import JobSummary, QueueSummary
    from drdeploy.study.report.summaries import ScenarioSummary

_ALL_TIMES: tuple[Quantity, ...] = ("total_latency_s", "prediction_s", "model_setup_s")
_OTHER_DIMENSIONS: tuple[Dimension, ...] = ("instance_type", "precision")


@dataclass(frozen=True, eq=False)
class Evidence:
    """All results of a study's report, computed from its measurements.

    Attributes:
        memory: Ratios between memory sizes. There are ratios of the total latency, of the
            prediction time and of the set-up time.
        cold_over_warm: Ratios of the latency of a cold start to the latency of a warm request.
        images: Ratios between container images, for the same three times as in ``memory``.
        others: Ratios between instance types, and between precisions.
        queues: A summary of the queue of each asynchronous scenario.
        jobs: A summary of the transform jobs of each batch scenario. ``summaries`` has only
            scenarios of requests.
        findings: The findings about each model, in sentences.
        warnings: Warnings about these measurements.
        limits: Sentences on what measurements on this machine, or on AWS, cannot show.
        scenarios_of_jobs: The batch scenarios, including those of which no row counts.
    """

    measurements: Measurements
    summaries: tuple[ScenarioSummary, ...]
    memory: tuple[ScenarioRatio, ...]
    cold_over_warm: tuple[ScenarioRatio, ...]
    images: tuple[ScenarioRatio, ...]
    others: tuple[ScenarioRatio, ...]
    queues: tuple[QueueSummary, ...]
    jobs: tuple[JobSummary, ...]
    findings: tuple[ModelFinding, ...]
    warnings: tuple[str, ...]
    limits: tuple[str, ...]
    scenarios_of_jobs: tuple[Scenario, ...] = ()

    @property
    def prices(self) -> tuple[Price, ...]:
        """The prices from which the costs are computed, without duplicates."""
        used = {s.cost.price.source: None for s in self.summaries if s.cost}
        used |= {one.price.source: None for one in self.jobs if one.price}
        return tuple(sorted(used, key=lambda price: (price.unit, price.usd)))

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configurations of the scenarios that send requests. Those of jobs are left out."""
        return tuple(summary.scenario.configuration for summary in self.summaries)

    @property
    def all_scenarios(self) -> tuple[Scenario, ...]:
        """All scenarios: first those that send requests, then those that run transform jobs."""
        return (*(summary.scenario for summary in self.summaries), *self.scenarios_of_jobs)

    @property
    def comparisons(self) -> tuple[ScenarioRatio, ...]:
        """All ratios between scenarios."""
        return self.memory + self.cold_over_warm + self.images + self.others


def compute_evidence(
    measurements: Measurements, sheet: PriceSheet, *, allow_mixed: bool = False
) -> Evidence:
    """Summarise, price and compare all measurements.

    Raises:
        AnalysisError: The rows differ in platform, machine or isolation, or the model of a trial
            changed, and ``allow_mixed`` is False.
    """
    # In one table, rows of two machines would be compared as if they were rows of two
    # configurations.
    if not allow_mixed:
        measurements.require_comparable()
    grouped = group_rows_into_scenarios(measurements)
    # A transform job is not a request, so its time is not shown beside the latencies of requests.
    scenarios = tuple(one for one in grouped if not one.has_rows_of_transform_jobs)
    all_summaries = tuple(summarise_scenario(scenario, sheet) for scenario in grouped)
    summaries = tuple(one for one in all_summaries if not one.scenario.has_rows_of_transform_jobs)
    return Evidence(
        measurements=measurements,
        summaries=summaries,
        memory=compare_scenarios_along_dimension(
            [s for s in scenarios if s.configuration.endpoint_kind == "serverless"],
            "memory_mb",
            _ALL_TIMES,
        ),
        cold_over_warm=compare_scenarios_along_dimension(scenarios, "start"),
        images=compare_scenarios_along_dimension(scenarios, "image", _ALL_TIMES),
        others=tuple(
            ratio
            for dimension in _OTHER_DIMENSIONS
            for ratio in compare_scenarios_along_dimension(
                scenarios, dimension, ("total_latency_s", "prediction_s")
            )
        ),
        queues=summarise_queues(scenarios),
        jobs=summarise_jobs(grouped, sheet),
        findings=write_findings_per_model(summaries),
        warnings=write_warnings_about_measurements(measurements, all_summaries),
        limits=write_measurement_limits_of_platforms(measurements),
        scenarios_of_jobs=tuple(one for one in grouped if one.has_rows_of_transform_jobs),
    )


def convert_evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as plain values, with the interval, n and method of every estimate."""
    return {
        "source": str(evidence.measurements.source),
        "rows": len(evidence.measurements.frame),
        "counted": len(evidence.measurements.counted),
        "left_out": evidence.measurements.left_out,
        "warnings": evidence.warnings,
        "verdicts": [asdict(finding) for finding in evidence.findings],
        "scenarios": [_convert_scenario_to_json(summary) for summary in evidence.summaries],
        "comparisons": [
            {
                "dimension": ratio.dimension,
                "quantity": ratio.quantity,
                "numerator": ratio.before.trial,
                "denominator": ratio.after.trial,
                "paired": ratio.is_paired,
                "ratio_of_means": asdict(ratio.means),
                "ratio_of_medians": asdict(ratio.medians),
            }
            for ratio in evidence.comparisons
        ],
        "queues": [_convert_queue_to_json(one) for one in evidence.queues],
        "jobs": [_convert_jobs_to_json(one) for one in evidence.jobs],
        "prices": [asdict(price) for price in evidence.prices],
        "notice": RESEARCH_USE_NOTICE,
    }


def _convert_queue_to_json(queue: QueueSummary) -> dict[str, Any]:
    return {
        "trial": queue.scenario.trial,
        "n": queue.scenario.counted_row_count,
        "arrival_to_output_s": asdict(queue.arrival_to_output),
        "arrival_to_output_p95_s": asdict(queue.p95),
        "container_latency_s": asdict(queue.container),
        "outside_s": asdict(queue.outside),
        "longest_queue": queue.longest_queue,
    }


def _convert_jobs_to_json(jobs: JobSummary) -> dict[str, Any]:
    cost = jobs.cost_per_million_usd
    return {
        "trial": jobs.scenario.trial,
        "n": jobs.scenario.counted_row_count,
        "photographs": jobs.photographs,
        "total_s": asdict(jobs.total),
        "startup_s": asdict(jobs.startup),
        "per_photograph_s": asdict(jobs.per_photograph),
        "cost_per_million_usd": asdict(cost) if cost else None,
        "no_cost": jobs.no_cost,
    }


def _convert_scenario_to_json(summary: ScenarioSummary) -> dict[str, Any]:
    scenario = summary.scenario
    return {
        "trial": scenario.trial,
        **asdict(scenario.configuration),
        "scenario": scenario.name,
        "start": scenario.start,
        "platform": scenario.platform,
        "isolation": scenario.isolation,
        "weights": scenario.weights,
        "n": scenario.counted_row_count,
        "left_out": scenario.left_out,
        "total_latency_s": asdict(summary.total),
        "prediction_s": asdict(summary.prediction),
        "prediction_share": asdict(summary.prediction_share),
        "model_setup_s": asdict(summary.setup),
        "breakdown": asdict(summary.breakdown) if summary.breakdown else None,
        "steadiness": asdict(summary.steadiness),
        "cost_usd": asdict(summary.cost.inference) if summary.cost else None,
        "cost_per_million_usd": asdict(summary.cost.per_million_usd) if summary.cost else None,
        "no_cost": summary.no_cost,
    }

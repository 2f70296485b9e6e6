"""Write the numbers of the report as CSV tables in full precision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drdeploy.files import escape_formula_in_csv_cell, write_file_atomically
from drdeploy.study.measurements.load import LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.scenarios import Scenario
    from drdeploy.study.report.comparisons import ScenarioRatio
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.report.queues_and_jobs import JobSummary, QueueSummary
    from drdeploy.study.report.summaries import ScenarioSummary


def make_scenario_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return a table with one line per scenario: number of rows, times, costs and intervals."""
    return pd.DataFrame(
        [
            {
                **_make_identity_columns(summary.scenario),
                **_make_estimate_columns("total_latency_mean_s", summary.total.mean),
                **_make_estimate_columns("total_latency_median_s", summary.total.median),
                **_make_estimate_columns("total_latency_p90_s", summary.total.p90),
                **_make_estimate_columns("total_latency_p95_s", summary.total.p95),
                **_make_estimate_columns("total_latency_p99_s", summary.total.p99),
                **_make_estimate_columns("total_latency_sd_s", summary.total.sd),
                **_make_estimate_columns("prediction_mean_s", summary.prediction),
                **_make_estimate_columns("prediction_share", summary.prediction_share),
                **_make_estimate_columns("model_setup_mean_s", summary.setup),
                **_make_cost_columns(summary),
            }
            for summary in summaries
        ]
    )


def make_breakdown_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return a table with the parts of the mean total latency of each scenario that has them."""
    return pd.DataFrame(
        [
            {
                **_make_identity_columns(summary.scenario),
                **asdict(summary.breakdown),
            }
            for summary in summaries
            if summary.breakdown
        ]
    )


def make_queue_table(queues: Iterable[QueueSummary]) -> pd.DataFrame:
    """Return a table with one row per asynchronous scenario: its times and its longest queue."""
    return pd.DataFrame(
        [
            {
                **_make_identity_columns(queue.scenario),
                **_make_estimate_columns("arrival_to_output_mean_s", queue.arrival_to_output),
                **_make_estimate_columns("arrival_to_output_p95_s", queue.p95),
                **_make_estimate_columns("container_latency_mean_s", queue.container),
                **_make_estimate_columns("outside_container_mean_s", queue.outside),
                "longest_queue": queue.longest_queue,
            }
            for queue in queues
        ]
    )


def make_job_table(jobs: Iterable[JobSummary]) -> pd.DataFrame:
    """Return a table with one row per batch scenario: the times and the cost of its jobs."""
    return pd.DataFrame(
        [
            {
                **_make_identity_columns(one.scenario),
                "photographs": one.photographs,
                **_make_estimate_columns("total_mean_s", one.total),
                **_make_estimate_columns("startup_mean_s", one.startup),
                **_make_estimate_columns("work_per_photograph_mean_s", one.per_photograph),
                **(
                    {"cost_note": one.no_cost}
                    if one.cost_per_million_usd is None
                    else _make_estimate_columns("cost_per_million_usd", one.cost_per_million_usd)
                ),
            }
            for one in jobs
        ]
    )


def make_comparison_table(comparisons: Iterable[ScenarioRatio]) -> pd.DataFrame:
    """Return a table with one row per comparison: ratios of means and medians, and sample sizes."""
    return pd.DataFrame(
        [
            {
                "model": comparison.before.configuration.model,
                "differs_in": comparison.dimension,
                "quantity": comparison.quantity,
                "numerator_trial": comparison.before.trial,
                "denominator_trial": comparison.after.trial,
                "numerator_n": comparison.means.n,
                "denominator_n": comparison.means.n_other,
                "paired": comparison.is_paired,
                **_make_estimate_columns("ratio_of_means", comparison.means),
                **_make_estimate_columns("ratio_of_medians", comparison.medians),
            }
            for comparison in comparisons
        ]
    )


def make_steadiness_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return a table of how steady each scenario is: drift, dependence, A/A ratio, outliers."""
    return pd.DataFrame(
        [
            {
                **_make_identity_columns(summary.scenario),
                "verdict": found.verdict.value,
                "drift": found.drift,
                "drift_p": found.drift_p,
                "autocorrelation": found.autocorrelation,
                "autocorrelation_p": found.autocorrelation_p,
                **_make_estimate_columns("odd_over_even_rows", found.halves),
                "outlier_lines": " ".join(
                    str(line) for line, _ in list_outliers_with_lines(summary)
                ),
                "lines": format_line_numbers_of_rows(summary.scenario),
            }
            for summary in summaries
            if (found := summary.steadiness)
        ]
    )


def format_line_numbers_of_rows(scenario: Scenario) -> str:
    """Return the lines of ``measurements.csv`` with a scenario's rows, like ``3-27, 30``."""
    lines = scenario.rows[LINE].to_numpy(dtype=int)
    if not lines.size:
        return ""
    runs = np.split(lines, np.flatnonzero(np.diff(lines) != 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if run.size > 1 else f"{run[0]}" for run in runs)


def list_outliers_with_lines(summary: ScenarioSummary) -> tuple[tuple[int, float], ...]:
    """Return the line number in ``measurements.csv`` and the latency of each outlier."""
    rows = summary.scenario.rows.dropna(subset="total_latency_s")
    lines = rows[LINE].to_numpy(dtype=int)
    return tuple((int(lines[one.position]), one.value) for one in summary.steadiness.outliers)


def make_all_tables(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return all tables of the report, in a dictionary by file name without ``.csv``."""
    return {
        "scenarios": make_scenario_table(evidence.summaries),
        "breakdown": make_breakdown_table(evidence.summaries),
        "comparisons": make_comparison_table(evidence.comparisons),
        "steadiness": make_steadiness_table(evidence.summaries),
        "left_out": make_left_out_table(evidence.all_scenarios),
        **({"queues": make_queue_table(evidence.queues)} if evidence.queues else {}),
        **({"jobs": make_job_table(evidence.jobs)} if evidence.jobs else {}),
    }


def write_tables_as_csv(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write each table into the folder as ``NAME.csv``."""
    for name, table in tables.items():
        text = table.map(escape_formula_in_csv_cell).to_csv(index=False, lineterminator="\n")
        write_file_atomically(folder / f"{name}.csv", text)


def make_left_out_table(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Return a table with the number of rows left out of the results, for each trial and reason."""
    rows = {
        (scenario.trial, reason): {"trial": scenario.trial, "reason": reason, "rows": count}
        for scenario in scenarios
        for reason, count in scenario.left_out.items()
    }
    return pd.DataFrame(list(rows.values()), columns=["trial", "reason", "rows"])


def _make_identity_columns(scenario: Scenario) -> dict[str, Any]:
    configuration = scenario.configuration
    return {
        "trial": scenario.trial,
        "platform": scenario.platform,
        "isolation": scenario.isolation,
        "model": configuration.model,
        "weights": scenario.weights,
        "precision": configuration.precision,
        "profile": configuration.profile,
        "image": configuration.image,
        "endpoint_kind": configuration.endpoint_kind,
        "memory_mb": configuration.memory_mb or None,
        "instance_type": configuration.instance_type,
        "vcpu": scenario.vcpu,
        "scenario": scenario.name,
        "start": scenario.start,
        "n": scenario.counted_row_count,
        "left_out": sum(scenario.left_out.values()),
    }


def _make_cost_columns(summary: ScenarioSummary) -> dict[str, Any]:
    cost = summary.cost
    if cost is None:
        return {"cost_note": summary.no_cost}
    return {
        **_make_estimate_columns("cost_per_inference_usd", cost.inference),
        **_make_estimate_columns("cost_per_million_usd", cost.per_million_usd),
        **_make_estimate_columns(
            "cost_per_million_container_time_usd", cost.container_time_per_million_usd
        ),
        "price_usd_per_hour": cost.price.usd_per_hour,
        "price_date": cost.price.source.date,
        "cost_note": "",
    }


def _make_estimate_columns(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_note": estimate.reason or estimate.method,
    }

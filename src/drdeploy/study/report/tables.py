"""The report's numbers as tables in full precision, for spreadsheets and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drdeploy.study.measurements.load import LINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.statistics.means import Estimate
    from drdeploy.study.measurements.scenarios import Scenario
    from drdeploy.study.report.comparisons import ScenarioRatio
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.report.summaries import ScenarioSummary


def scenario_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return one row per scenario: n, times, shares and costs, each with its interval."""
    return pd.DataFrame([_scenario_row(summary) for summary in summaries])


def breakdown_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return the parts of the mean total latency, one row per scenario that knows them."""
    return pd.DataFrame(
        [
            {
                **_identity(summary.scenario),
                "setup_s": parts.setup_s,
                "decode_transform_s": parts.decode_transform_s,
                "prediction_s": parts.prediction_s,
                "container_rest_s": parts.container_rest_s,
                "outside_s": parts.outside_s,
            }
            for summary in summaries
            if (parts := summary.breakdown)
        ]
    )


def comparison_table(comparisons: Iterable[ScenarioRatio]) -> pd.DataFrame:
    """Return one row per ratio, by means and by medians, with the size of both samples."""
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
                **_estimate("ratio_of_means", comparison.means),
                **_estimate("ratio_of_medians", comparison.medians),
            }
            for comparison in comparisons
        ]
    )


def steadiness_table(summaries: Iterable[ScenarioSummary]) -> pd.DataFrame:
    """Return one row per scenario: drift, dependence, odd over even rows, outliers, lines."""
    return pd.DataFrame([_steadiness_row(summary) for summary in summaries])


def lines_of(scenario: Scenario) -> str:
    """Lines of the scenario's rows in the file: ``3-27, 30``."""
    lines = scenario.rows[LINE].to_numpy(dtype=int)
    if not lines.size:
        return ""
    runs = np.split(lines, np.flatnonzero(np.diff(lines) != 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if run.size > 1 else f"{run[0]}" for run in runs)


def outlier_lines(summary: ScenarioSummary) -> tuple[tuple[int, float], ...]:
    """Line in the file and seconds of each outlier."""
    rows = summary.scenario.rows.dropna(subset="total_latency_s")
    lines = rows[LINE].to_numpy(dtype=int)
    return tuple((int(lines[one.position]), one.value) for one in summary.steadiness.outliers)


def tables_of(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Every table, by the name of its file."""
    return {
        "scenarios": scenario_table(evidence.summaries),
        "breakdown": breakdown_table(evidence.summaries),
        "comparisons": comparison_table(evidence.comparisons),
        "steadiness": steadiness_table(evidence.summaries),
        "left_out": left_out_table(s.scenario for s in evidence.summaries),
    }


def left_out_table(scenarios: Iterable[Scenario]) -> pd.DataFrame:
    """Return how many rows do not count, one row per trial and reason."""
    rows = {
        (scenario.trial, reason): {"trial": scenario.trial, "reason": reason, "rows": count}
        for scenario in scenarios
        for reason, count in scenario.left_out.items()
    }
    return pd.DataFrame(list(rows.values()), columns=["trial", "reason", "rows"])


def _identity(scenario: Scenario) -> dict[str, Any]:
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
        "n": scenario.n,
        "left_out": sum(scenario.left_out.values()),
    }


def _scenario_row(summary: ScenarioSummary) -> dict[str, Any]:
    return {
        **_identity(summary.scenario),
        **_estimate("total_latency_mean_s", summary.total.mean),
        **_estimate("total_latency_median_s", summary.total.median),
        **_estimate("total_latency_p90_s", summary.total.p90),
        **_estimate("total_latency_p95_s", summary.total.p95),
        **_estimate("total_latency_p99_s", summary.total.p99),
        **_estimate("total_latency_sd_s", summary.total.sd),
        **_estimate("prediction_mean_s", summary.prediction),
        **_estimate("prediction_share", summary.prediction_share),
        **_estimate("model_setup_mean_s", summary.setup),
        **_cost_columns(summary),
    }


def _cost_columns(summary: ScenarioSummary) -> dict[str, Any]:
    cost = summary.cost
    if cost is None:
        return {"cost_note": summary.no_cost}
    return {
        **_estimate("cost_per_inference_usd", cost.inference),
        **_estimate("cost_per_million_usd", cost.million),
        **_estimate("cost_per_million_container_time_usd", cost.million_container),
        "price_usd_per_hour": cost.price.usd_per_hour,
        "price_date": cost.price.source.date,
        "cost_note": "",
    }


def _steadiness_row(summary: ScenarioSummary) -> dict[str, Any]:
    found = summary.steadiness
    return {
        **_identity(summary.scenario),
        "verdict": found.verdict.value,
        "drift": found.drift,
        "drift_p": found.drift_p,
        "autocorrelation": found.autocorrelation,
        "autocorrelation_p": found.autocorrelation_p,
        **_estimate("odd_over_even_rows", found.halves),
        "outlier_lines": " ".join(str(line) for line, _ in outlier_lines(summary)),
        "lines": lines_of(summary.scenario),
    }


def _estimate(name: str, estimate: Estimate) -> dict[str, Any]:
    return {
        name: estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_note": estimate.reason or estimate.method,
    }

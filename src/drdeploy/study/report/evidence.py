"""Everything that a report says, computed once; page, tables and JSON only display it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.study.measurements.scenarios import scenarios_of
from drdeploy.study.report.caveats import limits_of, warnings_of
from drdeploy.study.report.comparisons import comparisons
from drdeploy.study.report.findings import findings_of
from drdeploy.study.report.summaries import summarise

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Price, PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.scenarios import Configuration
    from drdeploy.study.report.comparisons import Dimension, Quantity, ScenarioRatio
    from drdeploy.study.report.findings import ModelFinding
    from drdeploy.study.report.summaries import ScenarioSummary

_ALL_TIMES: tuple[Quantity, ...] = ("total_latency_s", "prediction_s", "model_setup_s")
_OTHER_DIMENSIONS: tuple[Dimension, ...] = ("instance_type", "precision")


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is computed from a results folder.

    Attributes:
        summaries: One for each scenario.
        memory: Speed-ups from less to more memory: total latency, prediction and set-up.
        cold_over_warm: How many times as long a cold start takes as a warm request.
        images: Speed-ups from image to image: total latency, prediction and set-up.
        others: Ratios between instance types and between precisions.
        findings: What the measurements say about each model, in sentences.
        warnings: What limits these measurements in particular.
        limits: What rows of this platform cannot say.
    """

    measurements: Measurements
    summaries: tuple[ScenarioSummary, ...]
    memory: tuple[ScenarioRatio, ...]
    cold_over_warm: tuple[ScenarioRatio, ...]
    images: tuple[ScenarioRatio, ...]
    others: tuple[ScenarioRatio, ...]
    findings: tuple[ModelFinding, ...]
    warnings: tuple[str, ...]
    limits: tuple[str, ...]

    @property
    def prices(self) -> tuple[Price, ...]:
        """The prices that the costs are computed from, each once."""
        used = {s.cost.price.source: None for s in self.summaries if s.cost}
        return tuple(sorted(used, key=lambda price: (price.unit, price.usd)))

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The configuration of each scenario."""
        return tuple(summary.scenario.configuration for summary in self.summaries)

    @property
    def comparisons(self) -> tuple[ScenarioRatio, ...]:
        """All ratios."""
        return self.memory + self.cold_over_warm + self.images + self.others


def gather(measurements: Measurements, sheet: PriceSheet, *, allow_mixed: bool = False) -> Evidence:
    """Summarise, price and compare everything that was measured.

    Raises:
        AnalysisError: Platform, machine or isolation differ and ``allow_mixed`` is not given.
    """
    # Two machines in one table would be compared as if they were configurations.
    if not allow_mixed:
        measurements.require_comparable()
    scenarios = scenarios_of(measurements)
    summaries = tuple(summarise(scenario, sheet) for scenario in scenarios)
    return Evidence(
        measurements=measurements,
        summaries=summaries,
        memory=comparisons(
            [s for s in scenarios if s.configuration.endpoint_kind == "serverless"],
            "memory_mb",
            _ALL_TIMES,
        ),
        cold_over_warm=comparisons(scenarios, "start"),
        images=comparisons(scenarios, "image", _ALL_TIMES),
        others=tuple(
            ratio
            for dimension in _OTHER_DIMENSIONS
            for ratio in comparisons(scenarios, dimension, ("total_latency_s", "prediction_s"))
        ),
        findings=findings_of(summaries),
        warnings=warnings_of(measurements, summaries),
        limits=limits_of(measurements),
    )


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The evidence as plain values, every estimate with its interval, n and method."""
    return {
        "source": str(evidence.measurements.source),
        "rows": len(evidence.measurements.frame),
        "counted": len(evidence.measurements.counted),
        "left_out": evidence.measurements.left_out,
        "warnings": evidence.warnings,
        "verdicts": [asdict(finding) for finding in evidence.findings],
        "scenarios": [_scenario_as_json(summary) for summary in evidence.summaries],
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
        "prices": [asdict(price) for price in evidence.prices],
        "notice": RESEARCH_USE_NOTICE,
    }


def _scenario_as_json(summary: ScenarioSummary) -> dict[str, Any]:
    scenario = summary.scenario
    return {
        "trial": scenario.trial,
        **asdict(scenario.configuration),
        "scenario": scenario.name,
        "start": scenario.start,
        "platform": scenario.platform,
        "isolation": scenario.isolation,
        "weights": scenario.weights,
        "n": scenario.n,
        "left_out": scenario.left_out,
        "total_latency_s": asdict(summary.total),
        "prediction_s": asdict(summary.prediction),
        "prediction_share": asdict(summary.prediction_share),
        "model_setup_s": asdict(summary.setup),
        "breakdown": asdict(summary.breakdown) if summary.breakdown else None,
        "steadiness": asdict(summary.steadiness),
        "cost_usd": asdict(summary.cost.inference) if summary.cost else None,
        "cost_per_million_usd": asdict(summary.cost.million) if summary.cost else None,
        "no_cost": summary.no_cost,
    }

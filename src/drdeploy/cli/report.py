"""``drdeploy report``: write a page about the results of a study."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line, print_note
from drdeploy.cli.options import (
    AsMeasuredOption,
    BudgetOption,
    JsonOption,
    MinSensitivityOption,
    MinSpecificityOption,
    MixedOption,
    P95Option,
    PricesOption,
    ResultsArgument,
    ShapeOption,
    refuse_to_overwrite_inputs,
)
from drdeploy.errors import AnalysisError, UnknownPrice

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import DecisionInputs
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.report.report import NoDecision


def report(
    results: ResultsArgument,
    *,
    page: Annotated[
        Path | None,
        typer.Option(
            "--out",
            dir_okay=False,
            help=(
                "The page to write; by default, RESULTS/report.html, and "
                "results/thesis-2023/report.html for the 2023 study."
            ),
        ),
    ] = None,
    prices: PricesOption = None,
    mixed: MixedOption = False,
    requests_per_month: Annotated[
        float,
        typer.Option("--requests", help="Number of photographs in a month, for the decision."),
    ] = 50_000,
    shape: ShapeOption = "clinic",
    p95_s: P95Option = None,
    min_sensitivity: MinSensitivityOption = None,
    min_specificity: MinSpecificityOption = None,
    budget_usd: BudgetOption = None,
    as_measured: AsMeasuredOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page about the cost and latency of each way of hosting."""
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.aws_latency.model import fit_transfer_model
    from drdeploy.study.published_study.raw_rows import load_results_or_published_study
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.decision import convert_decision_to_json as decision_as_json
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements
    from drdeploy.study.recommendation.traffic import Traffic, look_up_traffic_shape
    from drdeploy.study.report.evidence import compute_evidence
    from drdeploy.study.report.evidence import convert_evidence_to_json as evidence_as_json
    from drdeploy.study.report.report import write_report_page_and_files

    sheet = PriceSheet.load(prices)
    inputs = DecisionInputs(
        traffic=Traffic(requests_per_month=requests_per_month, shape=look_up_traffic_shape(shape)),
        required=Requirements(
            p95_s=p95_s,
            min_sensitivity=min_sensitivity,
            min_specificity=min_specificity,
            budget_usd=budget_usd,
        ),
    )
    # Beside the measurements, but never in a folder of the package.
    folder = results if results.is_dir() else results.parent
    if not results.exists():
        folder = Path("results") / results.name
    if page is not None:
        read = (results, *results.glob("*.csv"), folder / "environment.json", prices)
        refuse_to_overwrite_inputs("--out", page, read)
    with err.status("Reading the measurements, simulating the traffic"):
        measurements = load_results_or_published_study(results)
        if not as_measured:
            image_gb = inputs.assumptions.image_gb
            inputs = replace(inputs, transfer=fit_transfer_model(measurements, image_gb=image_gb))
        evidence = compute_evidence(measurements, sheet, allow_mixed=mixed)
        decision = _decide_or_explain(measurements, sheet, inputs, mixed=mixed)
        target = page or folder / "report.html"
        write_report_page_and_files(
            evidence, target, written_at=datetime.now(UTC), decision=decision
        )
    if as_json:
        document = (
            decision_as_json(decision) if isinstance(decision, Decision) else asdict(decision)
        )
        print_json({"report": str(target), "decision": document, **evidence_as_json(evidence)})
    else:
        _print_decision_and_findings(evidence, decision, target)


def _decide_or_explain(
    measurements: Measurements, sheet: PriceSheet, inputs: DecisionInputs, *, mixed: bool
) -> Decision | NoDecision:
    """Return the decision, or the reason why the measurements or the prices allow no decision."""
    from drdeploy.study.recommendation.decide import choose_cheapest_hosting
    from drdeploy.study.report.report import NoDecision

    try:
        return choose_cheapest_hosting(measurements, sheet, inputs, allow_mixed=mixed)
    except (AnalysisError, UnknownPrice) as error:
        return NoDecision(str(error))


def _print_decision_and_findings(
    evidence: Evidence, decision: Decision | NoDecision, page: Path
) -> None:
    from drdeploy.study.recommendation.decision import Decision

    if isinstance(decision, Decision):
        print_line(f"For {decision.traffic}:")
        for sentence in (*decision.answer, decision.latency_basis, decision.price_age):
            print_line(sentence)
    else:
        print_line(f"No decision. {decision.why}")
    for finding in evidence.findings:
        where = " on a real-time endpoint" if finding.endpoint_kind == "realtime" else ""
        print_line(f"{finding.model}{where}", style="bold")
        for sentence in finding.sentences:
            print_line(sentence, indent=2)
    for warning in evidence.warnings:
        print_note(warning)
    print_line(f"The report is at {page}")

"""``drdeploy report``: a page on what a study measured."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line, print_note
from drdeploy.cli.options import (
    BudgetOption,
    JsonOption,
    MinSensitivityOption,
    MixedOption,
    P95Option,
    PricesOption,
    ResultsArgument,
    ShapeOption,
)
from drdeploy.errors import AnalysisError

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
            help="The page to write. By default, RESULTS/report.html, and "
            "results/thesis-2023/report.html for the 2023 study.",
        ),
    ] = None,
    prices: PricesOption = None,
    mixed: MixedOption = False,
    requests_per_month: Annotated[
        float, typer.Option("--requests", help="Photographs a month, for the decision.")
    ] = 50_000,
    shape: ShapeOption = "clinic",
    p95_s: P95Option = None,
    min_sensitivity: MinSensitivityOption = None,
    budget_usd: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page on what each way of hosting costs and takes."""
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.decision import as_json as decision_as_json
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements
    from drdeploy.study.recommendation.traffic.arrivals import Traffic
    from drdeploy.study.recommendation.traffic.shape import shape_named
    from drdeploy.study.report.evidence import as_json as evidence_as_json
    from drdeploy.study.report.evidence import gather
    from drdeploy.study.report.report import write_report
    from drdeploy.study.thesis.raw_rows import load_results

    sheet = PriceSheet.load(prices)
    inputs = DecisionInputs(
        traffic=Traffic(requests_per_month=requests_per_month, shape=shape_named(shape)),
        required=Requirements(p95_s=p95_s, min_sensitivity=min_sensitivity, budget_usd=budget_usd),
    )
    # Beside the measurements, but never in a folder of the package.
    folder = results if results.is_dir() else results.parent
    if not results.exists():
        folder = Path("results") / results.name
    with err.status("Reading the measurements, simulating the traffic"):
        measurements = load_results(results)
        evidence = gather(measurements, sheet, allow_mixed=mixed)
        decision = _decision(measurements, sheet, inputs, mixed=mixed)
        written = write_report(
            evidence,
            page or folder / "report.html",
            written_at=datetime.now(UTC),
            decision=decision,
        )
    if as_json:
        document = (
            decision_as_json(decision) if isinstance(decision, Decision) else asdict(decision)
        )
        print_json(
            {"report": str(written.page), "decision": document, **evidence_as_json(evidence)}
        )
    else:
        _print_answer(evidence, decision, written.page)


def _decision(
    measurements: Measurements, sheet: PriceSheet, inputs: DecisionInputs, *, mixed: bool
) -> Decision | NoDecision:
    """Decide, or return why that is not possible: the report is written either way."""
    from drdeploy.study.recommendation.decide import decide
    from drdeploy.study.report.report import NoDecision

    try:
        return decide(measurements, sheet, inputs, allow_mixed=mixed)
    except AnalysisError as error:
        return NoDecision(str(error))


def _print_answer(evidence: Evidence, decision: Decision | NoDecision, page: Path) -> None:
    from drdeploy.study.recommendation.decision import Decision

    if isinstance(decision, Decision):
        print_line(f"For {decision.traffic}:")
        for sentence in decision.answer:
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

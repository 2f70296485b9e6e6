"""``drdeploy report``: what a study's measurements say, as one page."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import DecisionInputs
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.report.report import NoDecision


def report(
    results: Annotated[
        Path,
        typer.Argument(help="A folder with measurements.csv, or thesis-2023: the 2023 study."),
    ],
    *,
    page: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The page; RESULTS/report.html by default, of the 2023 study "
            "results/thesis-2023/report.html.",
        ),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A price sheet of your own instead of the packaged one.")
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option("--mixed", help="Compare rows of different platforms or machines too."),
    ] = False,
    requests_per_month: Annotated[
        float, typer.Option("--requests", help="Photographs a month, for the decision.")
    ] = 50_000,
    shape: Annotated[
        str, typer.Option(help="Of their week: clinic, working-hours or flat.")
    ] = "clinic",
    p95_s: Annotated[
        float | None,
        typer.Option("--p95", help="Seconds, cold starts and waiting included; else any."),
    ] = None,
    min_sensitivity: Annotated[
        float | None, typer.Option(help="A share; the lower 95 % limit must reach it.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option("--budget", help="USD a month, at the most.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Report what each configuration costs and how fast it is."""
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
    with err.status("Reading the measurements, simulating the traffic"):
        measurements = load_results(results)
        evidence = gather(measurements, sheet, allow_mixed=mixed)
        decision = _decision(measurements, sheet, inputs, mixed=mixed)
        written = write_report(
            evidence,
            page or _folder_of(results) / "report.html",
            written_at=datetime.now(UTC),
            decision=decision,
        )
    if as_json:
        told = decision_as_json(decision) if isinstance(decision, Decision) else asdict(decision)
        print_json({"report": str(written.page), "decision": told, **evidence_as_json(evidence)})
    else:
        _print_answer(evidence, decision, written.page)


def _folder_of(results: Path) -> Path:
    """Where the report goes: beside the measurements, but never into the package."""
    if results.is_dir():
        return results
    return results.parent if results.is_file() else Path("results") / results.name


def _decision(
    measurements: Measurements, sheet: PriceSheet, inputs: DecisionInputs, *, mixed: bool
) -> Decision | NoDecision:
    """The report holds without a decision too: it says why there is none."""
    from drdeploy.study.recommendation.decide import decide
    from drdeploy.study.report.report import NoDecision

    try:
        return decide(measurements, sheet, inputs, allow_mixed=mixed)
    except AnalysisError as error:
        return NoDecision(str(error))


def _told(decision: Decision | NoDecision) -> tuple[str, ...]:
    from drdeploy.study.report.report import NoDecision

    if isinstance(decision, NoDecision):
        return (f"No decision. {decision.why}",)
    return (f"For {decision.traffic}:", *decision.answer)


def _print_answer(evidence: Evidence, decision: Decision | NoDecision, page: Path) -> None:
    for sentence in _told(decision):
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for verdict in evidence.verdicts:
        always_on = " on an always-on instance" if verdict.endpoint_kind == "realtime" else ""
        out.print(f"{verdict.model}{always_on}", style="bold", markup=False, highlight=False)
        for sentence in verdict.sentences:
            out.print(f"  {sentence}", markup=False, highlight=False, soft_wrap=True)
    for warning in evidence.warnings:
        err.print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"The report is at {page}", markup=False, highlight=False, soft_wrap=True)

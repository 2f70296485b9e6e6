"""``drdeploy report``: what a study's measurements say, as one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import JsonOption, err, out, print_json

if TYPE_CHECKING:
    from drdeploy.analysis.evidence import Evidence


def report(
    results: Annotated[Path, typer.Argument(help="The folder that holds measurements.csv.")],
    page: Annotated[
        Path | None, typer.Option("--out", help="The page; RESULTS/report.html by default.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A price sheet of your own instead of the packaged one.")
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option("--mixed", help="Compare rows of different platforms or machines too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Report what each configuration costs and how fast it is."""
    from drdeploy.analysis.evidence import as_json as evidence_as_json
    from drdeploy.analysis.evidence import gather
    from drdeploy.analysis.measurements import load
    from drdeploy.analysis.report import write_report
    from drdeploy.sagemaker.prices import PriceSheet

    with err.status("Reading the measurements"):
        evidence = gather(load(results), PriceSheet.load(prices), allow_mixed=mixed)
        folder = results if results.is_dir() else results.parent
        written = write_report(
            evidence, page or folder / "report.html", written_at=datetime.now(UTC)
        )
    if as_json:
        print_json({"report": str(written.page), **evidence_as_json(evidence)})
    else:
        _print_answer(evidence, written.page)


def _print_answer(evidence: Evidence, page: Path) -> None:
    for verdict in evidence.verdicts:
        always_on = " on an always-on instance" if verdict.endpoint_kind == "realtime" else ""
        out.print(f"{verdict.model}{always_on}", style="bold", markup=False, highlight=False)
        for sentence in verdict.sentences:
            out.print(f"  {sentence}", markup=False, highlight=False, soft_wrap=True)
    for warning in evidence.warnings:
        err.print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"The report is at {page}", markup=False, highlight=False, soft_wrap=True)

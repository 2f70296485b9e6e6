"""``drdeploy reproduce``: the 2023 study recomputed from its raw rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption

if TYPE_CHECKING:
    from drdeploy.study.thesis.reproduction import Reproduction
    from drdeploy.study.thesis.verdicts import Recomputed

DEFAULT_FOLDER = Path("results/reproduction")
STYLES = {"reproduced": "green", "close": "cyan", "differs": "bold red", "not_recomputable": "dim"}


def reproduce(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="A folder with the study's CSV files and published.csv; the packaged ones by "
            "default.",
        ),
    ] = None,
    folder_out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="For the page, its figures and tables, and the rows as measurements.csv; "
            "results/reproduction by default, with --json nothing.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every figure that the 2023 study printed, each with a verdict."""
    from drdeploy.study.thesis.document import document_of
    from drdeploy.study.thesis.findings import counts_of, does_not_hold
    from drdeploy.study.thesis.raw_rows import STUDY_FOLDER
    from drdeploy.study.thesis.reproduction import reproduce as recompute

    target = folder_out or (None if as_json else DEFAULT_FOLDER)
    with err.status("Recomputing every printed figure"):
        found = recompute(folder or STUDY_FOLDER)
        page = _write(found, target) if target else None
    for note in found.measurements.notes:
        err.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json([document_of(figure) for figure in found.figures])
        return
    for figure in found.figures:
        _print_line(figure)
    for sentence in does_not_hold(found.figures):
        out.print(f"- {sentence}", markup=False, highlight=False, soft_wrap=True)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts_of(found.figures).items())
    out.print(told.replace("_", " "), markup=False, highlight=False)
    if page:
        out.print(f"The page is at {page}", markup=False, highlight=False, soft_wrap=True)


def _write(found: Reproduction, folder: Path) -> Path:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.thesis.page import write_reproduction

    sheet = PriceSheet.load()
    return write_reproduction(found, folder, sheet, written_at=datetime.now(UTC)).page


def _print_line(figure: Recomputed) -> None:
    from drdeploy.statistics import notation

    found = figure.estimate
    value = notation.NO_VALUE if found is None else f"{found.value:.6g}"
    interval = notation.interval(found) if found else ""
    line = f"{figure.printed.id:32}{figure.printed.text:>11} {value:>11}  {interval:24}"
    verdict = figure.verdict.replace("_", " ")
    out.print(line, end="", markup=False, highlight=False, soft_wrap=True)
    out.print(verdict, style=STYLES[figure.verdict], highlight=False, soft_wrap=True)

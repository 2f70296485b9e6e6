"""``drdeploy reproduce``: the 2023 study recomputed from its raw rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.thesis.verdicts import Recomputed

DEFAULT_FOLDER = Path("results/reproduction")
STYLES = {"reproduced": "green", "close": "cyan", "differs": "bold red"}
DIGITS = 4
"""Significant digits of a recomputed figure: more than the study printed."""


def reproduce(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="A folder with the study's CSV files and published.csv. By default, those that "
            "come with this package.",
        ),
    ] = None,
    folder_out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for the page, its figures and tables, and the rows. By default, "
            "results/reproduction, and none with --json.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every figure that the 2023 study printed."""
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.thesis.document import document_of
    from drdeploy.study.thesis.findings import counts_of, does_not_hold
    from drdeploy.study.thesis.page import write_reproduction
    from drdeploy.study.thesis.raw_rows import STUDY_FOLDER
    from drdeploy.study.thesis.reproduction import reproduce as recompute

    target = folder_out or (None if as_json else DEFAULT_FOLDER)
    with err.status("Recomputing every printed figure"):
        found = recompute(folder or STUDY_FOLDER)
        page = None
        if target:
            now = datetime.now(UTC)
            page = write_reproduction(found, target, PriceSheet.load(), written_at=now).page
    for note in found.measurements.notes:
        print_note(note)
    if as_json:
        print_json([document_of(figure) for figure in found.figures])
        return
    _print_figures(found.figures)
    for sentence in does_not_hold(found.figures):
        print_line(f"- {sentence}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in counts_of(found.figures).items())
    print_line(counts.replace("_", " "))
    if page:
        print_line(f"The page is at {page}")


def _print_figures(figures: Sequence[Recomputed]) -> None:
    """Print a table for each verdict, so that the verdict needs no column of its own."""
    from drdeploy.statistics import notation

    for verdict, style in STYLES.items():
        columns = (Column.number("printed"), Column.number("recomputed"), Column("95 % interval"))
        table = Table([Column.name(verdict), *columns])
        for figure in figures:
            found = figure.estimate
            if figure.verdict != verdict or found is None or found.value is None:
                continue
            digits = notation.decimals_of(found.value, DIGITS)
            table.add(
                figure.printed.id,
                figure.printed.text,
                notation.number(found.value, digits),
                notation.interval(found),
                style=style,
            )
        table.print()
        print_line("")
    others = [figure.printed.id for figure in figures if figure.verdict not in STYLES]
    print_line(f"Not recomputable: {', '.join(others)}")

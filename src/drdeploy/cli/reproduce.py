"""``drdeploy reproduce``: recompute the 2023 study from its raw rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.published_study.verdicts import RecomputedFigure

DEFAULT_FOLDER = Path("results/reproduction")
STYLES = {"reproduced": "green", "close": "cyan", "differs": "bold red"}
DIGITS = 4
"""The number of significant digits of a recomputed number, which is more than the study printed."""


def reproduce(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            file_okay=False,
            help=(
                "A folder with the study's CSV files and published.csv; by default, the "
                "packaged files."
            ),
        ),
    ] = None,
    folder_out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            file_okay=False,
            help=(
                "Folder for the page, its pictures and tables, and the rows. By default, "
                "results/reproduction; with --json, no folder."
            ),
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute every number that was printed in the 2023 study."""
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.published_study.document import (
        convert_figure_to_json,
        count_figures_by_verdict,
        write_sentences_on_differing_figures,
    )
    from drdeploy.study.published_study.page import (
        refuse_folder_of_another_study,
        write_reproduction_page_and_files,
    )
    from drdeploy.study.published_study.raw_rows import STUDY_FOLDER
    from drdeploy.study.published_study.verdicts import reproduce_published_study as recompute

    target = folder_out or (None if as_json else DEFAULT_FOLDER)
    if target:
        refuse_folder_of_another_study(target)
    with err.status("Recomputing every printed number"):
        found = recompute(folder or STUDY_FOLDER)
        page = None
        if target:
            now = datetime.now(UTC)
            page = write_reproduction_page_and_files(
                found, target, PriceSheet.load(), written_at=now
            )
    for note in found.measurements.notes:
        print_note(note)
    if as_json:
        print_json([convert_figure_to_json(figure) for figure in found.figures])
        return
    _print_figures_by_verdict(found.figures)
    for sentence in write_sentences_on_differing_figures(found.figures):
        print_line(f"- {sentence}")
    counts = ", ".join(
        f"{count} {verdict}" for verdict, count in count_figures_by_verdict(found.figures).items()
    )
    print_line(counts.replace("_", " "))
    if page:
        print_line(f"The page is at {page}")


def _print_figures_by_verdict(figures: Sequence[RecomputedFigure]) -> None:
    """Print a table for each verdict, and the ids of the numbers that cannot be recomputed."""
    from drdeploy.statistics import notation

    for verdict, style in STYLES.items():
        columns = (
            Column.of_numbers("printed"),
            Column.of_numbers("recomputed"),
            Column("95 % interval"),
        )
        table = Table([Column.of_names(verdict), *columns])
        for figure in figures:
            found = figure.estimate
            if figure.verdict != verdict or found is None or found.value is None:
                continue
            digits = notation.decimals_for_significant_digits(found.value, DIGITS)
            table.add_row(
                figure.printed.id,
                figure.printed.text,
                notation.format_number(found.value, digits),
                notation.format_interval(found),
                style=style,
            )
        table.print()
        print_line("")
    others = [figure.printed.id for figure in figures if figure.verdict not in STYLES]
    print_line(f"Not recomputable: {', '.join(others)}")

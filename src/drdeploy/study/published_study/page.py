"""Write the reproduction as an HTML page, with pictures and tables in separate files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from drdeploy.errors import InvalidInput
from drdeploy.files import write_file_atomically
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.pages.page import create_template_environment, format_table_cell
from drdeploy.statistics import notation
from drdeploy.study.measurements.load import LINE
from drdeploy.study.measurements.results import MEASUREMENTS_FILE
from drdeploy.study.published_study.document import (
    count_figures_by_verdict,
    explain_printed_number,
    format_with_one_more_decimal,
    group_figures_by_printed_place,
    make_verdict_table,
    write_sentence_on_figure,
    write_sentences_on_differing_figures,
)
from drdeploy.study.published_study.figures import draw_study_figures
from drdeploy.study.published_study.printed_figures import ReproductionVerdict
from drdeploy.study.published_study.raw_rows import STUDY_OF_ROWS
from drdeploy.study.report.evidence import compute_evidence
from drdeploy.study.report.tables import make_all_tables, write_tables_as_csv
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.published_study.figures import StudyFigure
    from drdeploy.study.published_study.verdicts import RecomputedFigure, Reproduction

    Groups = dict[str, list[RecomputedFigure]]

PAGE = "reproduction.html"


def refuse_folder_of_another_study(folder: Path) -> None:
    """Refuse a folder whose ``measurements.csv`` the reproduction would overwrite.

    Raises:
        InvalidInput: The file exists, and was not written by an earlier reproduction.
    """
    path = folder / MEASUREMENTS_FILE
    if not path.exists():
        return
    try:
        studies = set(pd.read_csv(path, usecols=["study"], dtype=str)["study"])
    except (OSError, ValueError):
        studies = set()
    if studies != {STUDY_OF_ROWS}:
        raise InvalidInput(
            "The folder holds other measurements, which the rows of the 2023 study would overwrite",
            where=str(path),
            remedy="Give another folder with --out",
        )


def write_reproduction_page_and_files(
    found: Reproduction, folder: Path, sheet: PriceSheet, *, written_at: datetime
) -> Path:
    """Write the page, ``figures/*.svg``, ``tables/*.csv`` and the rows as ``measurements.csv``.

    ``drdeploy report`` and ``drdeploy recommend`` can read the folder as a results folder.

    Returns:
        The path of the page.
    """
    evidence = compute_evidence(found.measurements, sheet)
    figures = draw_study_figures(evidence.summaries, found.figures)
    for figure in figures:
        if figure.picture:
            figure.picture.write_svg_file(folder / "figures")
    write_tables_as_csv(
        {"verdicts": make_verdict_table(found.figures), **make_all_tables(evidence)},
        folder / "tables",
    )
    rows = found.measurements.frame.drop(columns=["left_out", LINE])
    write_tables_as_csv({MEASUREMENTS_FILE.removesuffix(".csv"): rows}, folder)
    page = folder / PAGE
    write_file_atomically(page, render_reproduction_page(found, figures, written_at=written_at))
    return page


def render_reproduction_page(
    found: Reproduction, figures: Sequence[StudyFigure], *, written_at: datetime
) -> str:
    """Return the page as HTML that needs no other file."""
    environment = create_template_environment("drdeploy.study.published_study")
    environment.filters |= {
        "recomputed": _format_recomputed_cell,
        "explained": explain_printed_number,
        "sentence": write_sentence_on_figure,
        "why": _explain_missing_value_or_difference,
    }
    of_verdict = {
        verdict: [figure for figure in found.figures if figure.verdict is verdict]
        for verdict in ReproductionVerdict
    }
    return environment.get_template("reproduction.html.j2").render(
        counts=count_figures_by_verdict(found.figures),
        differing=write_sentences_on_differing_figures(found.figures),
        close=of_verdict[ReproductionVerdict.CLOSE],
        unknown=_group_figures_by_text(
            (figure.definition.why_not, figure)
            for figure in of_verdict[ReproductionVerdict.NOT_RECOMPUTABLE]
        ),
        checked=[figure for figure in found.figures if figure.check],
        noted=_group_figures_by_text(
            (figure.definition.note, figure)
            for figure in found.figures
            if figure.estimate and figure.definition.note
        ),
        places=group_figures_by_printed_place(found.figures),
        figures=figures,
        notes=found.measurements.notes,
        rows=len(found.measurements.frame),
        files=found.measurements.frame["trial"].nunique(),
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _format_recomputed_cell(figure: RecomputedFigure) -> Markup:
    found = figure.estimate
    if found is None or found.value is None:
        return Markup('<span class="same">{}</span>').format(notation.NO_VALUE)
    return format_table_cell(
        format_with_one_more_decimal(figure.printed.text, found.value),
        notation.format_interval(found),
        found.reason,
        notation.format_sample_sizes(found) if found.n else "",
    )


def _explain_missing_value_or_difference(figure: RecomputedFigure) -> str:
    """Explain why a number could not be recomputed, or how else the printed number arises."""
    if figure.estimate is None:
        return f"{_capitalise_first_letter(figure.definition.why_not)}."
    note = f"{_capitalise_first_letter(figure.definition.note)}. " if figure.definition.note else ""
    return f"{note}{explain_printed_number(figure)}".strip()


def _capitalise_first_letter(text: str) -> str:
    return text[:1].upper() + text[1:]


def _group_figures_by_text(pairs: Iterable[tuple[str, RecomputedFigure]]) -> Groups:
    groups: Groups = {}
    for text, figure in pairs:
        groups.setdefault(_capitalise_first_letter(text), []).append(figure)
    return groups

"""The reproduction as a self-contained page, with its figures, tables and rows beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from drdeploy.files import safe_cell
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.pages.page import cell, environment_for
from drdeploy.statistics import notation
from drdeploy.study.measurements.load import LINE
from drdeploy.study.measurements.results import MEASUREMENTS_FILE
from drdeploy.study.report.evidence import gather
from drdeploy.study.report.tables import tables_of
from drdeploy.study.thesis.figures import draw_study_figures
from drdeploy.study.thesis.findings import (
    counts_of,
    does_not_hold,
    explanation_of,
    sentence_of,
    with_digits_of,
)
from drdeploy.study.thesis.printed import ReproductionVerdict
from drdeploy.study.thesis.tables import places_of, result_tables, verdict_table
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.thesis.figures import StudyFigure
    from drdeploy.study.thesis.reproduction import Reproduction
    from drdeploy.study.thesis.verdicts import Recomputed

    Groups = dict[str, list[Recomputed]]

PAGE = "reproduction.html"


@dataclass(frozen=True)
class WrittenReproduction:
    """The files of a reproduction."""

    page: Path
    files: tuple[Path, ...]


def write_reproduction(
    found: Reproduction, folder: Path, sheet: PriceSheet, *, written_at: datetime
) -> WrittenReproduction:
    """Write the page, ``figures/*.svg``, ``tables/*.csv`` and the rows as ``measurements.csv``.

    The rows are a results folder as any other: ``drdeploy report`` and ``recommend`` read it.
    """
    evidence = gather(found.measurements, sheet)
    figures = draw_study_figures(evidence.summaries, found.figures)
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    page.write_text(render(found, figures, written_at=written_at), "utf-8")
    pictures = []
    for picture in filter(None, (figure.picture for figure in figures)):
        pictures.append(folder / "figures" / f"{picture.name}.svg")
        pictures[-1].write_text(picture.svg, "utf-8")
    return WrittenReproduction(page, (*pictures, *_tables(found, evidence, folder)))


def render(found: Reproduction, figures: Sequence[StudyFigure], *, written_at: datetime) -> str:
    """The page as HTML; it refers to nothing outside itself."""
    environment = environment_for("drdeploy.study.thesis")
    environment.filters |= {
        "recomputed": _recomputed_cell,
        "explained": explanation_of,
        "sentence": sentence_of,
        "why": _why,
    }
    of_verdict = {
        verdict: [figure for figure in found.figures if figure.verdict is verdict]
        for verdict in ReproductionVerdict
    }
    return environment.get_template("reproduction.html.j2").render(
        counts=counts_of(found.figures),
        differing=does_not_hold(found.figures),
        close=of_verdict[ReproductionVerdict.CLOSE],
        unknown=_grouped(
            (figure.definition.why_not, figure)
            for figure in of_verdict[ReproductionVerdict.NOT_RECOMPUTABLE]
        ),
        checked=[figure for figure in found.figures if figure.check],
        noted=_grouped(
            (figure.definition.note, figure)
            for figure in found.figures
            if figure.estimate and figure.definition.note
        ),
        tables=result_tables(found.figures),
        places=places_of(found.figures),
        figures=figures,
        notes=found.measurements.notes,
        rows=len(found.measurements.frame),
        files=found.measurements.frame["trial"].nunique(),
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _recomputed_cell(figure: Recomputed) -> Markup:
    found = figure.estimate
    if found is None or found.value is None:
        return Markup('<span class="same">{}</span>').format(notation.NO_VALUE)
    return cell(
        with_digits_of(figure.printed.text, found.value),
        notation.interval(found),
        found.reason,
        notation.rows(found) if found.n else "",
    )


def _why(figure: Recomputed) -> str:
    """Say why a figure has no value, or what gives the printed number."""
    if figure.estimate is None:
        return f"{_capital(figure.definition.why_not)}."
    note = f"{_capital(figure.definition.note)}. " if figure.definition.note else ""
    return f"{note}{explanation_of(figure)}".strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _grouped(pairs: Iterable[tuple[str, Recomputed]]) -> Groups:
    groups: Groups = {}
    for text, figure in pairs:
        groups.setdefault(_capital(text), []).append(figure)
    return groups


def _tables(found: Reproduction, evidence: Evidence, folder: Path) -> list[Path]:
    tables = {"verdicts": verdict_table(found.figures), **tables_of(evidence)}
    frames = {folder / "tables" / f"{name}.csv": frame for name, frame in tables.items()}
    rows = found.measurements.frame.drop(columns=["left_out", LINE])
    frames[folder / MEASUREMENTS_FILE] = rows
    for path, frame in frames.items():
        frame.map(safe_cell).to_csv(path, index=False, lineterminator="\n")
    return list(frames)

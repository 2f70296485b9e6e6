"""The report: a self-contained page, and beside it tables as CSV and figures as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from drdeploy.files import safe_cell
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.pages.page import environment_for
from drdeploy.statistics.means import BOOTSTRAP_ROWS, rows_needed
from drdeploy.study.measurements.labels import label_of, labels_of
from drdeploy.study.recommendation import picture
from drdeploy.study.recommendation.decision import Decision
from drdeploy.study.recommendation.page import section
from drdeploy.study.report import cells, scenario_picture, tables
from drdeploy.study.report.figures import drawings_of
from drdeploy.study.report.image_figure import drawings_of_images
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from drdeploy.pages.opening import Opening
    from drdeploy.pages.picture import Picture
    from drdeploy.statistics.means import Estimate
    from drdeploy.study.report.comparisons import ScenarioRatio
    from drdeploy.study.report.evidence import Evidence
    from drdeploy.study.report.summaries import ScenarioSummary

_QUANTITIES = {
    "total_latency_s": "total latency",
    "prediction_s": "prediction",
    "model_setup_s": "set-up of the model",
}


@dataclass(frozen=True)
class NoDecision:
    """Why these measurements allow no decision."""

    why: str


@dataclass(frozen=True)
class WrittenReport:
    """The files of a report."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def write_report(
    evidence: Evidence,
    page: Path,
    *,
    written_at: datetime,
    decision: Decision | NoDecision | None = None,
) -> WrittenReport:
    """Write the page, ``tables/*.csv`` and ``figures/*.svg`` beside it."""
    opening = _opening(evidence, decision)
    drawings = (*drawings_of_images(evidence.summaries), *drawings_of(evidence.summaries))
    page.parent.mkdir(parents=True, exist_ok=True)
    text = render(evidence, drawings, opening, written_at=written_at, decision=decision)
    page.write_text(text, "utf-8")
    pictures = (*(opening.pictures.values() if opening else ()), *drawings)
    return WrittenReport(
        page=page,
        tables=tuple(_write_tables(evidence, page.parent / "tables")),
        figures=tuple(_write_figures(pictures, page.parent / "figures")),
    )


def render(
    evidence: Evidence,
    drawings: Sequence[Picture],
    opening: Opening | None = None,
    *,
    written_at: datetime,
    decision: Decision | NoDecision | None = None,
) -> str:
    """The page as HTML; it refers to nothing outside itself."""
    environment = environment_for("drdeploy.study.report")
    environment.filters |= {
        **cells.FILTERS,
        "lines": tables.lines_of,
        "outlier_rows": tables.outlier_lines,
    }
    return environment.get_template("report.html.j2").render(
        evidence=evidence,
        opening=opening.render() if opening else "",
        decision=decision,
        decision_section=section(decision) if isinstance(decision, Decision) else "",
        drawings=drawings,
        overview=_overview(evidence),
        groups=_groups(evidence),
        memory=_step_rows(evidence.memory, evidence),
        cold_over_warm=_step_rows(evidence.cold_over_warm, evidence),
        images=_step_rows(evidence.images, evidence),
        others=_step_rows(evidence.others, evidence),
        left_out=tables.left_out_table(s.scenario for s in evidence.summaries).to_dict("records"),
        facts=_facts(evidence.measurements.environment),
        without_images=any(
            summary.scenario.isolation.startswith("process") for summary in evidence.summaries
        ),
        unlimited=any(not summary.scenario.is_limited for summary in evidence.summaries),
        bootstrap_rows=BOOTSTRAP_ROWS,
        rows_needed={share: rows_needed(share) for share in (0.90, 0.95, 0.99)},
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _opening(evidence: Evidence, decision: Decision | NoDecision | None) -> Opening | None:
    """Choose the first picture: the options of the decision, or else the scenarios."""
    if isinstance(decision, Decision):
        return picture.opening_of(decision)
    return scenario_picture.opening_of(evidence.summaries)


@dataclass(frozen=True)
class Group:
    """Scenarios of one model and start, as one block of the table."""

    title: str
    summaries: tuple[ScenarioSummary, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class StepRow:
    """A comparison of two configurations, with the ratio of each quantity."""

    title: str
    start: str
    before: str
    after: str
    ratios: dict[str, Estimate]


def _overview(evidence: Evidence) -> dict[str, Any]:
    frame = evidence.measurements.frame
    days = sorted({str(moment)[:10] for moment in frame["started_at"] if moment})
    return {
        "studies": ", ".join(sorted(set(frame["study"]))),
        "platform": ", ".join(sorted(set(frame["platform"]))),
        "isolation": ", ".join(sorted(set(frame["isolation"]) - {""})),
        "days": " to ".join(dict.fromkeys(days[:1] + days[-1:])),
        "scenarios": len(evidence.summaries),
        "asked": len(frame),
        "counted": len(evidence.measurements.counted),
        "price_dates": ", ".join(sorted({price.date for price in evidence.prices})),
        "regions": ", ".join(sorted({price.region for price in evidence.prices})),
    }


def _groups(evidence: Evidence) -> list[Group]:
    def block(summary: ScenarioSummary) -> tuple[str, str]:
        return summary.scenario.configuration.model, summary.scenario.start

    found = []
    for (model, start), members in groupby(evidence.summaries, block):
        group = tuple(members)
        labels = tuple(labels_of([s.scenario for s in group], among=evidence.configurations))
        found.append(Group(f"{model}, {start or 'start unknown'}", group, labels))
    return found


def _step_rows(ratios: Sequence[ScenarioRatio], evidence: Evidence) -> list[StepRow]:
    def step(ratio: ScenarioRatio) -> tuple[str, str, str]:
        return ratio.dimension, ratio.before.trial, ratio.after.trial

    return [_step_row(list(members), evidence) for _, members in groupby(ratios, step)]


def _step_row(ratios: list[ScenarioRatio], evidence: Evidence) -> StepRow:
    before, after = ratios[0].before, ratios[0].after
    by_start = ratios[0].dimension == "start"
    first, second = (
        label_of(scenario.configuration, among=evidence.configurations)
        for scenario in (before, after)
    )
    return StepRow(
        title=before.configuration.model,
        start="" if by_start else before.start,
        before=before.start if by_start else first,
        after=second,
        ratios={_QUANTITIES[ratio.quantity]: ratio.means for ratio in ratios},
    )


def _facts(environment: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The facts about the runs, each with its distinct values."""
    known: dict[str, dict[str, None]] = {}
    for facts in environment.values():
        for name, value in facts.items():
            known.setdefault(name.replace("_", " "), {})[_in_words(value)] = None
    return [(name, list(values)) for name, values in known.items()]


def _in_words(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items())
        case list():
            return " ".join(_in_words(one) for one in value)
        case None:
            return "none"
        case _:
            return str(value)


def _write_tables(evidence: Evidence, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.tables_of(evidence).items():
        path = folder / f"{name}.csv"
        frame.map(safe_cell).to_csv(path, index=False, lineterminator="\n")
        yield path


def _write_figures(drawings: Sequence[Picture], folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in drawings:
        path = folder / f"{drawing.name}.svg"
        path.write_text(drawing.svg, "utf-8")
        yield path

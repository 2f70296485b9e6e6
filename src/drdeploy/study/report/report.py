"""Write the report: an HTML page that needs no other file, tables as CSV, and pictures as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from drdeploy.files import write_file_atomically
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.pages.page import create_template_environment
from drdeploy.statistics.means import BOOTSTRAP_ROWS
from drdeploy.statistics.percentiles import rows_needed_for_percentile
from drdeploy.study.measurements.scenarios import label_configuration, label_scenarios
from drdeploy.study.recommendation import picture
from drdeploy.study.recommendation.decision import Decision
from drdeploy.study.recommendation.page import render_decision_section
from drdeploy.study.report import cells, scenario_picture, tables
from drdeploy.study.report.figures import draw_all_panels
from drdeploy.study.report.image_figure import draw_cold_starts_by_image
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from drdeploy.pages.page import Opening
    from drdeploy.pages.picture import Picture
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
    """What a report shows in place of a decision: why the measurements or prices allow none."""

    why: str


def write_report_page_and_files(
    evidence: Evidence,
    page: Path,
    *,
    written_at: datetime,
    decision: Decision | NoDecision | None = None,
) -> None:
    """Write the page, and ``tables/*.csv`` and ``figures/*.svg`` in the same folder."""
    # A report with a decision begins with a picture of its options. A report without a decision
    # begins with a picture of the measurements.
    opening = (
        picture.make_decision_opening(decision)
        if isinstance(decision, Decision)
        else scenario_picture.make_scenario_opening(evidence.summaries)
    )
    drawings = (
        *draw_cold_starts_by_image(evidence.summaries),
        *draw_all_panels(evidence.summaries),
    )
    text = render_report_page(evidence, drawings, opening, written_at=written_at, decision=decision)
    write_file_atomically(page, text)
    tables.write_tables_as_csv(tables.make_all_tables(evidence), page.parent / "tables")
    for drawn in (*(opening.pictures.values() if opening else ()), *drawings):
        drawn.write_svg_file(page.parent / "figures")


def render_report_page(
    evidence: Evidence,
    drawings: Sequence[Picture],
    opening: Opening | None = None,
    *,
    written_at: datetime,
    decision: Decision | NoDecision | None = None,
) -> str:
    """Return the page as HTML that needs no other file."""
    environment = create_template_environment("drdeploy.study.report")
    environment.filters |= {
        **cells.FILTERS,
        "lines": tables.format_line_numbers_of_rows,
        "outlier_rows": tables.list_outliers_with_lines,
    }
    return environment.get_template("report.html.j2").render(
        evidence=evidence,
        opening=opening.render_html_section() if opening else "",
        decision=decision,
        decision_section=render_decision_section(decision)
        if isinstance(decision, Decision)
        else "",
        drawings=drawings,
        overview=_summarise_measurements_for_header(evidence),
        groups=_group_scenarios_for_table(evidence),
        memory=_make_comparison_rows(evidence.memory, evidence),
        cold_over_warm=_make_comparison_rows(evidence.cold_over_warm, evidence),
        images=_make_comparison_rows(evidence.images, evidence),
        others=_make_comparison_rows(evidence.others, evidence),
        left_out=tables.make_left_out_table(evidence.all_scenarios).to_dict("records"),
        facts=_list_facts_about_runs(evidence.measurements.environment),
        without_images=any(
            summary.scenario.isolation.startswith("process") for summary in evidence.summaries
        ),
        unlimited=any(not summary.scenario.has_enforced_limits for summary in evidence.summaries),
        bootstrap_rows=BOOTSTRAP_ROWS,
        rows_needed={share: rows_needed_for_percentile(share) for share in (0.90, 0.95, 0.99)},
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _summarise_measurements_for_header(evidence: Evidence) -> dict[str, Any]:
    frame = evidence.measurements.frame
    days = sorted({str(moment)[:10] for moment in frame["started_at"] if moment})
    return {
        "studies": ", ".join(sorted(set(frame["study"]))),
        "platform": ", ".join(sorted(set(frame["platform"]))),
        "isolation": ", ".join(sorted(set(frame["isolation"]) - {""})),
        "days": " to ".join(dict.fromkeys(days[:1] + days[-1:])),
        "scenarios": len(evidence.all_scenarios),
        "asked": len(frame),
        "counted": len(evidence.measurements.counted),
        "price_dates": ", ".join(sorted({price.date for price in evidence.prices})),
        "regions": ", ".join(sorted({price.region for price in evidence.prices})),
    }


def _group_scenarios_for_table(evidence: Evidence) -> list[dict[str, Any]]:
    """Group scenarios into the blocks of the table, one for each model and kind of start."""

    def get_model_and_start(summary: ScenarioSummary) -> tuple[str, str]:
        return summary.scenario.configuration.model, summary.scenario.start

    found = []
    for (model, start), members in groupby(evidence.summaries, get_model_and_start):
        group = tuple(members)
        labels = tuple(label_scenarios([s.scenario for s in group], among=evidence.configurations))
        title = f"{model}, {start or 'start unknown'}"
        found.append({"title": title, "summaries": group, "labels": labels})
    return found


def _make_comparison_rows(
    ratios: Sequence[ScenarioRatio], evidence: Evidence
) -> list[dict[str, Any]]:
    """Return a row for each pair of configurations, with the ratios of all their times."""

    def get_dimension_and_trials(ratio: ScenarioRatio) -> tuple[str, str, str]:
        return ratio.dimension, ratio.before.trial, ratio.after.trial

    rows = []
    for _, members in groupby(ratios, get_dimension_and_trials):
        quantities = {_QUANTITIES[ratio.quantity]: ratio for ratio in members}
        first = next(iter(quantities.values()))
        before, after, by_start = first.before, first.after, first.dimension == "start"
        labels = [
            label_configuration(scenario.configuration, among=evidence.configurations)
            for scenario in (before, after)
        ]
        rows.append(
            {
                "title": before.configuration.model,
                "start": "" if by_start else before.start,
                "before": before.start if by_start else labels[0],
                "after": labels[1],
                "ratios": {name: ratio.means for name, ratio in quantities.items()},
            }
        )
    return rows


def _list_facts_about_runs(
    environment: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, list[str]]]:
    """Return each recorded fact about the runs, such as the machine, with its different values."""
    known: dict[str, dict[str, None]] = {}
    for facts in environment.values():
        for name, value in facts.items():
            known.setdefault(name.replace("_", " "), {})[_format_fact_as_text(value)] = None
    return [(name, list(values)) for name, values in known.items()]


def _format_fact_as_text(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {_format_fact_as_text(one)}" for name, one in value.items())
        case list():
            return " ".join(_format_fact_as_text(one) for one in value)
        case None:
            return "none"
        case _:
            return str(value)

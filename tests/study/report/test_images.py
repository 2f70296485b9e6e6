"""What is said of images on the same endpoint: order, ratios, labels, figure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios, label_scenarios
from drdeploy.study.report.evidence import compute_evidence
from drdeploy.study.report.image_figure import draw_cold_starts_by_image
from drdeploy.study.report.report import write_report_page_and_files

TIMES = {
    "two-step": ("drdeploy:two-step", "classic", 8.0),
    "minimal": ("1.dkr.ecr.us-east-1.amazonaws.com/drdeploy:minimal", "lean", 1.0),
    "baseline": ("drdeploy:baseline", "classic", 16.0),
    "flowers:3": ("registry.example/flowers:3", "lean", 4.0),
}
LADDER = ["baseline", "two-step", "minimal", "flowers:3"]


@pytest.fixture
def rows(quick_rows):
    cold = [
        row
        for row in quick_rows
        if row.trial == "mobilenet-fp32-lean-1024mb-cold" and row.outcome == "ok"
    ]
    return [
        replace(
            row,
            trial=f"mobilenet-{name}-cold",
            image=image,
            profile=profile,
            total_latency_s=row.total_latency_s * factor,
        )
        for name, (image, profile, factor) in TIMES.items()
        for row in cold
    ]


@pytest.fixture
def evidence(results_of, rows):
    return compute_evidence(load_results_folder(results_of(rows)), PriceSheet.load())


def test_images_are_ordered_as_on_the_ladder_and_have_short_names(results_of, rows):
    scenarios = group_rows_into_scenarios(load_results_folder(results_of(rows)))
    assert [s.configuration.image for s in scenarios] == LADDER
    labels = label_scenarios(scenarios, among=[s.configuration for s in scenarios])
    assert labels == [f"1024 MB, {image}" for image in LADDER]


def test_each_rung_is_set_against_the_one_before_and_the_first(evidence):
    steps = {
        (r.before.configuration.image, r.after.configuration.image): r.means
        for r in evidence.images
        if r.quantity == "total_latency_s"
    }
    assert list(steps) == [
        *(("baseline", "two-step"), ("two-step", "minimal"), ("minimal", "flowers:3")),
        *(("baseline", "minimal"), ("baseline", "flowers:3")),
    ]
    assert steps["baseline", "minimal"].value == pytest.approx(16)
    assert steps["baseline", "two-step"].interval_excludes(1.0)
    assert all(ratio.has_interval for ratio in steps.values())


def test_a_row_without_an_image_is_named_by_its_profile(results_of, rows):
    (scenario, *_) = group_rows_into_scenarios(
        load_results_folder(results_of([replace(row, image="") for row in rows[:10]]))
    )
    assert scenario.configuration.image == scenario.configuration.profile == "classic"


def test_the_page_has_the_table_and_the_figure_of_the_ladder(evidence, tmp_path):
    (drawing,) = draw_cold_starts_by_image(evidence.summaries)
    assert drawing.name == "images-mobilenet-fp32-1024-mb"
    assert "times as fast" in drawing.svg
    page = tmp_path / "report.html"
    write_report_page_and_files(evidence, page, written_at=datetime(2025, 3, 3, tzinfo=UTC))
    text = page.read_text()
    assert "What a smaller image buys" in text
    assert "No image was started" in text  # the fixture's rows are of processes
    assert drawing.title in text
    assert (page.parent / "figures" / f"{drawing.name}.svg").is_file()


def test_one_image_is_no_ladder(quick):
    evidence = compute_evidence(quick, PriceSheet.load())
    assert evidence.images == ()
    assert draw_cold_starts_by_image(evidence.summaries) == ()


def test_the_cold_rows_of_an_open_loop_are_not_in_the_figure(evidence, results_of, rows):
    (drawing,) = draw_cold_starts_by_image(evidence.summaries)
    waited = [
        replace(
            row,
            trial=f"{row.trial}-open",
            scenario="open-loop",
            total_latency_s=9 * row.total_latency_s,
        )
        for row in rows
    ]
    both = compute_evidence(load_results_folder(results_of([*rows, *waited])), PriceSheet.load())
    assert draw_cold_starts_by_image(both.summaries)[0].svg == drawing.svg

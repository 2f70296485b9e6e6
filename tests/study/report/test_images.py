"""What is said of images on the same endpoint: order, ratios, labels, figure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.labels import labels_of
from drdeploy.study.measurements.load import load
from drdeploy.study.measurements.scenarios import scenarios_of
from drdeploy.study.report.evidence import gather
from drdeploy.study.report.image_figure import drawings_of_images
from drdeploy.study.report.report import write_report

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
    return gather(load(results_of(rows)), PriceSheet.load())


def test_images_are_ordered_as_on_the_ladder_and_have_short_names(results_of, rows):
    scenarios = scenarios_of(load(results_of(rows)))
    assert [s.configuration.image for s in scenarios] == LADDER
    labels = labels_of(scenarios, among=[s.configuration for s in scenarios])
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
    assert steps["baseline", "two-step"].excludes(1.0)
    assert all(ratio.has_interval for ratio in steps.values())


def test_a_row_without_an_image_is_named_by_its_profile(results_of, rows):
    (scenario, *_) = scenarios_of(load(results_of([replace(row, image="") for row in rows[:10]])))
    assert scenario.configuration.image == scenario.configuration.profile == "classic"


def test_the_page_has_the_table_and_the_figure_of_the_ladder(evidence, tmp_path):
    (drawing,) = drawings_of_images(evidence.summaries)
    assert drawing.name == "images-mobilenet-fp32-1024-mb"
    assert "times as fast" in drawing.svg
    page = tmp_path / "report.html"
    written = write_report(evidence, page, written_at=datetime(2025, 3, 3, tzinfo=UTC))
    text = page.read_text()
    assert "What a smaller image buys" in text
    assert "no image was started" in text  # the fixture's rows are of processes
    assert drawing.title in text
    assert page.parent / "figures" / f"{drawing.name}.svg" in written.figures


def test_one_image_is_no_ladder(quick):
    evidence = gather(quick, PriceSheet.load())
    assert evidence.images == ()
    assert drawings_of_images(evidence.summaries) == ()

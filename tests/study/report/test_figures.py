"""Figures are the same bytes every time, well-formed, and fit into one page."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.report.figures import draw_all_panels
from drdeploy.study.report.panels import group_scenarios_into_panels
from drdeploy.study.report.summaries import summarise_scenario


@pytest.fixture(scope="module")
def summaries(quick):
    return [
        summarise_scenario(scenario, PriceSheet.load())
        for scenario in group_rows_into_scenarios(quick)
    ]


@pytest.fixture(scope="module")
def drawings(summaries):
    return draw_all_panels(summaries)


def test_each_model_and_start_has_its_latency_its_parts_and_its_cost(drawings):
    names = {drawing.name for drawing in drawings}
    expected = {
        f"{figure}-by-memory-{model}-{start}"
        for figure in ("total-latency", "prediction-time", "breakdown", "cost")
        for model in ("mobilenet", "vgg19")
        for start in ("warm", "cold")
    }
    setup = {f"modelsetuptime-by-memory-{model}-cold" for model in ("mobilenet", "vgg19")}
    assert names == expected | setup


def test_instances_and_images_have_panels_of_their_own(quick_rows, results_of):
    first = quick_rows[1:5]
    rows = [
        *first,
        *(replace(row, memory_mb=2048, trial="other-size") for row in first),
        *(replace(row, image="drdeploy:small", trial="other-image") for row in first),
        *(
            replace(row, endpoint_kind="realtime", memory_mb=None, instance_type=name, trial=name)
            for row in first
            for name in ("ml.m5.xlarge", "ml.m4.xlarge")
        ),
    ]
    summaries = [
        summarise_scenario(s, PriceSheet.load())
        for s in group_rows_into_scenarios(load_results_folder(results_of(rows)))
    ]
    panels = {panel.by: panel.labels for panel in group_scenarios_into_panels(summaries)}
    assert panels["memory"] == ("1024 MB", "2048 MB")
    assert panels["instance"] == ("ml.m5\nxlarge", "ml.m4\nxlarge")  # as measured
    assert panels["image"] == ("1024 MB\nlean", "1024 MB\nsmall")


def test_the_same_rows_give_the_same_bytes(summaries, drawings):
    assert [drawing.svg for drawing in draw_all_panels(summaries)] == [d.svg for d in drawings]


def test_every_figure_is_well_formed_and_scales(drawings):
    for drawing in drawings:
        root = ET.fromstring(drawing.svg)
        assert "viewBox" in root.attrib
        assert "width" not in root.attrib


def test_no_id_is_used_by_two_figures(drawings):
    ids = [i for drawing in drawings for i in set(re.findall(r' id="([^"]+)"', drawing.svg))]
    assert len(ids) == len(set(ids))


def test_axes_name_their_unit(drawings):
    for drawing in drawings:
        assert re.search(r"(latency|time|Time) \((ms|s)\)|USD per million", drawing.svg)


def test_text_stays_text(drawings):
    assert all("<text" in drawing.svg for drawing in drawings)


def test_a_scenario_without_rows_or_prices_draws_nothing(quick_rows, results_of):
    failed = [replace(row, outcome="timeout") for row in quick_rows[1:5]]
    scenarios = group_rows_into_scenarios(load_results_folder(results_of(failed)))
    assert draw_all_panels([summarise_scenario(s, PriceSheet.load()) for s in scenarios]) == ()


def test_one_row_can_be_drawn(quick_rows, results_of):
    scenarios = group_rows_into_scenarios(load_results_folder(results_of([quick_rows[1]])))
    assert len(draw_all_panels([summarise_scenario(s, PriceSheet.load()) for s in scenarios])) == 4


def names_of_panels(rows, results_of):
    scenarios = group_rows_into_scenarios(load_results_folder(results_of(rows)))
    summaries = [summarise_scenario(s, PriceSheet.load()) for s in scenarios]
    return sorted(panel.name for panel in group_scenarios_into_panels(summaries))


def test_the_images_of_each_memory_size_have_a_panel_of_their_own(quick_rows, results_of):
    rows = [
        replace(row, memory_mb=memory_mb, image=f"drdeploy:{image}", trial=f"{memory_mb}-{image}")
        for row in quick_rows[1:5]
        for memory_mb in (1024, 2048)
        for image in ("lean", "small")
    ]
    assert names_of_panels(rows, results_of) == [
        "by-image-mobilenet-warm-1024 MB",
        "by-image-mobilenet-warm-2048 MB",
        "by-memory-mobilenet-warm",
    ]


def test_each_kind_of_endpoint_has_one_panel(quick_rows, results_of):
    kinds = (("realtime", "classic"), ("asynchronous", "lean"), ("realtime", "lean"))
    rows = [
        replace(
            *(row,),
            trial=f"{kind}-{profile}",
            endpoint_kind=kind,
            profile=profile,
            scenario="asynchronous" if kind == "asynchronous" else "real-time",
            memory_mb=None,
            instance_type="ml.m5.large",
        )
        for row in quick_rows[1:5]
        for kind, profile in kinds
    ]
    assert names_of_panels(rows, results_of) == [
        "by-instance-asynchronous-mobilenet-warm",
        "by-instance-mobilenet-warm",
    ]

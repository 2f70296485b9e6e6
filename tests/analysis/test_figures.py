"""Figures are the same bytes every time, well-formed, and fit into one page."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from drdeploy.analysis.figures import drawings_of
from drdeploy.analysis.measurements import load
from drdeploy.analysis.scenarios import scenarios_of
from drdeploy.analysis.summaries import summarise
from drdeploy.sagemaker.prices import PriceSheet


@pytest.fixture(scope="module")
def summaries(quick):
    return [summarise(scenario, PriceSheet.load()) for scenario in scenarios_of(quick)]


@pytest.fixture(scope="module")
def drawings(summaries):
    return drawings_of(summaries)


def test_each_model_and_start_has_its_latency_its_parts_and_its_cost(drawings):
    names = {drawing.name for drawing in drawings}
    assert names == {
        f"{figure}-{model}-{start}"
        for figure in ("latency", "breakdown", "cost")
        for model in ("mobilenet", "vgg19")
        for start in ("warm", "cold")
    }


def test_the_same_rows_give_the_same_bytes(summaries, drawings):
    assert [drawing.svg for drawing in drawings_of(summaries)] == [d.svg for d in drawings]


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
        assert re.search(r"latency \((ms|s)\)|USD per million", drawing.svg)


def test_text_stays_text(drawings):
    assert all("<text" in drawing.svg for drawing in drawings)


def test_a_scenario_without_rows_or_prices_draws_nothing(quick_rows, results_of):
    failed = [replace(row, outcome="timeout") for row in quick_rows[1:5]]
    scenarios = scenarios_of(load(results_of(failed)))
    assert drawings_of([summarise(s, PriceSheet.load()) for s in scenarios]) == ()


def test_one_row_can_be_drawn(quick_rows, results_of):
    scenarios = scenarios_of(load(results_of([quick_rows[1]])))
    assert len(drawings_of([summarise(s, PriceSheet.load()) for s in scenarios])) == 3

"""The picture of a decision: every option that can be drawn, with its limits."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.confidence import (
    compute_interval_of_middle_95_percent,
    compute_mixture_percentile,
)
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.picture import make_decision_opening
from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic import Traffic

TITLE = "{http://www.w3.org/2000/svg}title"


@pytest.fixture(scope="module")
def decision(both_kinds):
    arrivals = Traffic(requests_per_month=2_000).arrivals(1, weeks=4)
    required = Requirements(p95_s=0.5, budget_usd=100)
    return choose_cheapest_hosting(
        load_results_folder(both_kinds),
        PriceSheet.load(),
        DecisionInputs(traffic=arrivals, required=required),
    )


@pytest.fixture(scope="module")
def opening(decision):
    return make_decision_opening(decision)


def names_in(opening, layout="wide"):
    root = ET.fromstring(opening.pictures[layout].svg)
    return {title.text.partition(":")[0] for title in root.iter(TITLE)}


def can_be_drawn(option):
    return option.usd_per_month is not None and option.p95_s is not None


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_every_option_with_a_known_cost_and_a_p95_is_drawn(decision, opening, layout):
    drawn = {one.name for one in decision.options if can_be_drawn(one)}
    assert names_in(opening, layout) == drawn
    assert len(drawn) < len(decision.options)


def test_options_that_cannot_be_drawn_are_counted_in_the_caption(decision, opening):
    missing = sum(not can_be_drawn(one) for one in decision.options)
    assert f"{missing} options with an unknown cost or an infinite p95" in opening.caption


def test_the_chosen_option_is_named_in_heading_label_and_description(decision, opening):
    assert opening.heading == f"Host {decision.winner.name}"
    for picture in opening.pictures.values():
        assert "chosen: mobilenet" in picture.svg
        assert f"Chosen is {decision.winner.name}" in picture.description


def test_requirements_are_drawn_only_where_there_are_any(decision, opening):
    assert "required: p95 within 0.5 s" in opening.pictures["wide"].svg
    assert "budget: 100 USD a month" in opening.pictures["wide"].svg
    free = make_decision_opening(replace(decision, required=Requirements()))
    assert "required" not in free.pictures["wide"].svg
    assert "budget" not in free.pictures["wide"].svg


def test_the_caption_says_how_many_rows_are_behind_the_limits(opening):
    assert "at least 12 warm rows and 10 cold rows" in opening.caption
    assert "With fewer than 59 rows, the bar of a p95 is too short" in opening.caption


def test_without_a_winner_the_heading_says_so(decision):
    excluded = (replace(decision.winner, failures=("it fails",)), *decision.runners_up)
    nobody = replace(decision, winner=None, runners_up=(), excluded=excluded)
    opening = make_decision_opening(nobody)
    assert opening.heading == "No option meets every requirement"
    assert "chosen" not in opening.pictures["wide"].svg.lower()


def test_where_nothing_has_a_cost_there_is_no_picture(decision):
    unpriced = tuple(replace(one, usd_per_month=None) for one in decision.options)
    assert (
        make_decision_opening(
            replace(decision, winner=None, runners_up=(), excluded=unpriced, research=())
        )
        is None
    )


def test_limits_hold_the_value_of_the_rows_as_measured(decision):
    for option in decision.options:
        if option.usd_per_month_limits:
            low, high = option.usd_per_month_limits
            assert low <= option.usd_per_month * 1.001
            assert high >= option.usd_per_month * 0.999
        if option.p95_s is None:
            assert option.p95_s_limits is None
            continue
        low, high = option.p95_s_limits
        assert low <= option.p95_s * 1.05
        assert high >= option.p95_s * 0.95


def test_an_instance_is_paid_by_the_hour_whatever_its_rows(decision):
    for option in decision.options:
        if option.kind == "real-time":
            assert option.usd_per_month_limits == pytest.approx((option.usd_per_month,) * 2)
        elif option.kind == "serverless" and option.usd_per_month_limits:
            low, high = option.usd_per_month_limits
            assert low < high


def test_a_limit_without_an_end_is_none():
    assert compute_interval_of_middle_95_percent(np.array([1.0, np.inf])) is None
    assert compute_interval_of_middle_95_percent(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


@pytest.mark.parametrize(("rows", "at_least", "at_most"), [(25, 0.55, 0.85), (100, 0.82, 0.97)])
def test_the_bar_of_a_p95_covers_too_seldom_with_few_rows_and_well_with_many(
    rows, at_least, at_most
):
    """The reason for the caption's warning: log-normal latencies whose p95 is known."""
    rng = np.random.default_rng(1)
    truth, covered = float(np.exp(0.4 * 1.6448536)), 0
    for _ in range(200):
        sample = rng.lognormal(0, 0.4, rows)
        drawn = sample[rng.integers(0, rows, (200, rows))]
        none = np.array([1.0])
        low, high = compute_interval_of_middle_95_percent(
            np.array([compute_mixture_percentile((one, 1.0), (none, 0.0), 0.95) for one in drawn])
        )
        covered += low <= truth <= high
    assert at_least <= covered / 200 <= at_most

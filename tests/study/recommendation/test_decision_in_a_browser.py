"""The page decides anew in the browser, and as the command decides for the same numbers."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from browser import look_at

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.decision_grid import (
    MOST_REQUESTS,
    list_grid_traffic,
    simulate_decision_grid,
)
from drdeploy.study.recommendation.page import render_decision_page
from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic import SHAPES, Traffic

PHONE_PX = 390
VOLUME = 2000
INPUTS = DecisionInputs(
    traffic=Traffic(requests_per_month=VOLUME, shape=SHAPES["clinic"]),
    required=Requirements(p95_s=2.0),
)

DECIDE = """
const form = page.getElementById('explore-form');
const type = (name, value) => {
  const field = page.getElementById('explore-' + name);
  field.value = value === null ? '' : value;
  field.dispatchEvent(new view.Event('input', {bubbles: true}));
};
const told = () => ({
  winner: form.dataset.winner,
  sentence: page.getElementById('explore-winner').textContent,
  rounded: page.getElementById('explore-rounded').textContent,
  wrong: [...form.querySelectorAll('[aria-invalid]')].map(one => one.id),
});
seen.first = told();
seen.points = POINTS.map(one => {
  for (const name of ['volume', 'p95', 'budget']) type(name, one[name]);
  return told();
});
const step = page.getElementById('explore-volume-step');
step.value = 0;
step.dispatchEvent(new view.Event('input', {bubbles: true}));
seen.lowest = page.getElementById('explore-volume').value;
seen.marks = page.querySelectorAll('#explore-picture title').length;
seen.fields = [...form.querySelectorAll('input')].map(one => ({
  focusable: one.tabIndex >= 0, high: one.getBoundingClientRect().height,
  named: one.labels.length > 0 || one.hasAttribute('aria-label')}));
"""


def draw_points(volumes):
    rng = random.Random(2023)
    yield {"volume": rng.choice(volumes), "p95": round(rng.uniform(0.02, 1.5), 3), "budget": None}
    yield {"volume": volumes[-1], "p95": None, "budget": 1.5}


@pytest.fixture(scope="module")
def decided(quick_results, browser, tmp_path_factory):
    """The measurements, the points, and what the page says of them."""
    measurements, sheet = load_results_folder(quick_results), PriceSheet.load()
    grid = simulate_decision_grid(measurements, sheet, INPUTS)
    decision = choose_cheapest_hosting(measurements, sheet, INPUTS)
    folder = tmp_path_factory.mktemp("page")
    page = folder / "decision.html"
    written_at = datetime(2026, 3, 4, tzinfo=UTC)
    page.write_text(render_decision_page(decision, written_at=written_at, grid=grid), "utf-8")
    points = [
        *draw_points(grid.volumes),
        {"volume": 2600, "p95": 2.0, "budget": None},
        {"volume": VOLUME, "p95": 1e-6, "budget": None},
        {"volume": VOLUME, "p95": 0, "budget": -1},
        {"volume": -5, "p95": None, "budget": None},
    ]
    script = f"const POINTS = {json.dumps(points)}; {DECIDE}"
    seen = look_at(browser, page, folder, PHONE_PX, script)
    return measurements, decision, points, seen, grid


def test_the_winner_is_the_command_s(decided):
    measurements, decision, points, seen, _ = decided
    assert seen["first"]["winner"] == decision.winner.name
    for point, told in zip(points[:2], seen["points"], strict=False):
        inputs = replace(
            INPUTS,
            traffic=replace(INPUTS.traffic, requests_per_month=point["volume"]),
            required=Requirements(p95_s=point["p95"], budget_usd=point["budget"]),
        )
        expected = choose_cheapest_hosting(measurements, PriceSheet.load(), inputs).winner
        assert told["winner"] == (expected.name if expected else ""), point
        assert told["rounded"].startswith("Simulated at")


def test_a_volume_between_two_of_the_grid_is_rounded_and_says_so(decided):
    *_, seen, _ = decided
    between, impossible = seen["points"][2:4]
    assert between["rounded"].startswith("2,600 is rounded to 2,000 requests a month")
    assert between["winner"] == seen["first"]["winner"]
    assert impossible["sentence"] == "No option meets these requirements."


def test_a_number_of_0_or_less_is_refused_in_its_field(decided):
    *_, seen, _ = decided
    for told, fields in zip(seen["points"][4:], (["p95", "budget"], ["volume"]), strict=True):
        assert told["wrong"] == [f"explore-{name}" for name in fields]
        assert told["sentence"] == (
            "Give numbers above 0. Without a p95 or a budget, there is no limit."
        )
        assert told["winner"] == ""
    assert seen["points"][3]["wrong"] == []


def test_it_is_used_by_keyboard_and_on_a_phone_without_a_network(decided):
    _, decision, _, seen, _ = decided
    assert seen["lowest"] == "200"
    assert seen["marks"] >= len([one for one in decision.options if one.usd_per_month])
    assert all(one["focusable"] and one["named"] and one["high"] >= 40 for one in seen["fields"])
    assert seen["scroll_width"] <= PHONE_PX
    assert seen["outside"] == []
    assert seen["requests"] == []


def test_a_name_cannot_end_the_embedded_grid(decided):
    _, decision, _, _, grid = decided
    hostile = replace(grid.options[0][0], name="</script><script>alert(1)</script>")
    page = render_decision_page(
        decision,
        written_at=datetime(2026, 3, 4, tzinfo=UTC),
        grid=replace(grid, options=((hostile,),)),
    )
    assert "alert(1)</script>" not in page


def test_the_decision_s_own_volume_is_always_there():
    for own in (0.4, 9e6):
        volumes = [
            one.requests_per_month
            for one in list_grid_traffic(replace(INPUTS.traffic, requests_per_month=own))
        ]
        assert own in volumes
        assert all(one == own or 1 <= one <= max(own, MOST_REQUESTS) for one in volumes)


def test_a_trace_has_one_volume():
    arrivals = INPUTS.traffic.arrivals(1)
    assert list_grid_traffic(arrivals) == [arrivals]

"""One scenario in numbers, and ratios between scenarios."""

from dataclasses import replace

import numpy as np
import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.statistics.means import estimate_ratio_of_means
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.report.comparisons import compare_scenarios_along_dimension
from drdeploy.study.report.summaries import summarise_scenario

SHEET = PriceSheet.load()


@pytest.fixture(scope="module")
def scenarios(quick):
    return group_rows_into_scenarios(quick)


def test_every_trial_is_a_scenario(scenarios):
    assert len(scenarios) == 12
    assert {(s.start, s.counted_row_count) for s in scenarios} == {("warm", 12), ("cold", 10)}


def test_what_a_trial_left_out_is_counted_beside_it(scenarios):
    assert sum(sum(s.left_out.values()) for s in scenarios) == 8


def test_a_trial_with_failures_only_is_reported_without_a_number(quick_rows, results_of):
    failed = [
        replace(row, outcome="model_error", status=424)
        for row in quick_rows
        if row.trial == "vgg19-fp32-lean-1024mb-cold"
    ]
    (scenario,) = group_rows_into_scenarios(load_results_folder(results_of(failed)))
    summary = summarise_scenario(scenario, SHEET)
    assert (scenario.counted_row_count, scenario.start) == (0, "cold")
    assert scenario.left_out == {"model_error": 10}
    assert summary.total.mean.value is None
    assert summary.cost.inference.value is None


def test_cold_and_warm_rows_of_one_trial_are_never_mixed(quick_rows, results_of):
    arrivals = [
        replace(row, scenario="open-loop", trial="open", is_warmup=False, model_digest="")
        for row in quick_rows
        if row.model == "vgg19" and row.memory_mb == 1024 and row.outcome == "ok"
    ]
    found = group_rows_into_scenarios(load_results_folder(results_of(arrivals)))
    assert sorted(s.start for s in found) == ["cold", "warm"]
    assert all(set(s.rows["start"]) == {s.start} for s in found)


def test_the_parts_of_the_latency_sum_to_the_total(scenarios):
    for scenario in scenarios:
        summary = summarise_scenario(scenario, SHEET)
        parts = summary.breakdown
        whole = sum(getattr(parts, name) for name in vars(parts))
        assert whole == pytest.approx(summary.total.mean.value)


def test_cost_per_million_is_a_million_times_the_cost_of_one(scenarios):
    cost = summarise_scenario(scenarios[0], SHEET).cost
    assert cost.per_million_usd.value == pytest.approx(cost.inference.value * 1e6)
    assert cost.per_million_usd.low == pytest.approx(cost.inference.low * 1e6)
    assert cost.inference_container.value < cost.inference.value


def test_an_unknown_price_is_stated_and_the_rest_holds(quick_rows, results_of):
    rows = [replace(row, memory_mb=7168) for row in quick_rows if row.memory_mb == 1024]
    summary = summarise_scenario(
        group_rows_into_scenarios(load_results_folder(results_of(rows)))[0], SHEET
    )
    assert summary.cost is None
    assert "No price is known for serverless 7168 MB" in summary.no_cost
    assert summary.total.mean.value > 0


def test_memory_steps_are_compared_in_order_and_from_end_to_end(scenarios):
    steps = [
        (ratio.before.configuration.memory_mb, ratio.after.configuration.memory_mb)
        for ratio in compare_scenarios_along_dimension(scenarios, "memory_mb")
        if ratio.before.configuration.model == "vgg19" and ratio.before.start == "warm"
    ]
    assert steps == [(1024, 2048), (2048, 3072), (1024, 3072)]


def test_twice_the_cpu_is_found_to_be_about_twice_as_fast(scenarios):
    ratio = next(
        ratio
        for ratio in compare_scenarios_along_dimension(scenarios, "memory_mb", ("prediction_s",))
        if ratio.before.configuration.model == "vgg19" and ratio.before.start == "warm"
    )
    assert ratio.means.interval_excludes(1.0)
    assert ratio.means.low <= 2.0 <= ratio.means.high * 1.05


def test_a_cold_start_is_set_against_the_warm_scenario_of_its_configuration(scenarios):
    ratios = compare_scenarios_along_dimension(scenarios, "start")
    assert len(ratios) == 6
    for ratio in ratios:
        assert ratio.before.start == "cold"
        assert ratio.after.start == "warm"
        assert ratio.before.configuration == ratio.after.configuration
        assert ratio.means.value > 1


def test_scenarios_that_differ_in_two_things_are_not_compared(quick_rows, results_of):
    other = [
        replace(row, profile="classic", memory_mb=2048, trial="classic")
        for row in quick_rows
        if row.trial == "vgg19-fp32-lean-1024mb-warm"
    ]
    lean = [row for row in quick_rows if row.trial == "vgg19-fp32-lean-1024mb-warm"]
    scenarios = group_rows_into_scenarios(load_results_folder(results_of([*lean, *other])))
    assert compare_scenarios_along_dimension(scenarios, "memory_mb") == ()
    assert compare_scenarios_along_dimension(scenarios, "image") == ()


def test_set_up_time_is_compared_for_cold_starts_alone(scenarios):
    ratios = compare_scenarios_along_dimension(scenarios, "memory_mb", ("model_setup_s",))
    assert {ratio.before.start for ratio in ratios} == {"cold"}


def test_rows_of_the_same_photographs_are_paired_and_the_ratio_is_that_of_all_rows(
    quick_rows, results_of
):
    rng = np.random.default_rng(2)
    costs = dict(zip("abcdefghijkl", rng.lognormal(0, 0.6, 12), strict=True))
    first = [row for row in quick_rows if row.trial == "vgg19-fp32-lean-1024mb-warm"][1:13]
    orders = {1024: "abcdefghijkl", 2048: "lkjihgfedcba"}
    rows = [
        replace(
            row,
            photograph=f"{name}.jpg",
            memory_mb=memory_mb,
            outcome="ok",
            sequence=sequence,
            trial=str(memory_mb),
            total_latency_s=float(costs[name]) * 1024 / memory_mb * float(rng.lognormal(0, 0.02)),
        )
        for memory_mb, order in orders.items()
        for sequence, (row, name) in enumerate(zip(first, order, strict=True), start=1)
    ]
    (paired,) = compare_scenarios_along_dimension(
        group_rows_into_scenarios(load_results_folder(results_of(rows))), "memory_mb"
    )
    top, bottom = (
        paired.before.known_values_of_column("total_latency_s"),
        paired.after.known_values_of_column("total_latency_s"),
    )
    apart = estimate_ratio_of_means(top, bottom)
    assert paired.is_paired
    assert paired.means.value == pytest.approx(apart.value)
    assert (paired.means.high - paired.means.low) < 0.2 * (apart.high - apart.low)
    other = [replace(row, photograph="other.jpg") if row is rows[0] else row for row in rows]
    (unlike,) = compare_scenarios_along_dimension(
        group_rows_into_scenarios(load_results_folder(results_of(other))), "memory_mb"
    )
    assert not unlike.is_paired


def test_images_are_compared_in_the_order_of_the_ladder(quick_rows, results_of):
    first = [row for row in quick_rows if row.trial == "vgg19-fp32-lean-1024mb-cold"]
    rows = [
        replace(row, image=f"drdeploy:{image}", trial=f"cold-{image}")
        for image in ("baseline", "two-step", "reduced")
        for row in first
    ]
    scenarios = group_rows_into_scenarios(load_results_folder(results_of(rows)))
    trials = [
        (r.before.trial, r.after.trial)
        for r in compare_scenarios_along_dimension(scenarios, "image")
    ]
    assert trials == [
        ("cold-baseline", "cold-two-step"),
        ("cold-two-step", "cold-reduced"),
        ("cold-baseline", "cold-reduced"),
    ]
    assert compare_scenarios_along_dimension(scenarios, "memory_mb") == ()


def test_two_trials_of_one_configuration_are_not_compared(quick_rows, results_of):
    warm = [row for row in quick_rows if row.trial == "vgg19-fp32-lean-1024mb-warm"]
    rows = [*warm, *(replace(row, trial="again", sequence=row.sequence + 50) for row in warm)]
    scenarios = group_rows_into_scenarios(load_results_folder(results_of(rows)))
    assert len(scenarios) == 2
    for dimension in ("memory_mb", "instance_type", "image", "precision", "start"):
        assert compare_scenarios_along_dimension(scenarios, dimension) == ()


def test_a_set_up_time_that_is_not_known_does_not_count_as_zero(quick_rows, results_of):
    cold = [row for row in quick_rows if row.trial == "vgg19-fp32-lean-1024mb-cold"]
    known = [row.model_setup_s for row in cold[::2]]
    rows = [replace(row, model_setup_s=None) if at % 2 else row for at, row in enumerate(cold)]
    (scenario,) = group_rows_into_scenarios(load_results_folder(results_of(rows)))
    parts = summarise_scenario(scenario, SHEET).breakdown
    assert parts.setup_s == pytest.approx(np.mean(known))
    assert parts.outside_s < 0.01

"""The cheapest option that meets every requirement, and what the others fail on."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import AnalysisError, InvalidInput, UnknownPrice
from drdeploy.hosting.sagemaker import PriceSheet, endpoint_config
from drdeploy.study.measurements.load import load
from drdeploy.study.recommendation.break_even import BreakEven, CostCurve, break_evens
from drdeploy.study.recommendation.confidence import mixture_percentile
from drdeploy.study.recommendation.configurations import measured_configurations
from drdeploy.study.recommendation.decide import decide
from drdeploy.study.recommendation.decision import as_json
from drdeploy.study.recommendation.page import page
from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic.arrivals import Traffic

TRAFFIC = Traffic(requests_per_month=2_000)
PROVISIONED = """
[[provisioned_second]]
region = "us-east-1"
date = "2025-01"
source = "made up for a test"
held_usd_by_memory_mb = { 1024 = 0.000005, 2048 = 0.00001, 3072 = 0.000015 }
duration_usd_by_memory_mb = { 1024 = 0.00001, 2048 = 0.00002, 3072 = 0.00003 }
"""


POINT = {
    "name": "high_sensitivity",
    "at_or_above": 2,
    "threshold": 0.3,
    "sensitivity": {"value": 0.95, "low": 0.92, "high": 0.97, "n": 300},
    "specificity": {"value": 0.80, "low": 0.76, "high": 0.84, "n": 400},
}


def inputs_of(requests=TRAFFIC, **required):
    return DecisionInputs(traffic=requests.arrivals(1, weeks=4), required=Requirements(**required))


def with_clinical_figures(measurements, model):
    trials = {
        trial: {"operating_points": [POINT]}
        for trial in measurements.frame["trial"].unique()
        if trial.startswith(model)
    }
    facts = {**measurements.environment["run-1"], "trials": trials}
    return replace(measurements, environment={"run-1": facts})


@pytest.fixture(scope="module")
def measured(both_kinds):
    return with_clinical_figures(load(both_kinds), "vgg19")


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    path = tmp_path_factory.mktemp("prices") / "prices.toml"
    path.write_text(PROVISIONED)
    return PriceSheet((*PriceSheet.load().prices, *PriceSheet.load(path).prices))


@pytest.fixture(scope="module")
def fast_enough(measured, sheet):
    return decide(measured, sheet, inputs_of(p95_s=0.5))


def everyone(decision):
    return [one for one in (decision.winner, *decision.runners_up) if one]


def test_the_winner_is_the_cheapest_of_those_that_meet_everything(fast_enough):
    meeting = everyone(fast_enough)
    costs = [one.usd_per_month for one in meeting]
    assert costs == sorted(costs)
    assert all(one.p95_s <= 0.5 for one in meeting)
    assert not any(one.failures for one in meeting)
    assert all(one.failures for one in fast_enough.excluded)


def test_every_option_is_accounted_for_once(fast_enough):
    names = [one.name for one in (*everyone(fast_enough), *fast_enough.excluded)]
    assert len(names) == len(set(names))
    kinds = {one.kind for one in (*everyone(fast_enough), *fast_enough.excluded)}
    assert {"serverless", "serverless, provisioned", "serverless, keep-warm"} <= kinds
    assert "real-time" in kinds


def test_cold_starts_exclude_what_is_too_slow_with_them(fast_enough):
    bare = [one for one in fast_enough.excluded if one.kind == "serverless"]
    assert bare
    assert all("cold starts" in one.failures[0] for one in bare)


def test_a_bill_is_the_sum_of_its_lines(fast_enough):
    for one in (*everyone(fast_enough), *fast_enough.excluded):
        assert one.usd_per_month == pytest.approx(sum(line.usd for line in one.bill))
        assert one.usd_per_patient == pytest.approx(4 * one.usd_per_inference)


def test_the_settings_of_every_option_are_an_endpoint(fast_enough):
    for one in (*everyone(fast_enough), *fast_enough.excluded):
        endpoint = dict(one.settings["endpoint"])
        endpoint.pop("provisioned_scaling", None)  # Terraform's alone
        assert endpoint_config.validate_python(endpoint)


def test_the_confidence_is_a_share_and_all_shares_sum_to_one(fast_enough):
    confidence = fast_enough.confidence
    total = confidence.share + sum(share for _, share in confidence.others)
    assert total == pytest.approx(1.0)
    assert 0 < confidence.share <= 1


def test_the_same_seed_gives_the_same_decision(measured, sheet, fast_enough):
    assert as_json(decide(measured, sheet, inputs_of(p95_s=0.5))) == as_json(fast_enough)


def test_break_evens_are_found_between_all_kinds(fast_enough):
    pairs = {frozenset({one.below, one.above}) for one in fast_enough.break_even}
    assert len(pairs) == 3
    assert all(len(pair) == 2 for pair in pairs)


def test_a_sensitivity_needs_clinical_figures(measured, sheet):
    decision = decide(measured, sheet, inputs_of(p95_s=5.0, min_sensitivity=0.9))
    assert decision.winner.model == "vgg19"
    assert as_json(decision)["winner"]["sensitivity"] == {
        "name": "high_sensitivity",
        "at_grade": 2,
        "sensitivity": 0.95,
        "low": 0.92,
        "n": 300,
    }
    without = [one for one in decision.excluded if one.model == "mobilenet"]
    assert without
    assert all(any("no clinical figures" in f for f in one.failures) for one in without)


def test_an_operating_point_that_lacks_a_field_is_an_error_with_its_place(measured):
    facts = {"run-1": {"trials": {"vgg19": {"operating_points": [{"name": "balanced"}]}}}}
    with pytest.raises(AnalysisError, match=r"environment\.json: .* trial vgg19"):
        measured_configurations(replace(measured, environment=facts))


def test_the_lower_limit_of_a_sensitivity_counts(measured):
    from drdeploy.study.recommendation.checks import sensitivity_failure

    vgg19 = next(
        one for one in measured_configurations(measured) if one.configuration.model == "vgg19"
    )
    assert not sensitivity_failure(vgg19, Requirements(min_sensitivity=0.92))
    failure = sensitivity_failure(vgg19, Requirements(min_sensitivity=0.93))
    assert "lower limit of 92.0%" in failure
    assert sensitivity_failure(vgg19, Requirements(min_sensitivity=0.5, at_grade=3))


def test_where_nothing_meets_everything_the_nearest_is_named(measured, sheet):
    decision = decide(measured, sheet, inputs_of(p95_s=0.001, budget_usd=0.01))
    assert decision.winner is None
    assert decision.prices == ()
    assert decision.answer[0].startswith("No option meets all")
    assert decision.excluded[0].name in decision.answer[1]


def test_an_option_without_a_known_price_is_excluded_and_a_note_says_so(measured):
    decision = decide(measured, PriceSheet.load(), inputs_of(p95_s=0.5))
    unpriced = [one for one in decision.excluded if one.usd_per_month is None]
    assert {one.policy for one in unpriced} == {"provisioned"}
    assert all("not known" in one.failures[0] for one in unpriced)
    assert any("provisioned concurrency" in note for note in decision.notes)


def test_a_sheet_that_prices_nothing_is_an_error(measured, sheet):
    elsewhere = replace(inputs_of(), assumptions=Assumptions(region="mars-1"))
    with pytest.raises(UnknownPrice, match="mars-1"):
        decide(measured, sheet, elsewhere)


def test_instances_alone_can_be_decided_on(measured, sheet):
    alone = replace(measured, frame=measured.frame[measured.frame["scenario"] == "real-time"])
    decision = decide(alone, sheet, inputs_of(p95_s=5.0))
    assert decision.winner.kind == "real-time"
    assert decision.mitigation is None


def test_a_trial_with_failures_only_is_reported_and_not_simulated(quick_rows, results_of, sheet):
    rows = [
        replace(row, outcome="model_error", status=424) if "1024mb" in row.trial else row
        for row in quick_rows
        if row.model == "mobilenet" and "3072mb" not in row.trial
    ]
    decision = decide(load(results_of(rows)), sheet, inputs_of(p95_s=0.5))
    assert [one.name for one in decision.unusable] == ["mobilenet fp32 lean, 1024 MB"]
    assert "every request failed" in decision.unusable[0].reason


def test_failures_alone_are_an_error(quick_rows, results_of, sheet):
    rows = [replace(row, outcome="model_error", status=424) for row in quick_rows[:20]]
    with pytest.raises(AnalysisError, match="No configuration can be decided on"):
        decide(load(results_of(rows)), sheet, inputs_of())


def test_warm_rows_alone_do_not_allow_a_decision(quick_rows, results_of, sheet):
    rows = [row for row in quick_rows if row.scenario == "warm"]
    with pytest.raises(AnalysisError, match="no cold start was measured") as refused:
        decide(load(results_of(rows)), sheet, inputs_of())
    assert str(refused.value).count("no cold start was measured") == 1
    assert "all 6 of them" in str(refused.value)


def test_rows_of_different_platforms_are_not_mixed(quick_rows, results_of, sheet):
    rows = [replace(row, platform="aws") if row.model == "vgg19" else row for row in quick_rows]
    with pytest.raises(AnalysisError, match="different conditions"):
        decide(load(results_of(rows)), sheet, inputs_of())


@pytest.mark.parametrize(
    "wrong", [{"p95_s": -1.0}, {"min_sensitivity": 2.0}, {"budget_usd": 0.0}, {"at_grade": 1}]
)
def test_impossible_requirements_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Requirements(**wrong)


@pytest.mark.parametrize("wrong", [{"idle_s": 0.0}, {"headroom": 1.0}, {"requests_at_once": 0}])
def test_impossible_assumptions_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Assumptions(**wrong)


def test_a_break_even_is_where_two_curves_cross():
    flat, rising = np.full(25, 100.0), np.logspace(-1, 5, 25)
    found = break_evens([
        CostCurve("per use", "serverless", rising),
        CostCurve("by the hour", "real-time", flat),
    ])  # fmt: skip
    (one,) = found
    assert (one.below, one.above) == ("per use", "by the hour")
    assert one.requests_per_month == pytest.approx(1e5, rel=0.02)
    never = CostCurve("cheap", "serverless", flat / 1000)
    again = break_evens([never, CostCurve("by the hour", "real-time", flat)])
    assert again == (BreakEven("cheap", "by the hour", None),)


def test_a_percentile_of_a_mixture_counts_what_is_refused_as_infinite():
    warm, cold = np.arange(1.0, 101.0), np.full(10, 1000.0)
    assert mixture_percentile((warm, 0.96), (cold, 0.04), 0.95) == 99.0
    assert mixture_percentile((warm, 0.94), (cold, 0.06), 0.95) == 1000.0
    assert mixture_percentile((warm, 0.9), (cold, 0.0), 0.95) == float("inf")


def test_the_page_shows_the_answer_first_and_the_notice(fast_enough):
    html = page(fast_enough, written_at=datetime(2025, 1, 1, tzinfo=UTC))
    body = html[html.index("<body") :]
    assert body.index('id="picture"') < body.index('id="decision"')
    assert body.index(fast_enough.winner.name) < body.index("Runners-up")
    assert fast_enough.notice in body
    references = re.findall(r'(?:src|href)="([^"]+)"', body) + re.findall(r"url\(([^)]+)\)", body)
    assert all(reference.startswith("#") for reference in references)
    assert "<script" not in body


def recommend(*arguments):
    return CliRunner().invoke(build_app(), ["recommend", *map(str, arguments)])


def test_the_command_prints_json_and_writes_what_terraform_takes(both_kinds, tmp_path):
    result = recommend(
        *(both_kinds, "--requests", 40_000, "--p95", 2, "--json"),
        *("--tfvars", tmp_path / "a.tfvars.json", "--page", tmp_path / "a.html"),
    )
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    settings = json.loads((tmp_path / "a.tfvars.json").read_text())
    assert settings == answer["winner"]["settings"]
    assert answer["winner"]["name"] in (tmp_path / "a.html").read_text()


def test_the_command_takes_a_trace(both_kinds, tmp_path):
    path = tmp_path / "trace.csv"
    lines = [f"2025-03-{day:02}T{hour:02}:{m:02}:00,3" for day in range(3, 17)
             for hour in range(9, 17) for m in (0, 20, 40)]  # fmt: skip
    path.write_text("minute,count\n" + "\n".join(lines) + "\n")
    result = recommend(both_kinds, "--trace", path, "--p95", 2)
    assert result.exit_code == 0, result.output
    assert "Host " in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Traffic is missing"),
        (("--requests", "5", "--trace", "x.csv"), "Traffic is given twice"),
        (("--requests", "5", "--shape", "x"), "'x'"),
    ],
)
def test_traffic_is_given_once_in_a_known_shape(both_kinds, arguments, reason):
    result = recommend(both_kinds, *arguments)
    assert isinstance(result.exception, InvalidInput)
    assert reason in str(result.exception)

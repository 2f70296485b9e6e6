"""The cheapest option that meets every requirement, and what the others fail on."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.cli.options import parse_budget_usd
from drdeploy.errors import AnalysisError, InvalidInput, UnknownPrice
from drdeploy.hosting.deployment.batch_variables_file import read_batch_config_from_file
from drdeploy.hosting.deployment.endpoint_variables_file import read_endpoint_variables_from_file
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.published_study.raw_rows import load_raw_rows_of_study
from drdeploy.study.recommendation.break_even import (
    BreakEven,
    CostCurve,
    find_break_even_of_each_pair,
)
from drdeploy.study.recommendation.confidence import compute_mixture_percentile
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.decision import convert_decision_to_json
from drdeploy.study.recommendation.page import render_decision_page
from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic import Traffic
from drdeploy.study.recommendation.wording import shorten_option_names

TRAFFIC = Traffic(requests_per_month=2_000)
PROVISIONED = """
[[provisioned_second]]
region = "us-east-1"
date = "2030-01"
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
    "cross_fitted": True,
}


def inputs_of(requests=TRAFFIC, **required):
    return DecisionInputs(traffic=requests.arrivals(1, weeks=4), required=Requirements(**required))


def with_clinical_figures(measurements, model, points=(POINT,)):
    trials = {
        trial: {"operating_points": list(points)}
        for trial in measurements.frame["trial"].unique()
        if trial.startswith(model)
    }
    facts = {**measurements.environment["run-1"], "trials": trials}
    return replace(measurements, environment={"run-1": facts})


@pytest.fixture(scope="module")
def measured(both_kinds):
    return with_clinical_figures(load_results_folder(both_kinds), "vgg19")


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    path = tmp_path_factory.mktemp("prices") / "prices.toml"
    path.write_text(PROVISIONED)
    return PriceSheet((*PriceSheet.load().prices, *PriceSheet.load(path).prices))


@pytest.fixture(scope="module")
def fast_enough(measured, sheet):
    return choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=0.5))


def everyone(decision):
    return [one for one in (decision.winner, *decision.runners_up) if one]


def test_the_winner_costs_about_as_much_as_the_cheapest_that_meets_everything(fast_enough):
    meeting = everyone(fast_enough)
    cheapest = min(one.usd_per_month for one in meeting)
    assert fast_enough.winner.usd_per_month <= max(cheapest * 1.05, cheapest + 1)
    costs = [one.usd_per_month for one in fast_enough.runners_up]
    assert costs == sorted(costs)
    assert all(one.p95_s <= 0.5 for one in meeting)
    assert not any(one.failures for one in meeting)
    assert all(one.failures for one in fast_enough.excluded)


def test_every_option_is_accounted_for_once(fast_enough):
    names = [one.name for one in fast_enough.options]
    assert len(names) == len(set(names))
    kinds = {one.kind for one in (*everyone(fast_enough), *fast_enough.excluded)}
    policies = {"serverless, keep-warm", "serverless, provisioned"}
    others = {"real-time, scheduled", "asynchronous", "batch"}
    assert kinds == {"serverless", *policies, "real-time", *others}
    assert {one.kind for one in fast_enough.research if not one.policy} == {"components"}


def test_what_cannot_be_deployed_is_research_and_never_the_answer():
    # The study's rows: five thousand photographs a month, and a cold start takes ten seconds.
    decision = choose_cheapest_hosting(
        load_raw_rows_of_study(),
        PriceSheet.load(),
        inputs_of(Traffic(requests_per_month=5_000), p95_s=0.5),
    )
    # A schedule of keep-warm requests can be deployed; what follows the traffic so far cannot.
    assert {one.policy for one in decision.research} == {"", "hybrid-histogram", "forecast"}
    assert decision.winner.policy == "keep-warm"
    assert decision.winner.usd_per_month < 1
    assert decision.winner.settings["endpoint"]["keep_warm"]["schedules"]
    assert decision.mitigation.best == "keep-warm"


def test_a_tie_is_named_with_what_decided_it(measured, sheet):
    decision = choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=5.0))
    assert decision.equivalent
    tie = decision.answer[1]
    assert f" with {decision.winner.name}: " in tie
    assert decision.equivalent[0] in tie
    assert "up to 5%, or of up to 1 USD a month, does not count" in tie
    assert "No tied option is simpler to run" in tie
    # Serverless without a policy: of the same cost, nothing is simpler, and none is faster.
    assert decision.winner.operated_parts == ()
    tied = [one for one in decision.runners_up if one.name in decision.equivalent]
    simple = [one.p95_s for one in tied if not one.operated_parts]
    assert decision.winner.p95_s <= min(simple) * 1.05


def test_without_a_tolerance_the_cheapest_wins(measured, sheet):
    strict = {"same_cost_share": 0.0, "same_cost_usd": 0.0}
    decision = choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=5.0, **strict))
    assert decision.winner.usd_per_month == min(one.usd_per_month for one in everyone(decision))
    assert decision.equivalent == ()


def test_json_has_the_present_names(fast_enough):
    document = convert_decision_to_json(fast_enough)
    assert {"mitigation", "mitigated", "research", "equivalent"} <= document.keys()
    assert document["winner"]["description"] == fast_enough.winner.description
    assert not {"told", "softening", "softened"} & (document.keys() | document["winner"].keys())


def test_cold_starts_exclude_what_is_too_slow_with_them(fast_enough):
    bare = [one for one in fast_enough.excluded if one.kind == "serverless"]
    assert bare
    assert all("cold starts" in one.failures[0] for one in bare)


def test_a_bill_is_the_sum_of_its_lines(fast_enough):
    for one in (*everyone(fast_enough), *fast_enough.excluded):
        if one.bill:
            assert one.usd_per_month == pytest.approx(sum(line.usd for line in one.bill))
            assert one.usd_per_patient == pytest.approx(4 * one.usd_per_inference)
        else:
            assert "the cost is not known" in str(one.failures)


def test_the_settings_of_every_option_are_an_endpoint_or_a_job(fast_enough, tmp_path):
    for one in (*everyone(fast_enough), *fast_enough.excluded):
        file = tmp_path / "best.tfvars.json"
        file.write_text(json.dumps(one.settings))
        if one.kind == "batch" and not one.settings:
            assert "cannot run on" in one.failures[0]
        elif one.kind == "batch":
            assert read_batch_config_from_file(file).instance_type == one.size
        else:
            assert read_endpoint_variables_from_file(file, "model").endpoint.config


def test_the_confidence_is_a_share_and_all_shares_sum_to_one(fast_enough):
    confidence = fast_enough.confidence
    total = confidence.share + sum(share for _, share in confidence.others)
    assert total == pytest.approx(1.0)
    assert 0 < confidence.share <= 1


def test_the_same_seed_gives_the_same_decision(measured, sheet, fast_enough):
    assert convert_decision_to_json(
        choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=0.5))
    ) == convert_decision_to_json(fast_enough)


def test_break_evens_are_found_between_all_kinds(fast_enough):
    pairs = {frozenset({one.below, one.above}) for one in fast_enough.break_even}
    assert len(pairs) == 3
    assert all(len(pair) == 2 for pair in pairs)


def test_a_sensitivity_needs_clinical_figures(measured, sheet):
    decision = choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=5.0, min_sensitivity=0.9))
    assert decision.winner.model == "vgg19"
    assert convert_decision_to_json(decision)["winner"]["sensitivity"] == {
        "name": "high_sensitivity",
        "at_grade": 2,
        "sensitivity": 0.95,
        "low": 0.92,
        "n": 300,
        "specificity": {"value": 0.80, "low": 0.76, "n": 400},
        "cross_fitted": True,
    }
    without = [one for one in decision.excluded if one.model == "mobilenet"]
    assert without
    assert all(any("sensitivity was not measured" in f for f in one.failures) for one in without)


NOT_CROSS_FITTED = {
    **POINT,
    "sensitivity": {"value": 0.99, "low": 0.97, "high": 1.0, "n": 300},
    "cross_fitted": False,
}


def find_vgg19(measurements):
    collected = collect_measured_configurations(measurements)
    return next(one for one in collected if one.configuration.model == "vgg19")


@pytest.mark.parametrize(
    "point",
    [
        NOT_CROSS_FITTED,
        # Older artifacts and results do not have the field.
        {name: value for name, value in NOT_CROSS_FITTED.items() if name != "cross_fitted"},
    ],
)
@pytest.mark.parametrize("rate", ["sensitivity", "specificity"])
def test_rates_from_the_photographs_of_the_threshold_meet_no_requirement(measured, point, rate):
    from drdeploy.study.recommendation.evaluated import (
        describe_missed_sensitivity,
        has_only_rates_that_do_not_count,
    )

    flattered = find_vgg19(with_clinical_figures(measured, "vgg19", [point]))
    required = Requirements(**{f"min_{rate}": 0.5})
    assert describe_missed_sensitivity(flattered, required) == (
        f"the {rate} was measured only on the photographs on which the threshold was chosen, "
        "which does not count, and 50.0% at grade >= 2 is required"
    )
    assert has_only_rates_that_do_not_count(flattered, required)
    assert not has_only_rates_that_do_not_count(flattered, Requirements())


def test_a_decision_says_how_to_get_rates_that_count(measured, sheet):
    flattered = with_clinical_figures(measured, "vgg19", [NOT_CROSS_FITTED])
    decision = choose_cheapest_hosting(flattered, sheet, inputs_of(p95_s=5.0, min_sensitivity=0.9))
    assert decision.winner is None
    assert decision.confidence.share is None
    (note,) = [one for one in decision.notes if "do not count" in one]
    assert "of vgg19 fp32 do not count" in note
    assert "`drdeploy model recalibrate ARTIFACT --data PHOTOGRAPHS`" in note


def test_a_cross_fitted_point_is_preferred_to_one_that_looks_better(measured):
    from drdeploy.study.recommendation.evaluated import (
        choose_best_operating_point,
        describe_missed_sensitivity,
    )

    points = [{**NOT_CROSS_FITTED, "name": "balanced"}, POINT]
    both = find_vgg19(with_clinical_figures(measured, "vgg19", points))
    required = Requirements(min_sensitivity=0.92)
    assert choose_best_operating_point(both, required).name == "high_sensitivity"
    assert not describe_missed_sensitivity(both, required)
    assert "begins at 92.0%" in describe_missed_sensitivity(
        both, Requirements(min_sensitivity=0.93)
    )


def test_an_operating_point_that_lacks_a_field_is_an_error_with_its_place(measured):
    facts = {"run-1": {"trials": {"vgg19": {"operating_points": [{"name": "balanced"}]}}}}
    with pytest.raises(AnalysisError, match=r"environment\.json: .* trial 'vgg19"):
        collect_measured_configurations(replace(measured, environment=facts))


def test_the_lower_limit_of_a_sensitivity_counts(measured):
    from drdeploy.study.recommendation.evaluated import describe_missed_sensitivity

    vgg19 = next(
        one
        for one in collect_measured_configurations(measured)
        if one.configuration.model == "vgg19"
    )
    assert not describe_missed_sensitivity(vgg19, Requirements(min_sensitivity=0.92))
    failure = describe_missed_sensitivity(vgg19, Requirements(min_sensitivity=0.93))
    assert "its 95 % interval begins at 92.0%" in failure
    assert failure.endswith("(n = 300, operating point 'high sensitivity', specificity 80.0%)")
    assert describe_missed_sensitivity(vgg19, Requirements(min_sensitivity=0.5, at_grade=3))
    assert not describe_missed_sensitivity(vgg19, Requirements(min_specificity=0.76))
    failure = describe_missed_sensitivity(
        vgg19, Requirements(min_sensitivity=0.9, min_specificity=0.8)
    )
    assert "the specificity is 80.0%, and its 95 % interval begins at 76.0%" in failure


def test_a_grader_that_flags_everyone_meets_no_sensitivity(measured):
    from drdeploy.grader.artifacts import OperatingPoint, Rate
    from drdeploy.study.recommendation.evaluated import describe_missed_sensitivity

    one = collect_measured_configurations(measured)[0]
    everyone = OperatingPoint(
        name="high_sensitivity",
        at_or_above=2,
        threshold=0.0,
        sensitivity=Rate(1.0, 0.99, 1.0, 300),
        specificity=Rate(0.0, 0.0, 0.01, 400),
        cross_fitted=True,
    )
    flagging = replace(one, operating_points=(everyone,))
    failure = describe_missed_sensitivity(flagging, Requirements(min_sensitivity=0.9))
    assert "specificity is 0.0%" in failure
    assert "50.0% at grade >= 2 is required" in failure


def test_where_nothing_meets_everything_the_nearest_is_named(measured, sheet):
    decision = choose_cheapest_hosting(measured, sheet, inputs_of(p95_s=0.001, budget_usd=0.01))
    assert decision.winner is None
    assert decision.prices == ()
    assert decision.answer[0].startswith("No option meets all")
    assert decision.excluded[0].name in decision.answer[1]


def test_an_option_without_a_known_price_is_excluded_and_a_note_says_so(measured):
    decision = choose_cheapest_hosting(measured, PriceSheet.load(), inputs_of(p95_s=0.5))
    unpriced = [one for one in decision.excluded if one.usd_per_month is None]
    assert {(one.policy, one.size) for one in unpriced if one.policy} == {
        ("provisioned", "1024 MB"),
        ("provisioned", "3072 MB"),
    }
    assert {one.kind for one in unpriced if not one.policy} == {"asynchronous", "batch"}
    assert all("not known" in str(one.failures) for one in unpriced)
    assert any("provisioned concurrency" in note for note in decision.notes)


def test_a_decision_says_how_old_its_prices_are(measured, sheet):
    decision = choose_cheapest_hosting(
        measured, sheet, inputs_of(p95_s=0.5), today=date(2028, 6, 1)
    )
    assert "the oldest are" in decision.price_age
    old = next(note for note in decision.notes if "older than a year" in note)
    assert "serverless 2048 MB (2026-05)" in old
    html = render_decision_page(decision, written_at=datetime(2028, 6, 1, tzinfo=UTC))
    assert decision.price_age in html
    assert old.replace("`", "&#96;") in html or old in html


def test_a_sheet_that_prices_nothing_is_an_error(measured, sheet):
    elsewhere = replace(inputs_of(), assumptions=Assumptions(region="mars-1"))
    with pytest.raises(UnknownPrice, match="mars-1"):
        choose_cheapest_hosting(measured, sheet, elsewhere)


def test_instances_alone_can_be_decided_on(measured, sheet):
    alone = replace(measured, frame=measured.frame[measured.frame["scenario"] == "real-time"])
    decision = choose_cheapest_hosting(alone, sheet, inputs_of(p95_s=5.0))
    assert decision.winner.kind == "real-time, scheduled"
    assert decision.mitigation is None
    assert not any("A size of 310 KB is assumed" in note for note in decision.notes)
    unknown = replace(alone, frame=alone.frame.assign(payload_bytes=np.nan))
    notes = choose_cheapest_hosting(unknown, sheet, inputs_of(p95_s=5.0)).notes
    assert any("A size of 310 KB is assumed" in note for note in notes)


def test_a_trial_with_failures_only_is_reported_and_not_simulated(quick_rows, results_of, sheet):
    rows = [
        replace(row, outcome="model_error", status=424) if "1024mb" in row.trial else row
        for row in quick_rows
        if row.model == "mobilenet" and "3072mb" not in row.trial
    ]
    decision = choose_cheapest_hosting(
        load_results_folder(results_of(rows)), sheet, inputs_of(p95_s=0.5)
    )
    assert decision.unusable[0].name == "mobilenet fp32 lean, 1024 MB"
    assert ["GPU" in one.reason for one in decision.unusable] == [False, True]
    assert "every request failed" in decision.unusable[0].reason


def test_failures_alone_are_an_error(quick_rows, results_of, sheet):
    rows = [replace(row, outcome="model_error", status=424) for row in quick_rows[:20]]
    with pytest.raises(AnalysisError, match="No configuration has the rows that a decision needs"):
        choose_cheapest_hosting(load_results_folder(results_of(rows)), sheet, inputs_of())


def test_warm_rows_alone_do_not_allow_a_decision(quick_rows, results_of, sheet):
    rows = [row for row in quick_rows if row.scenario == "warm"]
    with pytest.raises(AnalysisError, match="no cold start was measured") as refused:
        choose_cheapest_hosting(load_results_folder(results_of(rows)), sheet, inputs_of())
    assert str(refused.value).count("no cold start was measured") == 1
    assert "all 6 configurations" in str(refused.value)


def test_rows_of_different_platforms_are_not_mixed(quick_rows, results_of, sheet):
    rows = [replace(row, platform="aws") if row.model == "vgg19" else row for row in quick_rows]
    with pytest.raises(AnalysisError, match="different conditions"):
        choose_cheapest_hosting(load_results_folder(results_of(rows)), sheet, inputs_of())


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ("50 EUR", "'50 EUR' is in EUR, and all prices are in US dollars"),
        ("€50", "is in €"),
        ("1,500", "'1,500'"),
        ("fifty", "'fifty' is not a number of US dollars"),
    ],
)
def test_a_budget_in_another_currency_is_refused_with_a_sentence(both_kinds, budget, reason):
    result = recommend(both_kinds, "--requests", 5_000, "--budget", budget)
    assert isinstance(result.exception, InvalidInput)
    assert reason in str(result.exception)


@pytest.mark.parametrize("budget", ["50", "50 USD", "$50", "50.0"])
def test_a_budget_in_dollars_is_taken(budget):
    assert parse_budget_usd(budget) == 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"same_cost_usd": -1.0},
        {"p95_s": -1.0},
        {"min_sensitivity": 2.0},
        {"min_specificity": 0.0},
        {"budget_usd": 0.0},
        {"at_grade": 1},
    ],
)
def test_impossible_requirements_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Requirements(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"idle_s": 0.0},
        {"headroom": 1.0},
        {"requests_at_once": 0},
        {"photographs_per_patient": 0},
        {"request_bytes": -1.0},
        {"image_gb": -1000.0},
        {"artifact_gb": float("nan")},
    ],
)
def test_impossible_assumptions_are_refused(wrong):
    with pytest.raises(InvalidInput):
        Assumptions(**wrong)


def test_a_break_even_is_where_two_curves_cross():
    flat, rising = np.full(25, 100.0), np.logspace(-1, 5, 25)
    found = find_break_even_of_each_pair([
        CostCurve("per use", "serverless", rising),
        CostCurve("by the hour", "real-time", flat),
    ])  # fmt: skip
    (one,) = found
    assert (one.below, one.above) == ("per use", "by the hour")
    assert one.requests_per_month == pytest.approx(1e5, rel=0.02)
    never = CostCurve("cheap", "serverless", flat / 1000)
    again = find_break_even_of_each_pair([never, CostCurve("by the hour", "real-time", flat)])
    assert again == (BreakEven("cheap", "by the hour", None),)


def test_a_percentile_of_a_mixture_counts_what_is_refused_as_infinite():
    warm, cold = np.arange(1.0, 101.0), np.full(10, 1000.0)
    assert compute_mixture_percentile((warm, 0.96), (cold, 0.04), 0.95) == 99.0
    assert compute_mixture_percentile((warm, 0.94), (cold, 0.06), 0.95) == 1000.0
    assert compute_mixture_percentile((warm, 0.9), (cold, 0.0), 0.95) == float("inf")


def test_the_page_shows_the_answer_first_and_the_notice(fast_enough):
    html = render_decision_page(fast_enough, written_at=datetime(2025, 1, 1, tzinfo=UTC))
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
        ((), "The traffic is missing"),
        (("--requests", "5", "--trace", "x.csv"), "--requests and --trace cannot be combined"),
        (("--requests", "5", "--shape", "x"), "'x'"),
        (("--requests", "5", "--days", "1,1,1,1,1,1,1"), "--days would have no effect without"),
        (("--requests", "5", "--shape", "flat", "--hours", "1"), "--shape and --hours cannot be"),
        (("--archive", "5", "--shape", "flat"), "--shape would have no effect: --archive"),
        (
            ("--trace", "x.csv", "--hours", "1", "--between-photographs-s", "5"),
            "--hours and --between-photographs-s would have no effect: --trace",
        ),
        (("--requests", "5", "--data-stays-in", " ,"), "--data-stays-in names no region"),
    ],
)
def test_traffic_is_given_once_in_a_known_shape(both_kinds, arguments, reason):
    result = recommend(both_kinds, *arguments)
    assert isinstance(result.exception, InvalidInput)
    assert reason in str(result.exception)


def test_images_with_the_same_profile_are_options_of_their_own(quick_rows, results_of, sheet):
    first = [row for row in quick_rows if row.trial.startswith("vgg19-fp32-lean-1024mb")]
    slow = [
        replace(
            row,
            trial=f"{row.trial}-minimal",
            image="drdeploy:minimal",
            total_latency_s=3 * row.total_latency_s,
            container_latency_s=3 * row.container_latency_s,
        )
        for row in first
    ]
    measured = load_results_folder(results_of([*first, *slow]))
    decision = choose_cheapest_hosting(measured, sheet, inputs_of())
    names = ["vgg19 fp32 lean, 1024 MB", "vgg19 fp32 lean minimal, 1024 MB"]
    options = {one.name: one for one in decision.options}
    assert set(names) <= set(options)
    assert len(options) == len(decision.options)
    fast, slow = (options[name] for name in names)
    assert slow.p95_s > 2 * fast.p95_s
    for one in (fast, slow):
        low, high = one.usd_per_month_limits
        assert low <= one.usd_per_month <= high
    assert len(set(shorten_option_names(decision.options).values())) == len(options)

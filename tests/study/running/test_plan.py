"""A study spreads out into trials; what cannot be run is refused before anything is spent."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import StudyError, UnknownPrice
from drdeploy.hosting.images import IMAGE_NAMES
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.design.plan import DEPLOYMENT_ALLOWANCE_S, make_plan
from drdeploy.study.design.scenarios import Cold, OpenLoop, RealTime, Warm
from drdeploy.study.design.study import Study, find_study_file

ROOT = Path(__file__).resolve().parents[3]

SMALL = """
title = "small"
[models.mobilenet]
architecture = "MobileNet"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["mobilenet"]
images = ["lean"]
endpoints = [{ENDPOINT}]
scenarios = [{SCENARIO}]
"""
SERVERLESS = '{kind = "serverless", memory_mb = 1024}'
REALTIME = '{kind = "realtime", instance_type = "ml.m5.xlarge"}'
ASYNCHRONOUS = '{kind = "asynchronous", instance_type = "ml.m5.xlarge"}'
BATCH = '{kind = "batch", instance_type = "ml.m5.xlarge", instance_count = 2}'
QUEUE = '{kind = "asynchronous", n = 8, rate_per_s = 2, timeout_s = 600}'
JOBS = '{kind = "batch", n = 3, photographs = 20}'
WARM = '{kind = "warm", n = 25, interval_s = 5}'
COLD = '{kind = "cold", n = 10, interval_s = 900}'


def small(tmp_path, endpoint=SERVERLESS, scenario=WARM, **changes):
    text = SMALL.replace("{ENDPOINT}", endpoint).replace("{SCENARIO}", scenario)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def plan_of(path):
    return make_plan(Study.load(path))


@pytest.fixture(scope="module")
def thesis():
    return plan_of(ROOT / "studies" / "thesis.toml")


def of_kind(plan, kind):
    return [trial for trial in plan.trials if isinstance(trial.scenario, kind)]


def test_the_thesis_has_its_26_scenarios(thesis):
    assert len(thesis.trials) == len({trial.id for trial in thesis.trials}) == 26
    assert [len(of_kind(thesis, kind)) for kind in (Warm, Cold, RealTime)] == [6, 12, 8]


def test_the_thesis_keeps_its_counts_and_intervals(thesis):
    warm, cold, real_time = (of_kind(thesis, kind) for kind in (Warm, Cold, RealTime))
    assert {(t.scenario.n, t.scenario.interval_s) for t in warm + real_time} == {(25, 5)}
    assert {(t.scenario.n, t.scenario.interval_s) for t in cold} == {(10, 900)}
    assert thesis.expected_invocation_count == 14 * 26 + 12 * 10


def test_the_thesis_takes_a_day_and_a_bit(thesis):
    pauses_s = 12 * 9 * 900 + 14 * 25 * 5
    assert pauses_s < thesis.expected_duration_s < pauses_s * 1.05


def test_an_image_that_is_not_of_the_ladder_is_said_to_be_foreign(thesis):
    assert thesis.notes_on_foreign_images == ()
    trial = thesis.trials[0]
    foreign = replace(trial, image=trial.image.model_copy(update={"tag": "registry/mine:3"}))
    (note,) = replace(thesis, trials=(foreign,)).notes_on_foreign_images
    assert "registry/mine:3' must exist" in note


def test_quick_has_12_trials_within_six_minutes():
    plan = plan_of(ROOT / "studies" / "quick.toml")
    assert [trial.id for trial in plan.trials[:2]] == [
        "mobilenet-fp32-lean-1024mb-warm",
        "mobilenet-fp32-lean-1024mb-cold",
    ]
    assert len(plan.trials) == 12
    assert plan.expected_duration_s <= 360


def test_images_has_a_cold_trial_for_each_rung_and_model_within_ten_minutes():
    plan = plan_of(ROOT / "studies" / "images.toml")
    pairs = {(trial.model_name, trial.image_name) for trial in plan.trials}
    assert len(pairs) == len(plan.trials) == 2 * len(IMAGE_NAMES)
    assert {image for _, image in pairs} == set(IMAGE_NAMES)
    assert len(of_kind(plan, Cold)) == len(plan.trials)
    assert plan.expected_duration_s <= 600


def test_quick_pauses_longer_than_its_endpoints_take_to_scale_down():
    study = Study.load(ROOT / "studies" / "quick.toml")
    cold = of_kind(make_plan(study), Cold)
    assert all(trial.scenario.interval_s > study.local.idle_s for trial in cold)


def test_worst_case_cost_is_60_s_and_4_mb_each_way(tmp_path):
    plan = plan_of(small(tmp_path))
    sent = 3 * 25 + 1  # a cold answer in a warm trial is asked again, twice at most
    seconds_usd = sent * 60 * 0.00002
    data_usd = sent * 8 / 1024 * 0.016
    assert plan.worst_case_cost_usd(PriceSheet.load()) == pytest.approx(seconds_usd + data_usd)


def test_worst_case_of_a_cold_trial_pays_for_every_attempt(tmp_path):
    (trial,) = plan_of(small(tmp_path, scenario=COLD)).trials
    assert (trial.expected_invocation_count, trial.max_invocation_count) == (10, 30)


def test_an_always_on_endpoint_is_paid_while_it_waits(tmp_path):
    scenario = WARM.replace("warm", "real-time")
    plan = plan_of(small(tmp_path, REALTIME, scenario))
    hours = (26 * 60 + 25 * 5 + DEPLOYMENT_ALLOWANCE_S) / 3600
    assert plan.worst_case_cost_usd(PriceSheet.load()) == pytest.approx(hours * 0.23)


def test_every_always_on_endpoint_is_paid_until_the_last_is_measured(tmp_path):
    scenario = WARM.replace("warm", "real-time")
    two = ", ".join([REALTIME, REALTIME.replace("m5", "c5")])
    plan = plan_of(small(tmp_path, two, scenario))
    hours = (2 * (26 * 60 + 25 * 5) + DEPLOYMENT_ALLOWANCE_S) / 3600
    assert plan.worst_case_cost_usd(PriceSheet.load()) == pytest.approx(hours * (0.23 + 0.204))


def with_assumed_prices():
    assumed = ROOT / "examples" / "assumed-asynchronous-and-batch-prices.toml"
    return PriceSheet.load().joined(PriceSheet.load(assumed))


def test_an_asynchronous_endpoint_is_paid_by_the_hour_and_a_job_for_its_instances(tmp_path):
    sheet = with_assumed_prices()
    queue = plan_of(small(tmp_path, ASYNCHRONOUS, QUEUE))
    hours = (2 * 600 + 8 / 2 + DEPLOYMENT_ALLOWANCE_S) / 3600
    assert queue.worst_case_cost_usd(sheet) == pytest.approx(hours * 0.23)
    jobs = plan_of(small(tmp_path, BATCH, JOBS))
    assert jobs.expected_invocation_count == 60
    assert jobs.worst_case_cost_usd(sheet) == pytest.approx(2 * 60 * 60 / 3600 * 0.23)


def test_a_sheet_of_ones_own_prices_what_the_packaged_sheet_does_not():
    words = ["study", "run", "asynchronous-and-batch", "--target", "aws"]
    assert isinstance(CliRunner().invoke(build_app(), words).exception, UnknownPrice)
    assumed = ROOT / "examples" / "assumed-asynchronous-and-batch-prices.toml"
    refused = CliRunner().invoke(build_app(), [*words, "--prices", str(assumed)]).exception
    assert "may cost up to" in str(refused)


def test_trials_without_a_price_run_on_aws_only_if_this_is_accepted(tmp_path):
    known, unknown = SERVERLESS, SERVERLESS.replace("}", ", provisioned_concurrency = 1}")
    small(tmp_path, f"{known}, {unknown}")
    words = ["study", "run", str(tmp_path / "small.toml"), "--target", "aws"]
    refused = CliRunner().invoke(build_app(), words).exception
    assert isinstance(refused, UnknownPrice)
    assert refused.remedy.endswith("; or continue with --accept-unknown-prices")

    accepted = CliRunner().invoke(build_app(), [*words, "--accept-unknown-prices"])
    plan = plan_of(small(tmp_path, f"{known}, {unknown}"))
    cost_usd, without_price = plan.worst_case_known_cost_usd(PriceSheet.load())
    assert cost_usd == plan_of(small(tmp_path, known)).worst_case_cost_usd(PriceSheet.load()) > 0
    assert without_price == (plan.trials[1].id,)
    assert f"because a price is not known: {without_price[0]}" in " ".join(accepted.stderr.split())
    # The limit still holds for the trials with prices.
    assert "may cost up to" in str(accepted.exception)


def test_an_unknown_price_is_an_error_not_a_zero(tmp_path):
    endpoint = '{kind = "realtime", instance_type = "ml.c4.xlarge"}'
    plan = plan_of(small(tmp_path, endpoint, WARM.replace("warm", "real-time")))
    with pytest.raises(UnknownPrice, match=r"ml\.c4\.xlarge"):
        plan.worst_case_cost_usd(PriceSheet.load())


@pytest.mark.parametrize(
    ("endpoint", "scenario", "reason"),
    [
        (REALTIME, COLD, "needs a serverless endpoint"),
        (REALTIME, WARM, "needs a serverless endpoint"),
        (SERVERLESS, WARM.replace("warm", "real-time"), "needs an endpoint with an instance"),
        (SERVERLESS.replace("}", ", provisioned_concurrency = 1}"), COLD, "never starts cold"),
        (f"{SERVERLESS}, {SERVERLESS}", WARM, "Two trials have the id"),
        (REALTIME, QUEUE, "needs an endpoint of the kind 'asynchronous'"),
        (REALTIME, JOBS, "needs an endpoint of the kind 'batch'"),
        (ASYNCHRONOUS, JOBS, "needs an endpoint of the kind 'batch'"),
        (ASYNCHRONOUS, WARM, "needs a serverless endpoint"),
        (
            BATCH,
            WARM.replace("warm", "real-time"),
            "only a scenario of the kind 'batch', not 'real",
        ),
        (
            ASYNCHRONOUS,
            QUEUE.replace("asynchronous", "open-loop").replace(", timeout_s = 600", ""),
            "only a scenario of the kind 'asynchronous', not 'open-loop'",
        ),
        (BATCH.replace("m5.xlarge", "z9.tiny"), JOBS, "not a SageMaker instance type for transf"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, endpoint, scenario, reason):
    with pytest.raises(StudyError, match=reason):
        plan_of(small(tmp_path, endpoint, scenario))


@pytest.mark.parametrize(
    ("old", "new", "field_and_limit"),
    [
        ("1024", "1500", r"0\.serverless\.memory_mb: the memory must be 1024 to 6144"),
        ("n = 25", "n = 0", r"scenarios\.0\.warm\.n: .*greater than or equal to 1"),
        (
            'images = ["lean"]',
            'images = ["fat"]',
            "image 'fat' is not defined; the defined names are lean",
        ),
        ('title = "small"', "", "title: is missing"),
        ('title = "small"', 'title = "small"\ncolour = 1', "colour: there is no such field"),
        ('architecture = "MobileNet"', "", "give either 'architecture' or 'artifact'"),
        ("[[trials]]", "[[trials", "not TOML"),
        ("[[trials]]", "a = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_mistake_is_named_with_file_field_and_limit(tmp_path, old, new, field_and_limit):
    with pytest.raises(StudyError, match=rf"small\.toml.*{field_and_limit}"):
        plan_of(small(tmp_path, **{old: new}))


def test_one_mistake_is_said_once(tmp_path):
    with pytest.raises(StudyError) as refusal:
        plan_of(small(tmp_path, **{"1024": "1500"}))
    assert refusal.value.what.count(";") == 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {'architecture = "MobileNet"': 'artifact = "cats.tar.gz"\nweights = "random"'},
            "'weights' would have no effect with 'artifact'",
        ),
        ({"[images.lean]": '[models.vgg19]\narchitecture = "VGG19"\n[images.lean]'},
            "no trial uses the model 'vgg19'"),
        ({"[[trials]]": '[images.big]\ntag = "b"\nprofile = "lean"\n[[trials]]'},
            "no trial uses the image 'big'"),
    ],
    ids=["weights", "model", "image"],
)  # fmt: skip
def test_a_field_that_would_have_no_effect_is_refused(tmp_path, changes, what):
    with pytest.raises(StudyError, match=what):
        Study.load(small(tmp_path, **changes))


def test_an_artifact_is_found_beside_the_study(tmp_path):
    path = small(tmp_path, **{'architecture = "MobileNet"': 'artifact = "cats.tar.gz"'})
    assert Study.load(path).models["mobilenet"].artifact == tmp_path / "cats.tar.gz"


def test_a_bare_name_is_looked_up_in_studies(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert find_study_file("thesis") == ROOT / "studies" / "thesis.toml"


def test_an_unknown_study_names_those_there_are():
    with pytest.raises(StudyError, match=r"images.*profiles.*quick.*thesis"):
        find_study_file("nonesuch")


def test_only_takes_a_part_of_the_id_or_a_pattern(thesis):
    assert len(thesis.select_trials_by_id("vgg19").trials) == 13
    assert len(thesis.select_trials_by_id("*-1024mb-warm").trials) == 2
    with pytest.raises(StudyError, match="No trial matches"):
        thesis.select_trials_by_id("resnet")


def test_a_fingerprint_does_not_depend_on_how_the_file_of_the_study_was_named(
    tmp_path, monkeypatch
):
    own = {'architecture = "MobileNet"': 'artifact = "model.tar.gz"'}
    path = small(tmp_path, **own)
    monkeypatch.chdir(tmp_path)
    names = (path, Path("small.toml"), Path("../") / tmp_path.name / "small.toml")
    assert len({plan_of(name).trials[0].fingerprint for name in names}) == 1
    before = plan_of(path).trials[0].fingerprint
    other = small(tmp_path, **{'architecture = "MobileNet"': 'artifact = "other.tar.gz"'})
    assert plan_of(other).trials[0].fingerprint != before


def test_a_fingerprint_changes_with_what_is_measured(tmp_path):
    (before,) = plan_of(small(tmp_path)).trials
    (after,) = plan_of(small(tmp_path, scenario=WARM.replace("= 5", "= 6"))).trials
    assert before.id == after.id
    assert before.fingerprint != after.fingerprint


def test_arrivals_are_the_same_for_the_same_seed():
    scenario = OpenLoop(n=50, rate_per_s=10)
    assert scenario.draw_arrival_times_s("7") == scenario.draw_arrival_times_s("7")
    assert scenario.draw_arrival_times_s("7") != scenario.draw_arrival_times_s("8")


def test_poisson_arrivals_come_at_the_rate_asked_for():
    times = OpenLoop(n=4000, rate_per_s=10).draw_arrival_times_s("7")
    assert times[-1] == pytest.approx(400, rel=0.1)
    assert list(times) == sorted(times)


def test_constant_arrivals_are_evenly_spaced():
    times = OpenLoop(n=4, rate_per_s=2, arrivals="constant").draw_arrival_times_s("7")
    assert times == pytest.approx((0.5, 1.0, 1.5, 2.0))

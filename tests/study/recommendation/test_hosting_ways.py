"""Every way of hosting is simulated, and what breaks a hard constraint says so with its source."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.bill import DataVolumes
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.hosting_ways import OWN_DISKS, WAYS, describe_broken_constraints
from drdeploy.study.recommendation.instance_options import (
    InstanceLoad,
    keep_endpoint_open_during_short_breaks,
    simulate_ways_to_run_instances,
)
from drdeploy.study.recommendation.mitigation.policies import DEPLOYABLE_POLICIES
from drdeploy.study.recommendation.mitigation.settings import make_scheduled_terraform_variables
from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
from drdeploy.study.recommendation.simulation.instances import (
    InstanceCounts,
    InstanceScaling,
    choose_batch_plan,
    compute_waits_for_changing_workers_s,
    count_instances_by_load,
    simulate_batch_jobs,
    simulate_changing_instances,
)
from drdeploy.study.recommendation.simulation.real_time import (
    compute_waiting_time_of_each_request_s,
    simulate_real_time,
)
from drdeploy.study.recommendation.simulation.service import RowTimes
from drdeploy.study.recommendation.traffic import (
    SHAPES,
    Arrivals,
    Traffic,
    TrafficShape,
    make_archive_arrivals,
)

ROOT = Path(__file__).resolve().parents[3]
ASSUMED = ROOT / "examples/assumed-asynchronous-and-batch-prices.toml"
HOUR_S = 3600.0
CANNOT = "a batch transform job cannot run on {} (API reference, TransformResources, InstanceType)"
# A campaign: everybody comes in one hour of the week.
CAMPAIGN = TrafficShape.from_weights("campaign", (1,) + (0,) * 23, (1,) + (0,) * 6)
BUSY = Traffic(requests_per_month=700_000, shape=CAMPAIGN).arrivals(1, weeks=1)
TENTH = RowTimes(np.array([0.1]), np.array([0.1]))


def arrive(*times_s, horizon_s=HOUR_S):
    return Arrivals(np.array(times_s, dtype=float), horizon_s, 0.0, float(len(times_s)), "made up")


@pytest.fixture(scope="module")
def ours():
    rows = load_results_folder(ROOT / "examples/decision")
    few = rows.frame["model"].eq("mobilenet") & ~rows.frame["memory_mb"].isin([1024, 3072])
    return replace(rows, frame=rows.frame[few])


@pytest.fixture(scope="module")
def traffic():
    return Traffic(requests_per_month=20_000).arrivals(1, weeks=1)


def decide(rows, traffic, assumptions=None, **required):
    sheet = PriceSheet.load().joined(PriceSheet.load(ASSUMED))
    inputs = DecisionInputs(
        traffic=traffic,
        required=Requirements(**required),
        assumptions=assumptions or Assumptions(),
    )
    return choose_cheapest_hosting(rows, sheet, inputs)


def test_a_changing_number_of_workers_serves_one_queue():
    rng = np.random.default_rng(1)
    times, busy = np.sort(rng.random(500) * 100), rng.random(500)
    waits = compute_waits_for_changing_workers_s(times, busy, np.array([0.0]), np.array([3]))
    assert waits == pytest.approx(compute_waiting_time_of_each_request_s(times, busy, 3))
    # A second worker comes at 10 s, none is left from 20 s on, and one comes back at 50 s.
    waits = compute_waits_for_changing_workers_s(
        np.array([0.0, 1.0, 2.0, 30.0, 60.0]),
        np.array([15.0, 1.0, 1.0, 1.0, 1.0]),
        np.array([0.0, 10.0, 20.0, 50.0, 55.0]),
        np.array([1, 2, 0, 1, 0]),
    )
    assert waits.tolist() == [0.0, 9.0, 9.0, 20.0, np.inf]


def test_autoscaling_adds_after_three_busy_minutes_and_removes_after_fifteen_quiet_ones():
    busy = np.arange(0, 600.0, 0.5)  # 120 a minute for ten minutes, and then nothing
    counts = count_instances_by_load(
        arrive(*busy, horizon_s=2 * HOUR_S), InstanceScaling(1, 4, 40.0, start_s=120.0)
    )
    changes = dict(zip((counts.at_s / 60).tolist(), counts.ready.tolist(), strict=True))
    assert changes == {0.0: 1, 4.0: 3, 25.0: 1}


def test_an_endpoint_without_instances_wakes_for_a_call_and_sleeps_again():
    scaling = InstanceScaling(0, 2, 40.0, start_s=300.0)
    counts = count_instances_by_load(arrive(600.0, horizon_s=10 * HOUR_S), scaling)
    assert counts.at_s.tolist() == [0.0, 960.0, 1860.0]
    assert counts.ready.tolist() == [0, 1, 0]
    # Six minutes of waking and fifteen minutes without a call.
    assert counts.billed_s == pytest.approx(20 * 60, abs=120)


def test_an_asynchronous_endpoint_wakes_after_two_minutes_as_its_alarm_has_two_periods():
    scaling = InstanceScaling(0, 2, 40.0, start_s=300.0, has_queue=True)
    counts = count_instances_by_load(arrive(600.0, horizon_s=10 * HOUR_S), scaling)
    assert counts.at_s.tolist()[:2] == [0.0, 1020.0]


def test_a_request_that_waits_longer_than_aws_keeps_it_is_never_answered():
    counts = InstanceCounts(np.array([0.0, 100.0]), np.array([0, 1]), 0.0)
    arrivals = arrive(0.0, 41.0, 200.0)
    outcome = simulate_changing_instances(
        arrivals, TENTH, counts, 1, seed=1, has_queue=True, answered_within_s=60.0
    )
    assert outcome.latency_s.tolist() == pytest.approx([np.inf, 59.2, 0.1])
    assert outcome.make_summary().throttled == 1
    slow = RowTimes(np.array([40.0]), np.array([40.0]))
    outcome = simulate_real_time(arrivals, slow, 1, seed=1, answered_within_s=60.0)
    assert outcome.make_summary().throttled == 0
    outcome = simulate_real_time(arrive(0.0, 1.0), slow, 1, seed=1, answered_within_s=60.0)
    assert outcome.latency_s.tolist() == [40.0, np.inf]


def test_an_archive_behind_a_queue_gets_instances_for_the_six_hours_of_a_request():
    ten = RowTimes(np.array([10.0]), np.array([10.0]))
    load = InstanceLoad(
        arrivals=make_archive_arrivals(5_000, 12 * HOUR_S),
        times=ten,
        assumed=Assumptions(),
        volumes=DataVolumes(
            image_gb=0.5, artifact_gb=0.1, request_bytes=310_000.0, response_bytes=2_000.0
        ),
        instance_type="ml.c5.large",
        instances=2,
        may_wait_s=12 * HOUR_S,
        seed=1,
    )
    (queue,) = [o for o in simulate_ways_to_run_instances(load) if o.way == "asynchronous"]
    assert queue.instances == 4
    assert queue.simulated.throttled == 0
    assert queue.simulated.slowest_s < 6 * HOUR_S


def test_a_request_that_expires_in_the_queue_says_so(ours):
    decision = decide(
        ours,
        make_archive_arrivals(200, 12 * HOUR_S),
        Assumptions(instance_start_s=7 * HOUR_S),
        may_wait_s=12 * HOUR_S,
    )
    (queue, *_) = [o for o in decision.options if o.kind == "asynchronous"]
    assert "wait for longer than the 6 hours after which a request expires" in str(queue.failures)
    assert decision.break_even == ()  # there is no archive every month


def test_a_queue_is_worked_off_without_headroom():
    scaling = InstanceScaling(0, 1, 70.0, start_s=60.0, has_queue=True, headroom=0.3)
    counts = count_instances_by_load(arrive(*[0.0] * 1000, horizon_s=10 * HOUR_S), scaling)
    # 1000 photographs take 10 minutes at 100 a minute; 15 quiet minutes follow.
    (_, begins_s, ends_s), ready = counts.at_s.tolist(), counts.ready.tolist()
    assert ready == [0, 1, 0]
    assert (ends_s - begins_s) / 60 == pytest.approx(25, abs=1)


def test_batch_jobs_are_as_rare_as_the_wait_allows():
    arrivals = arrive(*np.linspace(0, 23 * HOUR_S, 1000), horizon_s=24 * HOUR_S)
    plan = choose_batch_plan(arrivals, TENTH, 13 * HOUR_S, 300.0, 1)
    assert (plan.interval_s, plan.instances) == (12 * HOUR_S, 1)
    outcome, billed_s = simulate_batch_jobs(arrivals, TENTH, plan, 300.0, 1, seed=1)
    assert outcome.latency_s.max() <= 13 * HOUR_S
    assert billed_s == pytest.approx(1000 * 0.1, abs=1)  # instances that start are not billed
    # A single job of an archive gets more instances if one would be too slow.
    archive = make_archive_arrivals(1_000_000, 12 * HOUR_S).move_archive_to_beginning()
    assert choose_batch_plan(archive, TENTH, 12 * HOUR_S, 300.0, 1).instances == 4


def test_a_vpc_excludes_serverless_with_the_source(ours, traffic):
    decision = decide(ours, traffic, p95_s=2.0, needs_vpc=True)
    assert decision.winner.kind == "real-time, scheduled"
    failures = {o.name: o.failures[0] for o in decision.excluded if o.kind == "serverless"}
    assert failures
    assert all(
        "does not offer a VPC" in text and "developer guide" in text for text in failures.values()
    )


def test_an_own_key_excludes_instances_with_disks_of_their_own():
    def broken(instance_type):
        required = Requirements(needs_own_key=True)
        return [*describe_broken_constraints(required, WAYS["real-time"], instance_type)]

    module = (ROOT / "infrastructure/modules/realtime-endpoint/main.tf").read_text()
    assert OWN_DISKS.pattern.replace("\\", "\\\\") in module
    for with_disks in ("ml.m5d.large", "ml.c5d.xlarge", "ml.g4dn.xlarge", "ml.p4d.24xlarge"):
        (sentence,) = broken(with_disks)
        assert f"{with_disks} has built-in disks" in sentence
    assert broken("ml.m5.large") == broken("ml.c7g.xlarge") == []


def test_every_way_is_simulated_and_deployable_only_by_a_module(ours, traffic):
    decision = decide(ours, traffic, may_wait_s=24 * HOUR_S, largest_photograph_mb=5.0)
    kinds = {one.kind for one in decision.options}
    assert {"asynchronous", "components", "batch", "real-time, scheduled"} <= kinds
    for one in decision.options:
        way = WAYS["serverless" if one.policy else one.kind]
        if not way.deployment:
            assert one in decision.research
            assert one.settings == {}
        else:
            assert one not in decision.research or not DEPLOYABLE_POLICIES & {one.policy}
            assert one.settings or "cannot run on ml.c5.large" in one.failures[0]
        if one.kind in {"asynchronous", "batch"}:
            assert one.usd_per_month < 30
        if one.kind == "asynchronous":
            assert not one.failures
    assert any("takes at most 4 MB" in o.failures[0] for o in decision.excluded)
    modules = {path.name for path in (ROOT / "infrastructure/modules").iterdir()}
    assert {way.deployment for way in WAYS.values()} - {""} <= modules


def test_an_endpoint_with_opening_hours_is_what_wins_in_a_vpc(ours):
    clinic = Traffic(requests_per_month=5_000, shape=SHAPES["clinic"]).arrivals(1, weeks=2)
    decision = decide(ours, clinic, p95_s=2.0, needs_vpc=True)
    assert decision.winner.kind == "real-time, scheduled"
    (always_on, *_) = [o for o in decision.runners_up if o.kind == "real-time"]
    assert decision.winner.usd_per_month < always_on.usd_per_month / 2
    endpoint = decision.winner.settings["endpoint"]
    assert endpoint["initial_instance_count"] == decision.winner.instances
    assert {one["opens"].split()[0] for one in endpoint["opening_hours"]["schedules"].values()} == {
        "cron(55"
    }


@pytest.mark.parametrize(
    ("instance_type", "runs"),
    [("ml.m5.large", True), ("ml.c5.large", False), ("ml.c7g.xlarge", False)],
)
def test_a_batch_job_runs_on_the_instance_types_of_batch_transform_alone(instance_type, runs):
    required = Requirements(may_wait_s=HOUR_S)
    broken = [*describe_broken_constraints(required, WAYS["batch"], instance_type)]
    assert broken == ([] if runs else [CANNOT.format(instance_type)])
    assert not [*describe_broken_constraints(required, WAYS["asynchronous"], instance_type)]


@pytest.mark.parametrize(
    ("needs", "name"),
    [
        ("needs_vpc", "a VPC"),
        ("needs_network_isolation", "network isolation"),
        ("needs_own_key", "a volume encrypted with your own key"),
    ],
)
def test_what_the_command_gives_no_job_excludes_jobs(needs, name):
    required = Requirements(may_wait_s=HOUR_S, **{needs: True})
    broken = [*describe_broken_constraints(required, WAYS["batch"], "ml.m5.large")]
    assert broken == [f"a job of `batch run` does not have {name}"]
    assert not [*describe_broken_constraints(required, WAYS["asynchronous"], "ml.m5.large")]


def test_an_instance_of_a_job_receives_no_more_at_once_than_sagemaker_takes():
    load = InstanceLoad(
        arrivals=make_archive_arrivals(5_000, 12 * HOUR_S),
        times=RowTimes(np.array([1.0]), np.array([1.0])),
        assumed=Assumptions(requests_at_once=40),
        volumes=DataVolumes(
            image_gb=0.5, artifact_gb=0.1, request_bytes=310_000.0, response_bytes=2_000.0
        ),
        instance_type="ml.m5.large",
        instances=1,
        may_wait_s=12 * HOUR_S,
        seed=1,
    )
    (job,) = [one for one in simulate_ways_to_run_instances(load) if one.way == "batch"]
    assert job.variables["batch"]["max_concurrent_transforms"] == 16  # of 6 MB each


def test_an_archive_has_no_opening_hours(ours):
    decision = decide(ours, make_archive_arrivals(200, 12 * HOUR_S), may_wait_s=12 * HOUR_S)
    assert "real-time, scheduled" not in {o.kind for o in decision.options}


def week(*opened):
    return np.isin(np.arange(168), opened)


@pytest.mark.parametrize(
    ("arriving", "start_s", "opened"),
    [
        ([8, 9, 12], 300, [8, 9, 12]),
        ([8, 9, 11], 1800, [8, 9, 11]),
        ([8, 9, 11], 1801, [8, 9, 10, 11]),
        ([167, 1], 1801, [167, 0, 1]),
        ([8], 1801, [8]),
    ],
)
def test_an_endpoint_stays_open_in_a_break_that_is_too_short_to_close(arriving, start_s, opened):
    kept = keep_endpoint_open_during_short_breaks(week(*arriving), start_s)
    assert sorted(np.flatnonzero(kept)) == sorted(opened)


@pytest.mark.parametrize(
    ("opened", "schedules"),
    [
        (
            [*range(8, 12), *range(24 + 8, 24 + 12), *range(48 + 13, 48 + 18)],
            {
                "hours-1": ("cron(55 7 ? * MON,TUE *)", "cron(0 12 ? * MON,TUE *)"),
                "hours-2": ("cron(55 12 ? * WED *)", "cron(0 18 ? * WED *)"),
            },
        ),
        # From Monday's first hour, and into it.
        ([0, 1], {"hours-1": ("cron(55 23 ? * SUN *)", "cron(0 2 ? * MON *)")}),
        ([166, 167], {"hours-1": ("cron(55 21 ? * SUN *)", "cron(0 0 ? * MON *)")}),
        ([167, 0], {"hours-1": ("cron(55 22 ? * SUN *)", "cron(0 1 ? * MON *)")}),
    ],
)
def test_opening_hours_begin_before_the_first_photograph(opened, schedules):
    made = make_scheduled_terraform_variables("ml.m5.large", 1, week(*opened).tolist(), 300.0)
    written = made["endpoint"]["opening_hours"]["schedules"]
    assert {name: (one["opens"], one["closes"]) for name, one in written.items()} == schedules


def test_the_busiest_hour_needs_several_instances_that_autoscaling_saves_at_night(ours):
    slow_start = Assumptions(instance_start_s=0.9 * HOUR_S)
    decision = decide(ours, BUSY, slow_start, p95_s=2.0, needs_own_key=True)
    scaled = [o for o in decision.options if o.kind == "real-time, autoscaled"]
    fixed = {o.model: o for o in decision.options if o.kind == "real-time"}
    assert scaled
    for one in scaled:
        assert one.usd_per_month < fixed[one.model].usd_per_month
        assert "are not answered within 60 s while instances start" in one.failures[0]
        limits = one.settings["endpoint"]["autoscaling"]
        assert limits["min_capacity"] == 1
        assert limits["max_capacity"] == fixed[one.model].instances


def test_an_account_with_few_concurrent_requests_refuses_more(ours):
    decision = decide(ours, BUSY, Assumptions(account_concurrency=2), p95_s=2.0)
    plain = [o for o in decision.excluded if o.kind == "serverless"]
    assert plain
    assert all(o.settings["endpoint"]["max_concurrency"] <= 2 for o in plain)
    # SageMaker refuses an endpoint with more provisioned concurrency than max_concurrency.
    held = [o for o in decision.options if o.policy.startswith("provisioned")]
    assert held
    assert all(o.settings["endpoint"]["provisioned_concurrency"] <= 2 for o in held)


def test_more_concurrency_than_sagemaker_permits_is_refused():
    with pytest.raises(InvalidInput, match="cannot handle 201 requests at once"):
        Assumptions(max_concurrency=201)


def test_a_gpu_that_was_not_measured_is_named_and_nothing_is_possible(ours, traffic):
    decision = decide(ours, traffic, needs_gpu=True)
    assert decision.winner is None
    assert "a GPU" in decision.answer[0]
    assert all(any("GPU" in text for text in one.failures) for one in decision.excluded)
    assert "ml.g4dn.xlarge" in decision.unusable[-1].name
    assert "538 USD" in decision.unusable[-1].reason


def test_data_that_must_stay_elsewhere_is_refused_at_once(ours, traffic):
    with pytest.raises(InvalidInput, match="the data must stay in eu or sa-east-1"):
        decide(ours, traffic, data_stays_in=("eu", "sa-east-1"))
    assert decide(ours, traffic, data_stays_in=("us",)).winner


def test_a_result_that_may_not_wait_excludes_queues_and_jobs(ours, traffic):
    decision = decide(ours, traffic, Assumptions(has_zero_instances=False))
    waiting = [o for o in decision.options if o.kind in {"asynchronous", "batch"}]
    assert waiting
    assert all("--may-wait-hours" in str(o.failures) for o in waiting)
    assert "components" not in {o.kind for o in decision.options}


def test_the_command_takes_an_archive_and_asks_how_long_it_may_wait(ours):
    run = CliRunner().invoke
    arguments = ["recommend", str(ROOT / "examples/decision"), "--archive", "20000"]
    missing = run(build_app(), arguments)
    assert missing.exit_code != 0
    assert "--may-wait-hours" in str(missing.exception)
    done = run(build_app(), [*arguments, "--may-wait-hours", "12", "--add-prices", str(ASSUMED)])
    assert done.exit_code == 0, done.output
    assert "Host mobilenet fp32 lean" in done.output


def test_an_option_whose_results_are_late_is_chosen_in_no_resample(ours):
    decision = decide(
        ours,
        make_archive_arrivals(200, HOUR_S),
        Assumptions(instance_start_s=2 * HOUR_S),
        may_wait_s=HOUR_S,
        needs_vpc=True,
    )
    (queue, *_) = [o for o in decision.excluded if o.kind == "asynchronous"]
    assert "the slowest result takes" in str(queue.failures)
    assert queue.usd_per_month < decision.winner.usd_per_month
    assert decision.confidence.share == 1.0

"""Policies against cold starts: what each does, and that none of them knows the future."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.hosting.sagemaker import hosting_config
from drdeploy.study.recommendation.mitigation.comparison import (
    SimulatedPolicy,
    compare_cold_start_policies,
)
from drdeploy.study.recommendation.mitigation.histogram import (
    BINS,
    IdleTimes,
    compute_keep_warm_times_s,
)
from drdeploy.study.recommendation.mitigation.policies import (
    POLICIES,
    average_requests_by_hour_of_week,
    compute_containers_by_hour,
    fit_policy_to_traffic,
    forecast_requests_by_hour,
    repeat_weekly_plan,
)
from drdeploy.study.recommendation.mitigation.settings import (
    DAYS,
    list_daily_container_periods,
    make_real_time_terraform_variables,
    make_serverless_terraform_variables,
)
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.simulation.service import RowTimes, ServiceTimes
from drdeploy.study.recommendation.traffic import (
    HOURS_PER_WEEK,
    SHAPES,
    Arrivals,
    Traffic,
    make_archive_arrivals,
)

IDLE_S = 600.0
SERVICE = ServiceTimes(
    RowTimes(np.full(5, 0.3), np.full(5, 0.2)), RowTimes(np.full(5, 12.0), np.full(5, 11.0))
)


@pytest.fixture(scope="module")
def clinic():
    return Traffic(requests_per_month=800).arrivals(3, weeks=12)


def simulated(name, arrivals):
    policy = fit_policy_to_traffic(name, arrivals, busy_s=0.2, idle_s=IDLE_S)
    outcome = simulate_serverless(
        arrivals, SERVICE, SimulatedScaling(200, IDLE_S), policy.actions, seed=1
    )
    usd = 1.0 + outcome.on_demand_s * 1e-4
    return SimulatedPolicy(policy, outcome.make_summary(), arrivals.months, usd)


@pytest.fixture(scope="module")
def all_simulated(clinic):
    return {name: simulated(name, clinic) for name in POLICIES}


@pytest.mark.parametrize("name", POLICIES[1:])
def test_every_policy_avoids_cold_starts_in_a_clinic(all_simulated, name):
    nothing = all_simulated["nothing"].simulated.cold_share
    assert all_simulated[name].simulated.cold_share < 0.6 * nothing


def test_keep_warm_requests_in_opening_hours_leave_hardly_a_cold_start(all_simulated):
    assert all_simulated["keep-warm"].simulated.cold_share < 0.01


@pytest.mark.parametrize(
    ("idle_s", "interval_s"),
    [(600.0, 540.0), (400.0, 300.0), (1000.0, 900.0), (45.0, 60.0), (9000.0, 8100.0)],
)
def test_the_simulated_requests_are_those_of_the_cron_lines(clinic, idle_s, interval_s):
    policy = fit_policy_to_traffic("keep-warm", clinic, busy_s=0.2, idle_s=idle_s)
    assert policy.interval_s == interval_s
    variables = make_serverless_terraform_variables(2048, policy, peak_concurrency=2, headroom=0.3)
    assert variables["allow_always_on"] is True
    schedules = variables["endpoint"]["keep_warm"]["schedules"]
    minutes = set()
    for one in schedules.values():
        found = re.fullmatch(r"cron\(0(?:/(\d+))? ([\d,-]+) \? \* ([A-Z,]+) \*\)", one["schedule"])
        step, hours, days = found.groups()
        within = range(0, 60, int(step)) if step else [0]
        for day in days.split(","):
            for part in hours.split(","):
                first, _, last = part.partition("-")
                for hour in range(int(first), int(last or first) + 1):
                    at = ([name[:3].upper() for name in DAYS].index(day) * 24 + hour) * 60
                    minutes |= {at + minute for minute in within}
    of_week = policy.actions.keep_warm_s % (HOURS_PER_WEEK * 3600) / 60
    assert minutes == set(of_week.tolist())
    # A request that comes a minute late still finds the container.
    assert interval_s + 60 <= idle_s or interval_s == 60


def test_the_best_is_the_cheapest_that_is_quick_enough(all_simulated):
    found = compare_cold_start_policies(list(all_simulated.values()), p95_s=1.0)
    quick = [line for line in found.lines if line.p95_s <= 1.0]
    assert found.best == min(quick, key=lambda line: line.usd).policy
    assert found.best != "nothing"


def test_doing_nothing_is_best_where_it_is_quick_enough(all_simulated):
    costly = {
        name: SimulatedPolicy(
            one.policy, one.simulated, one.months, 1.0 if name == "nothing" else 2.0
        )
        for name, one in all_simulated.items()
    }
    assert compare_cold_start_policies(list(costly.values()), p95_s=60.0).best == "nothing"


def test_an_unknown_cost_is_reported_and_never_wins(all_simulated):
    nothing, warm = all_simulated["nothing"], all_simulated["keep-warm"]
    unpriced = SimulatedPolicy(warm.policy, warm.simulated, warm.months, None, "No price is known.")
    found = compare_cold_start_policies([nothing, unpriced], p95_s=1.0)
    assert found.lines[1].usd is None
    assert found.lines[1].usd_per_avoided is None
    assert found.lines[1].note == "No price is known."
    assert found.best == "nothing"


def test_a_forecast_knows_nothing_of_the_week_to_come(clinic):
    whole = forecast_requests_by_hour(clinic)
    until = 5 * HOURS_PER_WEEK * 3600.0
    past = clinic.times_s[clinic.times_s < until]
    cut = Arrivals(past, until, 0.0, clinic.requests_per_month, "the past")
    known = forecast_requests_by_hour(cut)
    assert np.allclose(whole[: 5 * HOURS_PER_WEEK], known)
    assert (whole[:HOURS_PER_WEEK] == 0).all()
    assert (
        np.corrcoef(whole[HOURS_PER_WEEK:], np.tile(average_requests_by_hour_of_week(clinic), 11))[
            0, 1
        ]
        > 0.8
    )


@settings(max_examples=60, deadline=None)
@given(gaps=st.lists(st.floats(1.0, 20_000.0), min_size=3, max_size=80), cut=st.integers(2, 60))
def test_the_histogram_knows_nothing_of_what_is_to_come(gaps, cut):
    times = np.cumsum(gaps)
    end = float(times[-1]) + 1
    moments = compute_keep_warm_times_s(times, 540.0, end)
    early = times[: min(cut, len(times))]
    known = compute_keep_warm_times_s(early, 540.0, float(early[-1]))
    assert np.allclose(moments[: known.size], known)
    assert (np.diff(moments) > 0).all()


def test_a_histogram_of_regular_idle_times_narrows_the_window():
    idle = IdleTimes()
    assert idle.predict_window_of_next_request_s() == (0.0, BINS * 60.0)
    idle.add_idle_times(np.full(200, 3600.0))
    head, tail = idle.predict_window_of_next_request_s()
    assert 0.8 * 3600 < head <= 3600 < tail < 1.2 * 3600
    idle.add_idle_times(np.full(400, 1e6))
    assert idle.predict_window_of_next_request_s() == (0.0, BINS * 60.0)


def test_containers_grow_with_demand_and_quiet_hours_have_none():
    assert compute_containers_by_hour(np.array([0.0, 10.0, 1e6]), 0.2).tolist()[:2] == [0, 1]
    assert compute_containers_by_hour(np.array([1e6]), 0.2)[0] > 1e6 * 0.2 / 3600


def test_a_week_is_laid_over_a_horizon_that_begins_in_its_middle():
    arrivals = Arrivals(np.array([1.0]), 4 * 3600.0, 166.0, 1.0, "a Sunday evening")
    assert repeat_weekly_plan(np.arange(HOURS_PER_WEEK), arrivals).tolist() == [166, 167, 0, 1]


def test_an_archive_is_averaged_over_the_hours_in_which_it_is_sent_and_comes_once():
    archive = make_archive_arrivals(1000, 10 * 3600.0)  # sent in nine hours
    average = average_requests_by_hour_of_week(archive)
    assert average[:9] == pytest.approx(1000 / 9, abs=1)
    plan = compute_containers_by_hour(average, 0.2)
    assert np.flatnonzero(repeat_weekly_plan(plan, archive)).tolist()[-1] <= 9
    after = repeat_weekly_plan(plan, archive, after_archive=1)
    assert (after > 0).all()


def test_settings_are_what_terraform_and_sagemaker_take(clinic):
    policy = fit_policy_to_traffic("provisioned", clinic, busy_s=0.2, idle_s=IDLE_S)
    variables = make_serverless_terraform_variables(2048, policy, peak_concurrency=4, headroom=0.3)
    assert hosting_config.validate_python(variables["endpoint"]).max_concurrency == 6
    assert variables["endpoint"]["provisioned_concurrency"] == 1
    assert "provisioned_scaling" not in variables["endpoint"]  # always one
    assert variables["allow_always_on"] is True
    nothing = fit_policy_to_traffic("nothing", clinic, busy_s=0.2, idle_s=IDLE_S)
    variables = make_serverless_terraform_variables(
        1024, nothing, peak_concurrency=500, headroom=0.3
    )
    assert hosting_config.validate_python(variables["endpoint"]).max_concurrency == 200
    assert variables["allow_always_on"] is False
    assert hosting_config.validate_python(
        make_real_time_terraform_variables("ml.m5.xlarge", 2)["endpoint"]
    )


def test_provisioned_containers_are_scheduled_where_their_number_changes():
    busy = Traffic(requests_per_month=2_000_000, shape=SHAPES["working-hours"])
    policy = fit_policy_to_traffic(
        "provisioned", busy.arrivals(1, weeks=1), busy_s=0.2, idle_s=IDLE_S
    )
    steady = replace(
        policy,
        containers_by_hour=tuple(4 if 8 <= at % 24 < 18 and at < 120 else 1 for at in range(168)),
    )
    variables = make_serverless_terraform_variables(2048, steady, peak_concurrency=3, headroom=0.3)[
        "endpoint"
    ]
    assert variables["provisioned_scaling"] == {
        "min_capacity": 1,
        "max_capacity": 4,
        "schedules": {
            "at-08-hold-4": {
                "schedule": "cron(0 8 ? * MON,TUE,WED,THU,FRI *)",
                "min_capacity": 4,
                "max_capacity": 4,
            },
            "at-18-hold-1": {
                "schedule": "cron(0 18 ? * MON,TUE,WED,THU,FRI *)",
                "min_capacity": 1,
                "max_capacity": 1,
            },
        },
    }
    assert min(policy.containers_by_hour) == 1


def test_a_schedule_is_given_in_stretches_of_a_day(clinic):
    stretches = list_daily_container_periods(
        fit_policy_to_traffic("keep-warm", clinic, busy_s=0.2, idle_s=IDLE_S)
    )
    assert [stretch["day"] for stretch in stretches] == [
        *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    ]
    opening = [hour for hour in range(24) if SHAPES["clinic"].by_hour[hour] > 0]
    assert all(stretch["from_hour"] == opening[0] for stretch in stretches)

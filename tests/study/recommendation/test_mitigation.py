"""Policies against cold starts: what each does, and that none of them knows the future."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.hosting.sagemaker import endpoint_config
from drdeploy.study.recommendation.mitigation.comparison import SimulatedPolicy, compare
from drdeploy.study.recommendation.mitigation.demand import (
    containers_for,
    forecast_by_hour,
    repeat_weekly,
    weekly_profile,
)
from drdeploy.study.recommendation.mitigation.histogram import BINS, IdleTimes, keep_warm_moments
from drdeploy.study.recommendation.mitigation.policies import POLICIES, make_policy
from drdeploy.study.recommendation.mitigation.settings import (
    real_time_variables,
    serverless_variables,
    weekly_schedule,
)
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.simulation.service import ServiceTimes, Times
from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_WEEK, SHAPES

IDLE_S = 600.0
SERVICE = ServiceTimes(
    Times(np.full(5, 0.3), np.full(5, 0.2)), Times(np.full(5, 12.0), np.full(5, 11.0))
)


@pytest.fixture(scope="module")
def clinic():
    return Traffic(requests_per_month=800).arrivals(3, weeks=12)


def simulated(name, arrivals):
    policy = make_policy(name, arrivals, busy_s=0.2, idle_s=IDLE_S)
    outcome = simulate_serverless(
        arrivals, SERVICE, SimulatedScaling(200, IDLE_S), policy.actions, seed=1
    )
    usd = 1.0 + outcome.on_demand_s * 1e-4
    return SimulatedPolicy(policy, outcome.summary(), arrivals.months, usd)


@pytest.fixture(scope="module")
def all_simulated(clinic):
    return {name: simulated(name, clinic) for name in POLICIES}


@pytest.mark.parametrize("name", POLICIES[1:])
def test_every_policy_avoids_cold_starts_in_a_clinic(all_simulated, name):
    nothing = all_simulated["nothing"].simulated.cold_share
    assert all_simulated[name].simulated.cold_share < 0.6 * nothing


def test_keep_warm_requests_in_opening_hours_leave_hardly_a_cold_start(all_simulated):
    assert all_simulated["keep-warm"].simulated.cold_share < 0.01


def test_the_best_is_the_cheapest_that_is_quick_enough(all_simulated):
    found = compare(list(all_simulated.values()), p95_s=1.0)
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
    assert compare(list(costly.values()), p95_s=60.0).best == "nothing"


def test_an_unknown_cost_is_reported_and_never_wins(all_simulated):
    nothing, warm = all_simulated["nothing"], all_simulated["keep-warm"]
    unpriced = SimulatedPolicy(warm.policy, warm.simulated, warm.months, None, "No price is known.")
    found = compare([nothing, unpriced], p95_s=1.0)
    assert found.lines[1].usd is None
    assert found.lines[1].usd_per_avoided is None
    assert found.lines[1].note == "No price is known."
    assert found.best == "nothing"


def test_a_forecast_knows_nothing_of_the_week_to_come(clinic):
    whole = forecast_by_hour(clinic)
    until = 5 * HOURS_PER_WEEK * 3600.0
    past = clinic.times_s[clinic.times_s < until]
    cut = Arrivals(past, until, 0.0, clinic.requests_per_month, "the past")
    known = forecast_by_hour(cut)
    assert np.allclose(whole[: 5 * HOURS_PER_WEEK], known)
    assert (whole[:HOURS_PER_WEEK] == 0).all()
    assert np.corrcoef(whole[HOURS_PER_WEEK:], np.tile(weekly_profile(clinic), 11))[0, 1] > 0.8


@settings(max_examples=60, deadline=None)
@given(gaps=st.lists(st.floats(1.0, 20_000.0), min_size=3, max_size=80), cut=st.integers(2, 60))
def test_the_histogram_knows_nothing_of_what_is_to_come(gaps, cut):
    times = np.cumsum(gaps)
    end = float(times[-1]) + 1
    moments = keep_warm_moments(times, 540.0, end)
    early = times[: min(cut, len(times))]
    known = keep_warm_moments(early, 540.0, float(early[-1]))
    assert np.allclose(moments[: known.size], known)
    assert (np.diff(moments) > 0).all()


def test_a_histogram_of_regular_idle_times_narrows_the_window():
    idle = IdleTimes()
    assert idle.window_s() == (0.0, BINS * 60.0)
    idle.add(np.full(200, 3600.0))
    head, tail = idle.window_s()
    assert 0.8 * 3600 < head <= 3600 < tail < 1.2 * 3600
    idle.add(np.full(400, 1e6))
    assert idle.window_s() == (0.0, BINS * 60.0)


def test_containers_grow_with_demand_and_quiet_hours_have_none():
    assert containers_for(np.array([0.0, 10.0, 1e6]), 0.2).tolist()[:2] == [0, 1]
    assert containers_for(np.array([1e6]), 0.2)[0] > 1e6 * 0.2 / 3600


def test_a_week_is_laid_over_a_horizon_that_begins_in_its_middle():
    arrivals = Arrivals(np.array([1.0]), 4 * 3600.0, 166.0, 1.0, "a Sunday evening")
    assert repeat_weekly(np.arange(HOURS_PER_WEEK), arrivals).tolist() == [166, 167, 0, 1]


def test_settings_are_what_terraform_and_sagemaker_take(clinic):
    policy = make_policy("provisioned", clinic, busy_s=0.2, idle_s=IDLE_S)
    variables = serverless_variables(2048, policy, peak_concurrency=4, headroom=0.3)
    assert endpoint_config.validate_python(variables["endpoint"]).max_concurrency == 6
    assert variables["endpoint"]["provisioned_concurrency"] == 1
    assert "provisioned_scaling" not in variables["endpoint"]  # always one
    assert variables["allow_always_on"] is True
    nothing = make_policy("nothing", clinic, busy_s=0.2, idle_s=IDLE_S)
    variables = serverless_variables(1024, nothing, peak_concurrency=500, headroom=0.3)
    assert endpoint_config.validate_python(variables["endpoint"]).max_concurrency == 200
    assert variables["allow_always_on"] is False
    assert endpoint_config.validate_python(real_time_variables("ml.m5.xlarge", 2)["endpoint"])


def test_provisioned_containers_are_scheduled_where_their_number_changes():
    busy = Traffic(requests_per_month=2_000_000, shape=SHAPES["working-hours"])
    policy = make_policy("provisioned", busy.arrivals(1, weeks=1), busy_s=0.2, idle_s=IDLE_S)
    steady = replace(
        policy,
        containers_by_hour=tuple(4 if 8 <= at % 24 < 18 and at < 120 else 1 for at in range(168)),
    )
    variables = serverless_variables(2048, steady, peak_concurrency=3, headroom=0.3)["endpoint"]
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
    stretches = weekly_schedule(make_policy("keep-warm", clinic, busy_s=0.2, idle_s=IDLE_S))
    assert [stretch["day"] for stretch in stretches] == [
        *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    ]
    opening = [hour for hour in range(24) if SHAPES["clinic"].by_hour[hour] > 0]
    assert all(stretch["from_hour"] == opening[0] for stretch in stretches)

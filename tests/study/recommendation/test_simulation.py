"""The simulation keeps its invariants, and agrees with closed formulas where there are any."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queueing import erlang_c, mean_waiting_s, share_waiting_longer

from drdeploy.errors import AnalysisError
from drdeploy.hosting.local.endpoints.pool import ConcurrencyLimitReached
from drdeploy.hosting.local.endpoints.serverless_pool import PoolScaling, ServerlessPool
from drdeploy.study.recommendation.mitigation.policies import (
    REFUSED_AT_MOST,
    compute_fewest_workers_for_load,
    erlang_b_blocking_probability,
)
from drdeploy.study.recommendation.simulation.outcome import SimulatedStart, compute_billed_s
from drdeploy.study.recommendation.simulation.real_time import (
    compute_waiting_time_of_each_request_s,
    simulate_real_time,
)
from drdeploy.study.recommendation.simulation.serverless import (
    MitigationActions,
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.simulation.service import RowTimes, ServiceTimes
from drdeploy.study.recommendation.traffic import Arrivals

WARM_S, COLD_S = 0.25, 2.0


def arrivals_at(times, horizon_s=None):
    times = np.asarray(times, float)
    horizon = horizon_s or float(times[-1]) + 1
    return Arrivals(times, horizon, 0.0, float(times.size), "a test")


def poisson(rate_per_s, n, seed):
    rng = np.random.default_rng(seed)
    return arrivals_at(np.cumsum(rng.exponential(1 / rate_per_s, n)))


def constant(warm_s=WARM_S, cold_s=COLD_S):
    return ServiceTimes(
        RowTimes(np.array([warm_s]), np.array([warm_s])),
        RowTimes(np.array([cold_s]), np.array([cold_s])),
    )


def exponential(mean_s, n=200_000, seed=5):
    drawn = np.random.default_rng(seed).exponential(mean_s, n)
    return RowTimes(drawn, drawn)


random_traffic = st.lists(st.floats(0, 5_000), min_size=1, max_size=120).map(sorted)
scalings = st.builds(SimulatedScaling, st.integers(1, 5), st.floats(0.5, 2_000))


@settings(max_examples=150, deadline=None)
@given(times=random_traffic, scaling=scalings, seed=st.integers(0, 1000), held=st.integers(0, 3))
def test_every_request_is_warm_cold_provisioned_or_refused(times, scaling, seed, held):
    actions = MitigationActions(provisioned_by_hour=np.array([held, 0]))
    outcome = simulate_serverless(arrivals_at(times), constant(), scaling, actions, seed=seed)
    assert (
        sum(outcome.count_requests_with_start(start) for start in SimulatedStart)
        == outcome.request_count
        == len(times)
    )
    refused = outcome.starts == SimulatedStart.THROTTLED
    assert np.isinf(outcome.latency_s[refused]).all()
    assert (outcome.busy_s[refused] == 0).all()
    assert outcome.compute_peak_concurrency() <= scaling.max_concurrency
    assert set(outcome.latency_s[~refused]) <= {WARM_S, COLD_S}
    seconds = outcome.on_demand_s + outcome.provisioned_duration_s
    assert seconds == pytest.approx(outcome.busy_s.sum())


@settings(max_examples=60, deadline=None)
@given(times=random_traffic, scaling=scalings, seed=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_outcome(times, scaling, seed):
    rng = np.random.default_rng(seed)
    sample = RowTimes(*np.sort(rng.random((2, 9)), axis=0)[::-1])
    service = ServiceTimes(sample, sample)
    one, other = (
        simulate_serverless(arrivals_at(times), service, scaling, seed=seed) for _ in range(2)
    )
    assert np.array_equal(one.latency_s, other.latency_s)
    assert np.array_equal(one.starts, other.starts)


@settings(max_examples=100, deadline=None)
@given(times=random_traffic, idle_s=st.floats(1, 500), seed=st.integers(0, 99))
def test_the_pool_without_expiry_events_agrees_with_one_that_has_them(times, idle_s, seed):
    """The other pool looks at containers one by one and removes each when its time is up."""
    outcome = simulate_serverless(
        arrivals_at(times), constant(), SimulatedScaling(3, idle_s), seed=seed
    )
    containers, expected = [], []  # when each container is free, or was freed
    for now in times:
        containers = [free for free in containers if free > now or now - free < idle_s]
        idle = [free for free in containers if free <= now]
        if idle:
            containers.remove(max(idle))
            expected.append(SimulatedStart.WARM)
        elif len(containers) < 3:
            expected.append(SimulatedStart.COLD)
        else:
            expected.append(SimulatedStart.THROTTLED)
            continue
        containers.append(now + (WARM_S if expected[-1] == SimulatedStart.WARM else COLD_S))
    assert [SimulatedStart(start) for start in outcome.starts] == expected


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self):
        return self.now


class Worker:
    """A worker of the local service's pool, with what the pool reads of one."""

    idle_since, setup_s = 0.0, COLD_S

    def is_usable(self):
        return True


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.floats(0, 3_000), min_size=1, max_size=60, unique=True).map(sorted),
    most=st.integers(1, 4),
    idle_s=st.floats(0.5, 900),
)
def test_the_rules_are_those_of_the_local_service(times, most, idle_s):
    """The service's own pool, with a clock that the test sets and containers that start at once."""
    clock = Clock()
    pool = ServerlessPool(
        PoolScaling(max_concurrency=most, provisioned=0, idle_s=idle_s),
        launch=Worker,
        trial=None,
        retire=lambda worker: None,
        clock=clock,
    )
    under_way, expected = [], []
    for number, now in enumerate(times):
        while under_way and under_way[0][0] <= now:
            clock.now, _, lease = heapq.heappop(under_way)
            pool.return_worker(lease, broken=False)
        clock.now = now
        try:
            lease = pool.lease_worker(5.0)
        except ConcurrencyLimitReached:
            expected.append(SimulatedStart.THROTTLED)
            continue
        is_cold = lease.setup_s is not None
        expected.append(SimulatedStart.COLD if is_cold else SimulatedStart.WARM)
        heapq.heappush(under_way, (now + (COLD_S if is_cold else WARM_S), number, lease))
    outcome = simulate_serverless(
        arrivals_at(times), constant(), SimulatedScaling(most, idle_s), seed=0
    )
    assert [SimulatedStart(start) for start in outcome.starts] == expected


@settings(max_examples=100, deadline=None)
@given(times=random_traffic, workers=st.integers(1, 4))
def test_nobody_waits_while_a_worker_is_free(times, workers):
    times, busy = np.array(times), np.full(len(times), 3.0)
    waits = compute_waiting_time_of_each_request_s(times, busy, workers)
    begins = times + waits
    assert (waits >= 0).all()
    for at in np.flatnonzero(waits > 1e-9):
        under_way = ((begins[:at] <= times[at]) & (begins[:at] + 3.0 > times[at])).sum()
        assert under_way == workers
    if len(times) <= workers:
        assert (waits == 0).all()


def test_a_first_request_is_cold_and_so_is_one_after_the_idle_time():
    outcome = simulate_serverless(
        arrivals_at([0, 100, 701, 800]), constant(), SimulatedScaling(5, 600.0), seed=0
    )
    assert outcome.starts.tolist() == [
        SimulatedStart.COLD,
        SimulatedStart.WARM,
        SimulatedStart.COLD,
        SimulatedStart.WARM,
    ]


def test_keep_warm_requests_keep_warm_and_are_billed():
    actions = MitigationActions(keep_warm_s=np.arange(0.0, 6000.0, 500.0))
    outcome = simulate_serverless(
        arrivals_at([1000.5, 5999.0]), constant(), SimulatedScaling(5, 600.0), actions, seed=0
    )
    assert outcome.make_summary().cold_share == 0
    assert outcome.keep_warm_requests == 12
    assert outcome.on_demand_s == pytest.approx(COLD_S + 13 * WARM_S)


def test_provisioned_containers_are_warm_from_the_first_request_on():
    actions = MitigationActions(provisioned_by_hour=np.array([2, 0]))
    outcome = simulate_serverless(
        arrivals_at([10.0, 10.1, 10.2, 4000.0]),
        constant(),
        SimulatedScaling(5, 600.0),
        actions,
        seed=0,
    )
    expected = [
        SimulatedStart.PROVISIONED,
        SimulatedStart.PROVISIONED,
        SimulatedStart.COLD,
        SimulatedStart.COLD,
    ]
    assert outcome.starts.tolist() == expected
    assert outcome.provisioned_held_s == 2 * 3600
    assert outcome.provisioned_duration_s == 2 * WARM_S


def test_without_cold_rows_a_serverless_endpoint_cannot_be_simulated():
    with pytest.raises(AnalysisError, match="cold"):
        simulate_serverless(
            arrivals_at([1.0]), ServiceTimes(constant().warm), SimulatedScaling(1, 1.0), seed=0
        )


def test_invocations_are_billed_by_the_millisecond_rounded_up():
    assert compute_billed_s(np.array([0.0101, 0.010, 0.0])) == pytest.approx(0.021)


@pytest.mark.parametrize(("rate_per_s", "workers"), [(1.6, 1), (3.0, 2), (7.5, 4)])
def test_waiting_agrees_with_erlang_c(rate_per_s, workers):
    service_s = 0.4
    arrivals = poisson(rate_per_s, 400_000, seed=workers)
    waits = simulate_real_time(arrivals, exponential(service_s), workers, seed=3).waiting_s
    assert waits.mean() == pytest.approx(mean_waiting_s(rate_per_s, service_s, workers), rel=0.08)
    expected = erlang_c(rate_per_s * service_s, workers)
    assert (waits > 0).mean() == pytest.approx(expected, abs=0.02)
    longer = share_waiting_longer(0.5, rate_per_s=rate_per_s, service_s=service_s, workers=workers)
    assert (waits > 0.5).mean() == pytest.approx(longer, abs=0.02)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_refusals_agree_with_erlang_b(most):
    times = exponential(1.0)
    outcome = simulate_serverless(
        poisson(2.0, 300_000, seed=most),
        ServiceTimes(times, times),
        SimulatedScaling(most, 1e9),
        seed=4,
    )
    assert outcome.make_summary().throttled_share == pytest.approx(
        erlang_b_blocking_probability(2.0, most), abs=0.01
    )


def test_the_fewest_workers_that_refuse_few_enough():
    workers = compute_fewest_workers_for_load(3.0)
    assert (
        erlang_b_blocking_probability(3.0, workers)
        <= REFUSED_AT_MOST
        < erlang_b_blocking_probability(3.0, workers - 1)
    )

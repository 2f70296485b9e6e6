"""Simulate instances whose number changes by the hour or by autoscaling, and batch transform jobs.

Autoscaling follows the alarms of a target-tracking policy (Application Auto Scaling user guide,
"Target tracking scaling policies"). Instances are added after 3 minutes above the target, and
removed after 15 minutes below 90 % of the target.

If an endpoint has no instances, an alarm starts the first one. The developer guide's alarm for an
asynchronous endpoint needs two periods of 60 s with waiting requests ("Autoscale an asynchronous
endpoint"). The alarm for an inference component needs one period of 30 s in which calls failed
("Scale an endpoint to zero instances"), and is simulated as one minute. To add further instances,
the developer guide uses step scaling. The simulation uses the rules of target tracking for these
instances, too.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.recommendation.simulation.outcome import SimulatedStart, SimulationOutcome
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.study.recommendation.simulation.service import RowTimes
    from drdeploy.study.recommendation.traffic import Arrivals

BUSY_MINUTES, QUIET_MINUTES, QUIET_SHARE = 3, 15, 0.9
WAKE_MINUTES, WAKE_MINUTES_WITH_QUEUE = 1, 2


@dataclass(frozen=True, eq=False)
class InstanceCounts:
    """How many instances can answer requests at each time.

    Attributes:
        at_s: The times at which the number changes, in ascending order.
        ready: The number of instances from each of these times on. Before the first time, there
            are no instances.
        billed_s: The billed seconds, summed over instances. The time that an instance needs to
            start is billed, too.
    """

    at_s: Floats
    ready: NDArray[np.int64]
    billed_s: float


@dataclass(frozen=True)
class InstanceScaling:
    """The rules by which autoscaling changes the number of instances of an endpoint.

    Attributes:
        fewest: The smallest number of instances; with 0, an idle endpoint has none.
        most: The largest number of instances.
        target_per_minute: The number of requests that each instance should answer in a minute.
        start_s: The time until a started instance answers.
        has_queue: Whether requests wait in a queue. With a queue, autoscaling follows the length of
            the queue instead of the number of requests.
        headroom: The share of an instance's time that the target leaves free.
    """

    fewest: int
    most: int
    target_per_minute: float
    start_s: float
    has_queue: bool = False
    headroom: float = 0.0

    @property
    def answers_per_minute(self) -> float:
        """The number of requests that an instance answers in a minute if it works all the time."""
        return self.target_per_minute / (1 - self.headroom)


def count_instances_by_hour(by_hour: NDArray[np.int64], start_s: float) -> InstanceCounts:
    """Return the number of instances over time, given a number for each hour.

    An instance is started before its first hour, so that it can answer when the hour begins.
    """
    changes = np.flatnonzero(np.diff(by_hour, prepend=0))
    started = np.maximum(np.diff(by_hour, prepend=0), 0).sum()
    return InstanceCounts(
        at_s=np.asarray(changes * float(SECONDS_PER_HOUR), dtype=np.float64),
        ready=by_hour[changes],
        billed_s=float(by_hour.sum()) * SECONDS_PER_HOUR + float(started) * start_s,
    )


def count_instances_by_load(arrivals: Arrivals, scaling: InstanceScaling) -> InstanceCounts:
    """Return the number of instances that autoscaling sets in each minute."""
    minutes = ceil(arrivals.horizon_s / SECONDS_PER_MINUTE) + 1
    counted = np.bincount(
        (arrivals.times_s // SECONDS_PER_MINUTE).astype(np.int64), minlength=minutes
    )
    busy_minutes = [*np.flatnonzero(counted).tolist(), minutes]
    per_minute = counted.tolist()
    start = max(ceil(scaling.start_s / SECONDS_PER_MINUTE), 1)
    state = _ScalingState(ready=scaling.fewest)
    changes: list[tuple[float, int]] = [(0.0, scaling.fewest)]
    billed = minute = 0
    # After the last arrival, the rest of the queue is answered. The limit ends the simulation of an
    # endpoint that would never answer all of it.
    while minute < len(per_minute) or (state.backlog > 0 and minute < 2 * len(per_minute)):
        state.let_started_instances_answer(minute)
        if state.ready != changes[-1][1]:
            changes.append((float(minute * SECONDS_PER_MINUTE), state.ready))
        arrived = per_minute[minute] if minute < len(per_minute) else 0
        if not arrived and state.is_at_rest(scaling):
            # Nothing changes until the next arrival, so quiet minutes are skipped. Most of a year
            # is nights and weekends.
            until = busy_minutes[bisect_left(busy_minutes, minute)]
            billed += scaling.fewest * (until - minute)
            minute = until
            continue
        load = state.take_load_of_minute(arrived, scaling)
        state.start_or_stop_instances(load, minute, start, scaling)
        billed += state.ready + state.starting
        minute += 1
    at_s, ready = zip(*changes, strict=True)
    return InstanceCounts(
        np.array(at_s), np.array(ready, dtype=np.int64), float(billed * SECONDS_PER_MINUTE)
    )


class _ScalingState:
    """The state of autoscaling, which changes every minute."""

    def __init__(self, ready: int) -> None:
        self.ready = ready
        self.starting = 0
        self.backlog = 0.0
        self._starts: list[tuple[int, int]] = []
        self._busy = self._quiet = 0

    def is_at_rest(self, scaling: InstanceScaling) -> bool:
        return self.ready == scaling.fewest and not self.starting and not self.backlog

    def let_started_instances_answer(self, minute: int) -> None:
        while self._starts and self._starts[0][0] <= minute:
            _, instances = self._starts.pop(0)
            self.starting -= instances
            self.ready += instances

    def take_load_of_minute(self, arrived: int, scaling: InstanceScaling) -> float:
        if not scaling.has_queue:
            return float(arrived)
        waiting = self.backlog + arrived
        # An instance does not pause while requests wait: it uses the headroom, too.
        self.backlog = max(waiting - self.ready * scaling.answers_per_minute, 0.0)
        return waiting

    def start_or_stop_instances(
        self, load: float, minute: int, start: int, scaling: InstanceScaling
    ) -> None:
        many = self.ready + self.starting
        if not many:
            self._quiet = 0
            if load:
                wake = WAKE_MINUTES_WITH_QUEUE if scaling.has_queue else WAKE_MINUTES
                self._start_instances(1, minute + wake + start)
            return
        if not self.ready:
            return
        each = load / self.ready
        self._busy = self._busy + 1 if each > scaling.target_per_minute else 0
        self._quiet = self._quiet + 1 if each < QUIET_SHARE * scaling.target_per_minute else 0
        needed = ceil(load / scaling.target_per_minute)
        if self._busy >= BUSY_MINUTES and many < scaling.most:
            self._start_instances(min(needed, scaling.most) - many, minute + start)
        elif self._quiet >= QUIET_MINUTES and not self.starting:
            self.ready = max(min(needed, self.ready), scaling.fewest)
            self._quiet = 0

    def _start_instances(self, instances: int, ready_at: int) -> None:
        if instances > 0:
            self._starts.append((ready_at, instances))
            self.starting += instances
            self._busy = 0


def simulate_changing_instances(
    arrivals: Arrivals,
    times: RowTimes,
    counts: InstanceCounts,
    requests_at_once: int,
    *,
    seed: int,
    has_queue: bool,
    answered_within_s: float = inf,
) -> SimulationOutcome:
    """Simulate arrivals on instances whose number changes.

    Args:
        arrivals: The arrivals of the traffic.
        times: The measured times, from which each request draws one row.
        counts: The number of instances over time.
        requests_at_once: The number of requests that an instance handles at once.
        seed: The seed of the draws; the same seed always gives the same outcome.
        has_queue: Whether a request waits if there is no instance; otherwise the request fails.
        answered_within_s: The longest time that a request may take, including waiting. After this
            time, AWS ends the request without an answer.
    """
    rows = np.random.default_rng((seed, 0)).integers(
        0, times.row_count, arrivals.n, dtype=np.uint32
    )
    busy, total = times.busy_s[rows], times.total_s[rows]
    fails = np.zeros(arrivals.n, dtype=bool)
    if not has_queue:
        at = np.searchsorted(counts.at_s, arrivals.times_s, side="right") - 1
        fails = np.where(at >= 0, counts.ready[at], 0) == 0
    waiting = np.full(arrivals.n, inf)
    waiting[~fails] = compute_waits_for_changing_workers_s(
        arrivals.times_s[~fails],
        busy[~fails],
        counts.at_s,
        counts.ready * requests_at_once,
    )
    # A request is never answered if no instance is left for it, or if AWS gives up the request
    # first.
    never = ~np.isfinite(waiting) | (waiting + busy > answered_within_s)
    starts = np.where(never, SimulatedStart.THROTTLED, SimulatedStart.WARM).astype(np.uint8)
    return SimulationOutcome(
        times_s=arrivals.times_s,
        latency_s=np.where(never, inf, waiting + total),
        waiting_s=np.where(never, 0.0, waiting),
        busy_s=np.where(never, 0.0, busy),
        starts=starts,
    )


def compute_waits_for_changing_workers_s(
    times_s: Floats, busy_s: Floats, at_s: Floats, workers: NDArray[np.int64]
) -> Floats:
    """Return how long each request waits in one queue for workers whose number changes.

    A worker that is removed finishes its current request first. If no worker is left for a request,
    its waiting time is infinite.
    """
    free_at: list[float] = []
    changes = [*zip(at_s.tolist(), workers.tolist(), strict=True), (inf, 0)]
    done, have = 0, 0
    next_at, next_many = changes[0]
    waits = []
    for now, busy in zip(times_s.tolist(), busy_s.tolist(), strict=True):
        begin = max(now, free_at[0]) if free_at else inf
        # If the number of workers changes before the request begins, it may begin earlier or later.
        while next_at <= begin and next_at < inf:
            for _ in range(next_many - have):
                heappush(free_at, next_at)
            for _ in range(have - next_many):
                heappop(free_at)
            have = next_many
            done += 1
            next_at, next_many = changes[done]
            begin = max(now, free_at[0]) if free_at else inf
        if begin < inf:
            heapreplace(free_at, begin + busy)
        waits.append(begin - now)
    return np.asarray(waits, dtype=np.float64)


@dataclass(frozen=True)
class BatchPlan:
    """How often batch transform jobs start, and on how many instances each runs.

    Attributes:
        interval_s: The time between the starts of two jobs.
        instances: The number of instances of each job.
    """

    interval_s: float
    instances: int


BATCH_HOURS = (24, 12, 8, 6, 4, 3, 2, 1)
MOST_BATCH_INSTANCES = 64


def choose_batch_plan(
    arrivals: Arrivals, times: RowTimes, may_wait_s: float | None, start_s: float, at_once: int
) -> BatchPlan:
    """Choose how often batch transform jobs start, and on how many instances they run.

    The function tries the intervals in :data:`BATCH_HOURS` with 1, 2, 4 and so on up to
    :data:`MOST_BATCH_INSTANCES` instances. A plan is fast enough if every result comes within
    ``may_wait_s``. Of the plans that are fast enough, the function returns the plan with the fewest
    instances. If several have equally few, it returns the one with the fewest jobs. If no plan is
    fast enough, it returns the plan with the most jobs and the most instances. If ``may_wait_s`` is
    None, the plan is one job a day on one instance.
    """
    if may_wait_s is None:
        return BatchPlan(BATCH_HOURS[0] * float(SECONDS_PER_HOUR), 1)
    instances = 1
    while instances <= MOST_BATCH_INSTANCES:
        for hours in BATCH_HOURS:
            plan = BatchPlan(hours * float(SECONDS_PER_HOUR), instances)
            ends_s, _ = _compute_ends_of_batch_jobs(arrivals, times, plan, start_s, at_once)
            if float((ends_s - arrivals.times_s).max()) <= may_wait_s:
                return plan
        instances *= 2
    return BatchPlan(float(SECONDS_PER_HOUR), MOST_BATCH_INSTANCES)


def simulate_batch_jobs(
    arrivals: Arrivals, times: RowTimes, plan: BatchPlan, start_s: float, at_once: int, *, seed: int
) -> tuple[SimulationOutcome, float]:
    """Simulate batch transform jobs at equal intervals.

    Each job grades the photographs that arrived since the previous job. All its results come when
    the job ends.

    Returns:
        The outcome, and the billed seconds, summed over instances.
    """
    ends_s, billed_s = _compute_ends_of_batch_jobs(arrivals, times, plan, start_s, at_once)
    rows = np.random.default_rng((seed, 0)).integers(
        0, times.row_count, arrivals.n, dtype=np.uint32
    )
    busy = times.busy_s[rows]
    outcome = SimulationOutcome(
        times_s=arrivals.times_s,
        latency_s=ends_s - arrivals.times_s,
        waiting_s=np.maximum(ends_s - arrivals.times_s - times.total_s[rows], 0.0),
        busy_s=busy,
        starts=np.full(arrivals.n, SimulatedStart.WARM, dtype=np.uint8),
    )
    return outcome, billed_s


def _compute_ends_of_batch_jobs(
    arrivals: Arrivals, times: RowTimes, plan: BatchPlan, start_s: float, at_once: int
) -> tuple[Floats, float]:
    """Return the time at which each photograph's job ends, and the billed seconds of all jobs."""
    job = np.ceil(arrivals.times_s / plan.interval_s).astype(np.int64)
    photographs = np.bincount(job)
    workers = plan.instances * at_once
    # A job ends when its last instance has ended. Instances that start are not billed (API
    # reference, ``DescribeTransformJob``, ``TransformStartTime``).
    works_s = np.ceil(photographs / workers) * times.mean_busy_s
    ends_s = np.asarray(job * plan.interval_s + start_s + works_s[job], dtype=np.float64)
    return ends_s, float(works_s.sum()) * plan.instances

"""A serverless endpoint: a container for each request at once, gone when idle for too long.

The rules are those of the local service, which follows SageMaker: a request takes the container
that fell idle last; if none is idle, one is started (a cold start); beyond ``max_concurrency``
requests under way it is refused at once (nothing queues).  Provisioned containers are always warm
and taken first; beyond them the endpoint works on demand.  They are up when their hour begins.

Idle containers are taken in the opposite order in which they fell idle, so if the one that fell
idle last has expired, all have.  Hence no event for an expiry, and well below a microsecond for a
request.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError
from drdeploy.study.recommendation.simulation.outcome import (
    SimulatedStart,
    SimulationOutcome,
    billed_s,
)
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.simulation.service import ServiceTimes
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals

CHUNK = 500_000
"""Requests whose times are drawn at once; bounds the memory."""

_WARM, _COLD, _PROVISIONED, _THROTTLED = (int(start) for start in SimulatedStart)


@dataclass(frozen=True)
class SimulatedScaling:
    """How far the endpoint goes.

    Attributes:
        max_concurrency: Requests under way at once.
        idle_s: A container that waits longer for its next request is gone.
    """

    max_concurrency: int
    idle_s: float


@dataclass(frozen=True, eq=False)
class Measures:
    """What is done against cold starts.

    Attributes:
        keep_warm_s: Moments of keep-warm requests, ascending; each occupies a container, so
            several at one moment keep several warm.
        provisioned_by_hour: Provisioned containers of each hour of the horizon; empty for none.
    """

    keep_warm_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    provisioned_by_hour: NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )

    @property
    def are_none(self) -> bool:
        """Whether nothing is done at all."""
        return not self.keep_warm_s.size and not self.provisioned_by_hour.any()


@dataclass
class _Pool:
    """Ends of what is under way (heaps), and since when each idle container is idle (ascending)."""

    on_demand: list[float] = field(default_factory=list)
    provisioned: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


def simulate_serverless(
    arrivals: Arrivals,
    service: ServiceTimes,
    scaling: SimulatedScaling,
    measures: Measures | None = None,
    *,
    seed: int,
) -> SimulationOutcome:
    """Play arrivals on an endpoint that has no container yet.

    Raises:
        AnalysisError: There are no times of cold starts.
    """
    if service.cold is None:
        raise AnalysisError(
            "A serverless endpoint cannot be simulated without the times of its cold starts",
            remedy="Measure a cold scenario of the same configuration",
        )
    measures = measures or Measures()
    times = np.concatenate([arrivals.times_s, measures.keep_warm_s])
    order = np.argsort(times, kind="stable")
    times = times[order]
    warm = _drawn(service.warm.n, times.size, seed, stream=0)
    cold = _drawn(service.cold.n, times.size, seed, stream=1)
    starts = _play(
        times,
        service.warm.busy_s[warm],
        service.cold.busy_s[cold],
        scaling,
        measures.provisioned_by_hour,
    )
    is_cold, is_refused = starts == SimulatedStart.COLD, starts == SimulatedStart.THROTTLED
    latency = np.where(is_cold, service.cold.total_s[cold], service.warm.total_s[warm])
    busy = np.where(is_cold, service.cold.busy_s[cold], service.warm.busy_s[warm])
    latency[is_refused], busy[is_refused] = np.inf, 0.0
    on_demand = (starts == SimulatedStart.WARM) | is_cold
    theirs = order < arrivals.n
    return SimulationOutcome(
        times_s=times[theirs],
        latency_s=latency[theirs],
        waiting_s=np.zeros(arrivals.n),
        busy_s=busy[theirs],
        starts=starts[theirs],
        keep_warm_requests=int(measures.keep_warm_s.size),
        on_demand_s=billed_s(busy[on_demand]),
        provisioned_duration_s=billed_s(busy[starts == SimulatedStart.PROVISIONED]),
        provisioned_held_s=float(measures.provisioned_by_hour.sum()) * SECONDS_PER_HOUR,
    )


def _drawn(rows: int, n: int, seed: int, *, stream: int) -> NDArray[np.uint32]:
    rng = np.random.default_rng((seed, stream))
    return rng.integers(0, rows, n, dtype=np.uint32)


def _play(
    times: NDArray[np.float64],
    warm_s: NDArray[np.float64],
    cold_s: NDArray[np.float64],
    scaling: SimulatedScaling,
    provisioned_by_hour: NDArray[np.int64],
) -> NDArray[np.uint8]:
    pool, starts = _Pool(), bytearray()
    for begin, end, provisioned in _stretches(times, provisioned_by_hour):
        part = slice(begin, end)
        columns = (times[part].tolist(), warm_s[part].tolist(), cold_s[part].tolist())
        _serve(zip(*columns, strict=True), pool, starts, scaling, provisioned)
    return np.frombuffer(bytes(starts), dtype=np.uint8)


def _stretches(
    times: NDArray[np.float64], provisioned_by_hour: NDArray[np.int64]
) -> Iterator[tuple[int, int, int]]:
    """Slices with one number of provisioned containers, none longer than a chunk."""
    changes = np.flatnonzero(np.diff(provisioned_by_hour)) + 1
    at = np.searchsorted(times, changes * float(SECONDS_PER_HOUR), side="left")
    bounds = np.unique(np.concatenate([at, np.arange(0, times.size, CHUNK), [times.size]]))
    for begin, end in itertools.pairwise(bounds):
        held = 0
        if provisioned_by_hour.size:
            hour = min(int(times[begin] // SECONDS_PER_HOUR), provisioned_by_hour.size - 1)
            held = int(provisioned_by_hour[hour])
        yield int(begin), int(end), held


def _serve(
    requests: Iterable[tuple[float, float, float]],
    pool: _Pool,
    starts: bytearray,
    scaling: SimulatedScaling,
    provisioned: int,
) -> None:
    """One request after the other: the only loop, so plain names and no calls but the heaps'."""
    busy, held, idle = pool.on_demand, pool.provisioned, pool.idle
    idle_s, most = scaling.idle_s, scaling.max_concurrency
    for now, if_warm, if_cold in requests:
        while busy and busy[0] <= now:
            idle.append(heappop(busy))
        while held and held[0] <= now:
            heappop(held)
        if len(busy) + len(held) >= most:
            starts.append(_THROTTLED)
        elif len(held) < provisioned:
            heappush(held, now + if_warm)
            starts.append(_PROVISIONED)
        elif idle and now - idle[-1] < idle_s:
            idle.pop()
            heappush(busy, now + if_warm)
            starts.append(_WARM)
        else:
            idle.clear()
            heappush(busy, now + if_cold)
            starts.append(_COLD)

"""Simulate a serverless endpoint, on which each request in progress has its own container.

The rules are those of the local service, which follows SageMaker:

- A request goes to an idle provisioned container if there is one.  Provisioned containers are
  always warm, and are ready when their hour begins.
- If no provisioned container is idle, the request goes to the on-demand container that became idle
  last.
- If no container is idle, a new container is started, which is a cold start.
- If ``max_concurrency`` requests are already in progress, a request is refused, whatever the rules
  above say, because the endpoint has no queue.
- An on-demand container that is idle for too long is removed.
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
    compute_billed_s,
)
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.simulation.service import ServiceTimes
    from drdeploy.study.recommendation.traffic import Arrivals

CHUNK = 500_000
"""The number of requests whose times are converted from arrays to Python numbers at once. Python
numbers take four times the memory of arrays.
"""

_WARM, _COLD, _PROVISIONED, _THROTTLED = (int(start) for start in SimulatedStart)


@dataclass(frozen=True)
class SimulatedScaling:
    """The scaling limits of a serverless endpoint.

    Attributes:
        max_concurrency: The largest number of requests in progress at once.
        idle_s: The time after which an idle container is removed, in seconds.
    """

    max_concurrency: int
    idle_s: float


@dataclass(frozen=True, eq=False)
class MitigationActions:
    """What a policy against cold starts does during the simulation.

    Attributes:
        keep_warm_s: The times of keep-warm requests in ascending order. If several
            containers are kept warm, each time occurs once per container.
        provisioned_by_hour: The number of provisioned containers in each hour; empty if there are
            none.
    """

    keep_warm_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    provisioned_by_hour: NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )

    @property
    def is_empty(self) -> bool:
        """Whether the policy takes no action."""
        return not self.keep_warm_s.size and not self.provisioned_by_hour.any()


@dataclass
class _Pool:
    """The containers of a serverless endpoint.

    Attributes:
        on_demand: A heap of the times at which busy on-demand containers become idle.
        provisioned: A heap of the times at which busy provisioned containers become idle.
        idle: The times at which the idle on-demand containers became idle, in ascending order.
    """

    on_demand: list[float] = field(default_factory=list)
    provisioned: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


def simulate_serverless(
    arrivals: Arrivals,
    service: ServiceTimes,
    scaling: SimulatedScaling,
    actions: MitigationActions | None = None,
    *,
    seed: int,
) -> SimulationOutcome:
    """Simulate arrivals on a serverless endpoint that starts without containers.

    Raises:
        AnalysisError: ``service`` has no times of cold starts.
    """
    if service.cold is None:
        raise AnalysisError(
            "A serverless endpoint cannot be simulated without the times of its cold starts",
            remedy="Measure a cold scenario of the same configuration",
        )
    actions = actions or MitigationActions()
    times = np.concatenate([arrivals.times_s, actions.keep_warm_s])
    # The sort is stable, so that a client's request is served before a keep-warm request of the
    # same moment.
    order = np.argsort(times, kind="stable")
    times = times[order]
    # A warm and a cold row are drawn for every request, before it is known which one it needs. All
    # rows can then be drawn at once as arrays, and the loop contains only the steps that depend on
    # the order of time.
    warm = _draw_row_numbers(service.warm.row_count, times.size, seed, stream=0)
    cold = _draw_row_numbers(service.cold.row_count, times.size, seed, stream=1)
    starts = _simulate_start_of_each_request(
        times,
        service.warm.busy_s[warm],
        service.cold.busy_s[cold],
        scaling,
        actions.provisioned_by_hour,
    )
    is_cold, is_refused = starts == SimulatedStart.COLD, starts == SimulatedStart.THROTTLED
    latency = np.where(is_cold, service.cold.total_s[cold], service.warm.total_s[warm])
    busy = np.where(is_cold, service.cold.busy_s[cold], service.warm.busy_s[warm])
    # A refused request gets no answer. If refusals counted as fast, a full endpoint would look
    # good.
    latency[is_refused], busy[is_refused] = np.inf, 0.0
    on_demand = (starts == SimulatedStart.WARM) | is_cold
    # Keep-warm requests occupy containers and are billed, but nobody waits for their answers.
    theirs = order < arrivals.n
    return SimulationOutcome(
        times_s=times[theirs],
        latency_s=latency[theirs],
        waiting_s=np.zeros(arrivals.n),
        busy_s=busy[theirs],
        starts=starts[theirs],
        keep_warm_requests=int(actions.keep_warm_s.size),
        on_demand_s=compute_billed_s(busy[on_demand]),
        provisioned_duration_s=compute_billed_s(busy[starts == SimulatedStart.PROVISIONED]),
        provisioned_held_s=float(actions.provisioned_by_hour.sum()) * SECONDS_PER_HOUR,
    )


def _draw_row_numbers(rows: int, n: int, seed: int, *, stream: int) -> NDArray[np.uint32]:
    # Warm and cold rows have separate random streams, so that the drawn cold rows do not depend on
    # the warm ones.
    rng = np.random.default_rng((seed, stream))
    return rng.integers(0, rows, n, dtype=np.uint32)


def _simulate_start_of_each_request(
    times: NDArray[np.float64],
    warm_s: NDArray[np.float64],
    cold_s: NDArray[np.float64],
    scaling: SimulatedScaling,
    provisioned_by_hour: NDArray[np.int64],
) -> NDArray[np.uint8]:
    pool, starts = _Pool(), bytearray()
    for begin, end, provisioned in _slice_requests_by_provisioned_containers(
        times, provisioned_by_hour
    ):
        part = slice(begin, end)
        columns = (times[part].tolist(), warm_s[part].tolist(), cold_s[part].tolist())
        _serve_requests_and_append_starts(
            zip(*columns, strict=True), pool, starts, scaling, provisioned
        )
    return np.frombuffer(bytes(starts), dtype=np.uint8)


def _slice_requests_by_provisioned_containers(
    times: NDArray[np.float64], provisioned_by_hour: NDArray[np.int64]
) -> Iterator[tuple[int, int, int]]:
    """Split the requests so that the number of provisioned containers is constant in each part.

    Yields:
        The index of the first request, the index after the last request, and the number of
        provisioned containers.
    """
    changes = np.flatnonzero(np.diff(provisioned_by_hour)) + 1
    at = np.searchsorted(times, changes * float(SECONDS_PER_HOUR), side="left")
    bounds = np.unique(np.concatenate([at, np.arange(0, times.size, CHUNK), [times.size]]))
    for begin, end in itertools.pairwise(bounds):
        held = 0
        if provisioned_by_hour.size:
            hour = min(int(times[begin] // SECONDS_PER_HOUR), provisioned_by_hour.size - 1)
            held = int(provisioned_by_hour[hour])
        yield int(begin), int(end), held


def _serve_requests_and_append_starts(
    requests: Iterable[tuple[float, float, float]],
    pool: _Pool,
    starts: bytearray,
    scaling: SimulatedScaling,
    provisioned: int,
) -> None:
    """Serve one request after another, and append the kind of start of each request to ``starts``.

    The loop visits the requests in order of time. At each request, the containers that have become
    idle since the previous one are appended to the list ``idle``. The last container in this list
    is therefore the one that became idle last. If even this container has been idle for too long,
    all others have been, too, and the list is emptied. The loop is fast, because containers are
    not removed one by one.
    """
    # This is the only loop over requests. For speed, it uses local names, and calls only functions
    # of heaps and lists.
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

"""A real-time endpoint: requests wait in one queue for the next free worker.

SageMaker spreads requests over instances.  That the least busy instance gets the next request makes
one queue of all of theirs, which is what the local service does as well.
"""

from __future__ import annotations

from heapq import heapreplace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError
from drdeploy.study.recommendation.simulation.outcome import SimulatedStart, SimulationOutcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.simulation.service import Times
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals


def simulate_real_time(
    arrivals: Arrivals, times: Times, workers: int, *, seed: int
) -> SimulationOutcome:
    """Simulate arrivals on workers that serve one request each at a time, first come first served.

    Args:
        arrivals: Moments of the requests.
        times: Measured times to draw from.
        workers: Number of workers over all instances.
        seed: The same seed gives the same outcome.

    Raises:
        AnalysisError: There is no worker.
    """
    if workers < 1:
        raise AnalysisError("A real-time endpoint has at least one worker")
    rows = np.random.default_rng((seed, 0)).integers(0, times.n, arrivals.n, dtype=np.uint32)
    busy = times.busy_s[rows]
    waiting = waiting_s(arrivals.times_s, busy, workers)
    return SimulationOutcome(
        times_s=arrivals.times_s,
        latency_s=waiting + times.total_s[rows],
        waiting_s=waiting,
        busy_s=busy,
        starts=np.full(arrivals.n, SimulatedStart.WARM, dtype=np.uint8),
    )


def waiting_s(
    times_s: NDArray[np.float64], busy_s: NDArray[np.float64], workers: int
) -> NDArray[np.float64]:
    """Waiting time of each request in one queue before the workers (Kiefer and Wolfowitz 1955).

    The heap holds when each worker is free again; the next request takes the first of them.
    """
    # All workers are free at first, which is a valid heap.
    free_at = [0.0] * workers
    waits = []
    for now, busy in zip(times_s.tolist(), busy_s.tolist(), strict=True):
        begin = max(now, free_at[0])
        heapreplace(free_at, begin + busy)
        waits.append(begin - now)
    return np.asarray(waits, dtype=np.float64)

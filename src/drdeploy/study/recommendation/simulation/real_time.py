"""Simulate a real-time endpoint, whose requests wait in one queue for the next free worker.

SageMaker and the local service send each request to the least busy instance. A request therefore
waits as long as if all instances shared one queue.
"""

from __future__ import annotations

from heapq import heapreplace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError
from drdeploy.study.recommendation.simulation.outcome import SimulatedStart, SimulationOutcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.simulation.service import RowTimes
    from drdeploy.study.recommendation.traffic import Arrivals


def simulate_real_time(
    arrivals: Arrivals,
    times: RowTimes,
    workers: int,
    *,
    seed: int,
    answered_within_s: float = inf,
) -> SimulationOutcome:
    """Simulate arrivals on workers that each serve one request at a time, in order of arrival.

    Args:
        arrivals: The arrivals of the traffic.
        times: The measured times. For each request, one measured row is drawn at random.
        workers: The total number of workers on all instances.
        seed: The seed of the draws; the same seed always gives the same outcome.
        answered_within_s: The longest time that a request may take, including waiting. After this
            time, AWS ends the request without an answer.

    Raises:
        AnalysisError: The number of workers is below 1.
    """
    if workers < 1:
        raise AnalysisError("A real-time endpoint needs at least one worker")
    rows = np.random.default_rng((seed, 0)).integers(
        0, times.row_count, arrivals.n, dtype=np.uint32
    )
    busy = times.busy_s[rows]
    waiting = compute_waiting_time_of_each_request_s(arrivals.times_s, busy, workers)
    never = waiting + busy > answered_within_s
    return SimulationOutcome(
        times_s=arrivals.times_s,
        latency_s=np.where(never, inf, waiting + times.total_s[rows]),
        waiting_s=np.where(never, 0.0, waiting),
        busy_s=np.where(never, 0.0, busy),
        starts=np.where(never, SimulatedStart.THROTTLED, SimulatedStart.WARM).astype(np.uint8),
    )


def compute_waiting_time_of_each_request_s(
    times_s: NDArray[np.float64], busy_s: NDArray[np.float64], workers: int
) -> NDArray[np.float64]:
    """Return the waiting time of each request in one queue (Kiefer and Wolfowitz 1955).

    Each request goes to the worker that becomes free first. A heap holds the times at which the
    workers become free.
    """
    # All workers are free at first; equal times are a valid heap.
    free_at = [0.0] * workers
    waits = []
    for now, busy in zip(times_s.tolist(), busy_s.tolist(), strict=True):
        begin = max(now, free_at[0])
        heapreplace(free_at, begin + busy)
        waits.append(begin - now)
    return np.asarray(waits, dtype=np.float64)

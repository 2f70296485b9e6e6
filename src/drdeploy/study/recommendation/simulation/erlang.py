"""Closed formulas for queues with Poisson arrivals and exponential service times (Erlang 1917).

In the notation of Kendall: M/M/c/c has c workers and refuses whoever finds all of them busy, as a
serverless endpoint does; M/M/c lets them wait, as a real-time endpoint does.

>>> round(erlang_c(load=2.0, workers=3), 4)
0.4444
"""

from __future__ import annotations

from math import exp

from drdeploy.errors import AnalysisError


def erlang_b(load: float, workers: int) -> float:
    """Probability that a request finds every worker busy and is refused (M/M/c/c).

    Args:
        load: Arrival rate times mean service time, in Erlang.
        workers: Number of workers, at least 1.
    """
    # The recursion over workers avoids the factorials of the textbook's formula, which overflow.
    blocked = 1.0
    for worker in range(1, workers + 1):
        blocked = load * blocked / (worker + load * blocked)
    return blocked


def erlang_c(load: float, workers: int) -> float:
    """Probability that a request waits (M/M/c).

    Raises:
        AnalysisError: The load is not below the number of workers, so the queue grows for ever.
    """
    if load >= workers:
        raise AnalysisError(f"{workers} workers cannot carry a load of {load:g} Erlang")
    refused = erlang_b(load, workers)
    return refused / (1 - load / workers * (1 - refused))


def mean_waiting_s(rate_per_s: float, service_s: float, workers: int) -> float:
    """Mean waiting time over all requests (M/M/c)."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * service_s / (workers - load)


def share_waiting_longer(
    than_s: float, *, rate_per_s: float, service_s: float, workers: int
) -> float:
    """Share of requests that wait longer than ``than_s`` (M/M/c)."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * exp(-(workers - load) * than_s / service_s)


def workers_for(load: float, *, refused_at_most: float) -> int:
    """Smallest number of workers that refuse at most that share of requests (M/M/c/c)."""
    workers = 1
    while erlang_b(load, workers) > refused_at_most:
        workers += 1
    return workers

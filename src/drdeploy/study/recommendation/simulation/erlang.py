"""Closed forms for Poisson arrivals and exponential service (Erlang 1917).

>>> round(erlang_c(load=2.0, workers=3), 4)
0.4444
"""

from __future__ import annotations

from math import exp

from drdeploy.errors import AnalysisError


def erlang_b(load: float, workers: int) -> float:
    """Probability that a request finds every worker busy, where it is then refused (M/M/c/c).

    Args:
        load: Arrival rate times mean service time, in Erlang.
        workers: At least 1.
    """
    blocked = 1.0
    for worker in range(1, workers + 1):
        blocked = load * blocked / (worker + load * blocked)
    return blocked


def erlang_c(load: float, workers: int) -> float:
    """Probability that a request waits (M/M/c).

    Raises:
        AnalysisError: The load is not below the number of workers: the line grows for ever.
    """
    if load >= workers:
        raise AnalysisError(f"{workers} workers cannot carry a load of {load:g} Erlang")
    refused = erlang_b(load, workers)
    return refused / (1 - load / workers * (1 - refused))


def mean_waiting_s(rate_per_s: float, service_s: float, workers: int) -> float:
    """Mean waiting over all requests (M/M/c)."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * service_s / (workers - load)


def share_waiting_longer(
    than_s: float, *, rate_per_s: float, service_s: float, workers: int
) -> float:
    """Share of requests that wait longer than a time (M/M/c)."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * exp(-(workers - load) * than_s / service_s)


def workers_for(load: float, *, refused_at_most: float) -> int:
    """Fewest workers that refuse no larger a share (M/M/c/c)."""
    workers = 1
    while erlang_b(load, workers) > refused_at_most:
        workers += 1
    return workers

"""Closed formulas of a queue that lets requests wait (M/M/c, Erlang 1917), for the simulation.

>>> round(erlang_c(load=2.0, workers=3), 4)
0.4444
"""

from math import exp

from drdeploy.study.recommendation.mitigation.policies import erlang_b_blocking_probability


def erlang_c(load: float, workers: int) -> float:
    """Probability that a request waits, for a load below the number of workers."""
    refused = erlang_b_blocking_probability(load, workers)
    return refused / (1 - load / workers * (1 - refused))


def mean_waiting_s(rate_per_s: float, service_s: float, workers: int) -> float:
    """Mean waiting time over all requests."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * service_s / (workers - load)


def share_waiting_longer(
    than_s: float, *, rate_per_s: float, service_s: float, workers: int
) -> float:
    """Share of requests that wait longer than ``than_s``."""
    load = rate_per_s * service_s
    return erlang_c(load, workers) * exp(-(workers - load) * than_s / service_s)

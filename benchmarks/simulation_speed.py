"""How long a country's screening programme takes to simulate: ten million photographs in a year.

One core, working hours, four photographs per patient.  For each kind of endpoint: the time to draw
a year of arrivals, to play it, and to tell the percentile; medians and ranges of several runs,
interleaved.

    python benchmarks/simulation_speed.py [RUNS]
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

from drdeploy.study.recommendation.simulation.real_time import simulate_real_time
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.simulation.service import ServiceTimes, Times
from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
from drdeploy.study.recommendation.traffic.shape import SHAPES

REQUESTS_PER_YEAR = 10_000_000
WEEKS = 52


def service_times() -> ServiceTimes:
    """A made-up configuration: warm 0.35 s, cold 12 s."""
    rng = np.random.default_rng(1)
    warm, cold = rng.lognormal(np.log(0.35), 0.2, 25), rng.lognormal(np.log(12.0), 0.1, 10)
    return ServiceTimes(Times(warm, warm), Times(cold, cold))


def year(seed: int) -> Arrivals:
    """A year's photographs."""
    traffic = Traffic(requests_per_month=REQUESTS_PER_YEAR / 12, shape=SHAPES["working-hours"])
    return traffic.arrivals(seed, weeks=WEEKS)


def main(runs: int) -> None:
    """Print one line per endpoint."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    service = service_times()
    taken: dict[str, list[float]] = {"serverless": [], "real-time, 4 workers": []}
    for run in range(runs):
        for kind, seconds in taken.items():
            begin = time.perf_counter()
            arrivals = year(run)
            outcome = (
                simulate_serverless(arrivals, service, SimulatedScaling(200, 600.0), seed=run)
                if kind == "serverless"
                else simulate_real_time(arrivals, service.warm, 4, seed=run)
            )
            p95_s = outcome.latency_percentile_s(0.95)
            seconds.append(time.perf_counter() - begin)
    for kind, seconds in taken.items():
        print(
            f"{kind}: {arrivals.n:,} arrivals in {np.median(seconds):.1f} s "
            f"({min(seconds):.1f} to {max(seconds):.1f}, {runs} runs), last p95 {p95_s:.3f} s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)

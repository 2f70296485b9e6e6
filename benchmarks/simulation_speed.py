"""How long a country's screening programme takes to simulate: ten million photographs in a year.

One core, working hours, four photographs per patient.  For each kind of endpoint: the time to draw
a year of arrivals, to simulate it, and to compute the percentile; medians and ranges of several
runs, interleaved.

    python benchmarks/simulation_speed.py [--runs 3 | --smoke]
"""

from __future__ import annotations

import argparse
import os
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

PHOTOGRAPHS_PER_YEAR = 10_000_000
SMOKE_PHOTOGRAPHS = 10_000
WEEKS = 52


def service_times() -> ServiceTimes:
    """Return the times of an imagined configuration: warm 0.35 s, cold 12 s."""
    rng = np.random.default_rng(1)
    warm, cold = rng.lognormal(np.log(0.35), 0.2, 25), rng.lognormal(np.log(12.0), 0.1, 10)
    return ServiceTimes(Times(warm, warm), Times(cold, cold))


def year(photographs: int, seed: int) -> Arrivals:
    """Return when the photographs of one year arrive."""
    traffic = Traffic(requests_per_month=photographs / 12, shape=SHAPES["working-hours"])
    return traffic.arrivals(seed, weeks=WEEKS)


def main() -> None:
    """Print one line for each kind of endpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--runs", type=int, default=3)
    size.add_argument("--smoke", action="store_true", help="one run of ten thousand photographs")
    options = parser.parse_args()
    runs = 1 if options.smoke else options.runs
    photographs = SMOKE_PHOTOGRAPHS if options.smoke else PHOTOGRAPHS_PER_YEAR
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    service = service_times()
    taken: dict[str, list[float]] = {"serverless": [], "real-time, 4 workers": []}
    for run in range(runs):
        for kind, seconds in taken.items():
            begin = time.perf_counter()
            arrivals = year(photographs, run)
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
    main()

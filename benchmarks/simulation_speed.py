"""Measure how long it takes to simulate a year with ten million photographs.

The screening of a whole country may take this many photographs a year. The simulation runs on one
core. Photographs arrive during working hours, four for each patient. Each way of hosting is
simulated: a serverless endpoint with each policy against cold starts, and instances in each way of
running them. For each, the benchmark measures how long these steps take together: draw a year of
arrivals, fit the policy or the schedule, simulate the year, and compute the 95th percentile of the
latency. The results are medians and ranges of several interleaved runs. In the simulation, an
instance with a GPU differs from one without only by its shorter latencies.

    python benchmarks/simulation_speed.py [--runs 3 | --quick | --smoke]

The exit status is 1 if a way of hosting takes longer than 60 s.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.recommendation.bill import DataVolumes
from drdeploy.study.recommendation.instance_options import (
    InstanceLoad,
    simulate_ways_to_run_instances,
)
from drdeploy.study.recommendation.mitigation.policies import POLICIES, fit_policy_to_traffic
from drdeploy.study.recommendation.options import compute_needed_instance_count
from drdeploy.study.recommendation.requirements import Assumptions
from drdeploy.study.recommendation.simulation.real_time import simulate_real_time
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.simulation.service import RowTimes, ServiceTimes
from drdeploy.study.recommendation.traffic import SHAPES, Arrivals, Traffic
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

PHOTOGRAPHS_PER_YEAR = 10_000_000
SMOKE_PHOTOGRAPHS = 10_000
WEEKS = 52
TARGET_S = 60.0
MAY_WAIT_S = 24.0 * SECONDS_PER_HOUR
ASSUMED = Assumptions()
WARM_S, CPU_S, GPU_S = 0.35, 1.2, 0.03
"""The assumed median times of a warm request: on a serverless endpoint, on an instance without a
GPU, and on an instance with a GPU.

One instance without a GPU would be too slow, so several are needed, and their scaling is simulated.
"""


def service_times(warm_s: float = WARM_S) -> ServiceTimes:
    """Return assumed latencies of warm and cold requests; a cold request takes about 12 s."""
    rng = np.random.default_rng(1)
    warm, cold = rng.lognormal(np.log(warm_s), 0.2, 25), rng.lognormal(np.log(12.0), 0.1, 10)
    return ServiceTimes(RowTimes(warm, warm), RowTimes(cold, cold))


def year(photographs: int, seed: int) -> Arrivals:
    """Return when the photographs of one year arrive."""
    traffic = Traffic(requests_per_month=photographs / 12, shape=SHAPES["working-hours"])
    return traffic.arrivals(seed, weeks=WEEKS)


def simulate_all(photographs: int, seed: int) -> Iterator[tuple[str, float, float]]:
    """Simulate each way of hosting; yield its name, how long that took, and the simulated p95."""
    begin = time.perf_counter()
    arrivals = year(photographs, seed)
    drawn_s = time.perf_counter() - begin
    service = service_times()
    for policy in POLICIES:
        begin = time.perf_counter()
        fitted = fit_policy_to_traffic(
            policy,
            arrivals,
            busy_s=service.warm.mean_busy_s,
            idle_s=ASSUMED.idle_s,
            concurrency_limit=ASSUMED.concurrency_limit,
        )
        scaling = SimulatedScaling(ASSUMED.concurrency_limit, ASSUMED.idle_s)
        outcome = simulate_serverless(arrivals, service, scaling, fitted.actions, seed=seed)
        p95_s = outcome.make_summary().p95_s
        yield f"serverless, {policy}", drawn_s + time.perf_counter() - begin, p95_s
    for kind, warm_s in (("instances", CPU_S), ("instances with a GPU", GPU_S)):
        warm = service_times(warm_s).warm
        begin = time.perf_counter()
        many = compute_needed_instance_count(arrivals.compute_peak_requests_per_s(), warm, ASSUMED)
        p95_s = simulate_real_time(arrivals, warm, many, seed=seed).make_summary().p95_s
        yield f"{kind}, day and night", drawn_s + time.perf_counter() - begin, p95_s
        load = InstanceLoad(
            arrivals=arrivals,
            times=warm,
            assumed=ASSUMED,
            volumes=DataVolumes(
                image_gb=0.5, artifact_gb=0.1, request_bytes=310_000.0, response_bytes=2_000.0
            ),
            instance_type="ml.m5.large",
            instances=many,
            may_wait_s=MAY_WAIT_S,
            seed=seed,
        )
        begin = time.perf_counter()
        # A generator: each way is simulated only when its result is requested.
        for run in simulate_ways_to_run_instances(load):
            taken_s = drawn_s + time.perf_counter() - begin
            yield f"{kind}, {run.way.removeprefix('real-time, ')}", taken_s, run.simulated.p95_s
            begin = time.perf_counter()


def main() -> int:
    """Print one line for each way of hosting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--runs", type=int, default=3)
    size.add_argument("--quick", action="store_true", help="one run")
    size.add_argument("--smoke", action="store_true", help="one run of ten thousand photographs")
    options = parser.parse_args()
    runs = 1 if options.smoke or options.quick else options.runs
    photographs = SMOKE_PHOTOGRAPHS if options.smoke else PHOTOGRAPHS_PER_YEAR
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    taken: dict[str, list[float]] = {}
    last: dict[str, float] = {}
    for run in range(runs):
        for kind, seconds, p95_s in simulate_all(photographs, run):
            taken.setdefault(kind, []).append(seconds)
            last[kind] = p95_s
            if run == runs - 1:
                print(
                    f"{kind}: {photographs:,} arrivals in {np.median(taken[kind]):.1f} s "
                    f"({min(taken[kind]):.1f} to {max(taken[kind]):.1f}, {runs} runs), "
                    f"last p95 {last[kind]:.3f} s",
                    flush=True,
                )
    slowest = max(taken, key=lambda kind: np.median(taken[kind]))
    print(
        f"slowest: {slowest}, {np.median(taken[slowest]):.1f} s; target {TARGET_S:g} s; "
        f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )
    return 0 if np.median(taken[slowest]) <= TARGET_S else 1


if __name__ == "__main__":
    sys.exit(main())

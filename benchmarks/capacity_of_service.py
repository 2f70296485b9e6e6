"""Compare the highest rate that `drdeploy capacity` finds with a direct measurement of the p95.

The local service hosts a model server that handles one request at a time and takes a fixed time for
each. `drdeploy capacity` searches for the highest rate whose p95 meets the requirement. Next, the
benchmark sends requests at several fixed rates without waiting for answers (an open loop), as a
study does, and measures the p95 at each rate. From these values, it interpolates the rate at which
the p95 equals the required p95. This rate must agree with the rate that the command found.

    python benchmarks/capacity_of_service.py [--quick | --smoke]

The exit status is 1 if the two rates differ by more than 10 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.box import box_artifact
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.sagemaker import Clock, EndpointDefinition, Hosting, RealTimeConfig
from drdeploy.statistics.percentiles import estimate_percentile
from drdeploy.study.design.scenarios import MAX_IN_FLIGHT, OpenLoop
from drdeploy.study.measurements.capacity import CapacityResult
from drdeploy.study.running.photographs import Photograph
from drdeploy.study.running.sending import TrialContext, send_missing_requests
from harness.servers import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.sagemaker import Invocation
    from drdeploy.study.running.sending import ObservedInvocation

ENDPOINT, BUCKET = "queue", "capacity"
SERVICE_S, P95_S = 0.05, 0.2
TARGET = 0.10
SHARES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""The rates of the open loops, as shares of ``MIDDLE_PER_S``. For a service of exactly 50 ms,
Erlang's formula gives a highest rate of 12.3 requests a second. The local service adds some
milliseconds to each answer, so ``MIDDLE_PER_S`` is lower."""
MIDDLE_PER_S = 11.5


def main() -> int:
    """Find the highest rate in both ways, and print both rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="shorter runs")
    size.add_argument("--smoke", action="store_true", help="short runs, nothing is required")
    options = parser.parse_args()
    requests = 60 if options.smoke else 300 if options.quick else 1000
    runs = 1 if options.smoke else 3 if options.quick else 5
    with hosted_queue() as url, tempfile.TemporaryDirectory() as folder:
        found = run_command(url, Path(folder) / "capacity.json", requests, smoke=options.smoke)
        print(
            f"drdeploy capacity: {text(found.rate_per_s)} requests a second at p95 {P95_S} s "
            f"({text(found.low_per_s)} to {text(found.high_per_s)}); {found.stopped}",
            flush=True,
        )
        rates = [MIDDLE_PER_S * share for share in (SHARES[::3] if options.smoke else SHARES)]
        hosting = Hosting.connect(url, max_connections=MAX_IN_FLIGHT)
        p95s = [measure_p95_s(hosting, rate, requests, runs) for rate in rates]
    leaves = interpolate_rate(rates, p95s)
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    if leaves is None or found.rate_per_s is None:
        print("open loop: the p95 leaves the requirement at none of the rates")
        return 0 if options.smoke else 1
    ratio = found.rate_per_s / leaves
    print(f"open loop: the p95 leaves {P95_S} s at {leaves:.2f} requests a second")
    print(f"drdeploy capacity / open loop: {ratio:.3f}, target within {TARGET:.0%}")
    return 0 if options.smoke or abs(ratio - 1) <= TARGET else 1


def text(rate: float | None) -> str:
    """Format a rate."""
    return "none" if rate is None else f"{rate:.2f}"


@contextmanager
def hosted_queue() -> Iterator[str]:
    """Let the local service host a model server that only sleeps; yield the service's URL."""
    server = (sys.executable, str(PEERS / "sleeping_model.py"), str(SERVICE_S))
    with LocalService(
        0, isolation="process", options=ServiceOptions(trial_start=False), server_command=server
    ) as service:
        hosting = Hosting.connect(service.url)
        uri = hosting.upload_artifact(box_artifact(), bucket=BUCKET)
        config = RealTimeConfig(instance_type="ml.m5.large")
        with hosting.deployed(EndpointDefinition(ENDPOINT, "drdeploy:lean", uri, config)):
            yield service.url


def run_command(url: str, out: Path, requests: int, *, smoke: bool) -> CapacityResult:
    """Run ``drdeploy capacity``, and return its result."""
    command = [sys.executable, "-m", "drdeploy", "capacity", ENDPOINT, "--p95", str(P95_S)]
    command += ["--requests", str(requests), "--precision-percent", "5", "--endpoint-url", url]
    command += ["--minutes", "0.1" if smoke else "60", "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return CapacityResult.read(out)


def measure_p95_s(hosting: Hosting, rate_per_s: float, requests: int, runs: int) -> float:
    """Return the p95 of all requests of several open-loop runs at a rate."""
    clock = Clock()
    latencies_s: list[float] = []

    def send(photograph: Photograph) -> Invocation:
        return hosting.invoke(ENDPOINT, photograph.data, content_type="image/jpeg")

    def record(observed: ObservedInvocation) -> None:
        latencies_s.append(observed.total_latency_s if observed.outcome == "ok" else float("inf"))

    for run in range(runs):
        context = TrialContext(
            send=send,
            record=record,
            photographs=[Photograph("any", b"x", "image/jpeg")],
            clock=clock,
            seed=f"open-loop-{rate_per_s}-{run}",
        )
        scenario = OpenLoop(n=requests, rate_per_s=rate_per_s, max_in_flight=MAX_IN_FLIGHT)
        send_missing_requests(scenario, range(1, requests + 1), context)
    p95_s = float(estimate_percentile(latencies_s, 0.95).value)
    print(f"open loop at {rate_per_s:.2f} a second: p95 {p95_s:.3f} s (n = {len(latencies_s)})")
    sys.stdout.flush()
    return p95_s


def interpolate_rate(rates: list[float], p95s: list[float]) -> float | None:
    """Return the rate at which the p95 equals the required p95, or None if there is no such rate.

    At a higher rate, the p95 can be lower only by chance. Before the interpolation, such a p95 is
    therefore replaced by the highest p95 of all lower rates.
    """
    rising = np.log(np.maximum.accumulate(p95s))
    if not rising[0] <= np.log(P95_S) < rising[-1]:
        return None
    return float(np.interp(np.log(P95_S), rising, rates))


if __name__ == "__main__":
    sys.exit(main())

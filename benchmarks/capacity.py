"""Compare the highest rate that `drdeploy capacity` finds with the rate that MLPerf LoadGen finds.

The benchmark runs the search of `drdeploy capacity` twice on the same server. In the first search,
drdeploy sends the requests and measures the answers. In the second search, LoadGen does this, with
its Server scenario. Both send requests at random times, without waiting for earlier answers. The
server handles one request at a time, and takes the same time for each. LoadGen is installed in a
virtual environment of its own.

    python benchmarks/capacity.py [--quick | --smoke]

The exit status is 1 if the two rates differ by more than 5 %.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.hosting.sagemaker import Clock, Invocation
from drdeploy.study.measurements.capacity import RateRun
from drdeploy.study.running.capacity import (
    CapacityFinder,
    CapacitySearch,
    EndpointProbe,
    WeightedPhotographs,
)
from drdeploy.study.running.photographs import Photograph
from harness.servers import PEERS, installed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.study.measurements.capacity import ConcurrencyStep
    from drdeploy.study.running.capacity import FoundCapacity

SERVICE_S, P95_S = 0.05, 0.2
TARGET = 0.05
SEEDS = 2**31


@dataclass(frozen=True)
class LoadGenProbe:
    """Measures the server with LoadGen at a given rate, or with a number of drdeploy's clients."""

    search: CapacitySearch
    ours: EndpointProbe
    port: int
    python: Path

    def measure_concurrency(self, clients: int) -> ConcurrencyStep:
        """Measure with a number of clients, each of which sends one request after another."""
        return self.ours.measure_concurrency(clients)

    def run_at_rate(self, rate_per_s: float, seed: str) -> RateRun:
        """Let LoadGen send requests at a rate; return the p95, and how many took over ``P95_S``."""
        count = self.search.requests
        with tempfile.TemporaryDirectory() as folder:
            command = [self.python, PEERS / "loadgen_client.py", str(self.port), str(rate_per_s)]
            number = str(int.from_bytes(seed.encode()) % SEEDS)
            done = subprocess.run(
                [*map(str, command), str(count), number, folder],
                capture_output=True,
                text=True,
                check=True,
            )
        percentiles = {float(k): v for k, v in json.loads(done.stdout.splitlines()[-1]).items()}
        percents = sorted(percentiles)
        within = np.interp(P95_S, [percentiles[one] for one in percents], percents) / 100
        return RateRun(
            rate_per_s=rate_per_s,
            seed=seed,
            requests=count,
            late=round((1 - float(within)) * count),
            failed=0,
            p95_s=percentiles[95.0],
            delayed_share=0.0,
        )


def main() -> int:
    """Search once with drdeploy and once with LoadGen, and print both rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="shorter runs")
    size.add_argument("--smoke", action="store_true", help="one rate, nothing is required")
    options = parser.parse_args()
    search = CapacitySearch(
        p95_s=P95_S,
        requests=60 if options.smoke else 300 if options.quick else 1000,
        runs=2 if options.quick else 4,
        precision=0.05,
        time_limit_s=0.1 if options.smoke else 3600.0,
        max_clients=2,
    )
    try:
        python = installed("loadgen") / "python"
    except subprocess.CalledProcessError:
        print("LoadGen cannot be installed here, so there is no comparison.")
        return 0
    clock = Clock()
    with sleeping_server() as port:
        photograph = WeightedPhotographs("any", 1.0, (Photograph("any", b"x", ""),))
        ours = EndpointProbe(search, Sender(port, clock).send, [photograph], clock)
        own = CapacityFinder(search, ours, clock).find_highest_rate()
        show("drdeploy", own)
        other = CapacityFinder(
            search, LoadGenProbe(search, ours, port, python), clock
        ).find_highest_rate()
        show("LoadGen", other)
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    if own.rate_per_s is None or other.rate_per_s is None:
        return 0 if options.smoke else 1
    ratio = own.rate_per_s / other.rate_per_s
    print(f"drdeploy / LoadGen: {ratio:.3f}, target within {TARGET:.0%}")
    return 0 if options.smoke or abs(ratio - 1) <= TARGET else 1


@dataclass(frozen=True)
class Sender:
    """Sends requests to the server. Each thread keeps its connection open between requests."""

    port: int
    clock: Clock
    kept: threading.local = field(default_factory=threading.local)

    def send(self, photograph: Photograph) -> Invocation:
        """Send one request."""
        started_at, start = self.clock.now(), self.clock.monotonic()
        connection = getattr(self.kept, "connection", None)
        if connection is None:
            connection = self.kept.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/", photograph.data)
        answer = connection.getresponse()
        body = answer.read()
        latency_s = self.clock.monotonic() - start
        return Invocation("ok", answer.status, "", body, "", 1, started_at, latency_s)


@contextmanager
def sleeping_server() -> Iterator[int]:
    """Run a server that sleeps for a fixed time before each answer, and yield its port."""
    command = [sys.executable, str(PEERS / "sleeping_server.py"), str(SERVICE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def show(name: str, found: FoundCapacity) -> None:
    """Print the result of one search."""

    def text(rate: float | None) -> str:
        return "none" if rate is None else f"{rate:.2f}"

    print(
        f"{name}: {text(found.rate_per_s)} requests a second at p95 {P95_S} s (every run met "
        f"{text(found.low_per_s)}, every run missed {text(found.high_per_s)}), {len(found.runs)} "
        f"runs; {found.stopped}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Measure how much clients that send or read slowly delay the other clients of a server.

Run ``python benchmarks/slow_clients.py`` (twenty minutes; seven with ``--quick``). Both profiles of
drdeploy's server are measured, as processes on this machine. If a container engine is running, both
are also measured in containers with 1024 MB.

There are 64 slow clients of each of several kinds. Some send a byte of a request's head, body or
chunk four times a second, some send nothing at all, and some read a byte of their answers four
times a second. They run in a separate process. Two ordinary (honest) clients send photographs, each
photograph over a new connection. In each round, the honest clients are measured twice, in random
order: alone, and at the same time as slow clients of all kinds.

The exit status is 1 if a request of an honest client was not answered with status 200, or if slow
clients multiply the p95 by more than 1.5. This factor is too large only if its whole interval is
above 1.5. A factor slightly above 1 is expected, because the slow clients also use CPU time of this
machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from bad_clients import KINDS, honest, slow_clients_elsewhere
from served import serve_container
from tiny_models import saved_model_artifact

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.images import build_image
from harness.options import FULL, QUICK, SMOKE
from harness.rounds import interleaved, ratio, written
from harness.servers import ours, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.images import ImageName

COUNT, SMOKE_COUNT = 64, 4
SECONDS = 18.0
"""Duration of one measurement. The server ends a slow upload after 5 to 15 seconds, and the
measurement must last longer than that.
"""
ROUNDS = 6
"""The smallest number of rounds; with fewer rounds, there is no interval."""
CLIENTS = 2
MEMORY_MB = 1024
SLOWER = 1.5
OK = 200
PROFILES = ("lean", "classic")
IMAGES: tuple[ImageName, ...] = ("lean", "reduced")
ALONE, BESIDE = "alone", "beside slow clients"


@dataclass
class Heard:
    """The answers that ordinary (honest) clients got in all rounds.

    Attributes:
        statuses: Number of answers by status; the status 0 stands for requests without an answer.
        latencies_ms: Latencies of all requests.
        p95_ms: The 95th percentile in each round.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    p95_ms: list[float] = field(default_factory=list)

    def add(self, url: str, photograph: bytes, seconds: float) -> None:
        """Let the honest clients send photographs for some seconds, and keep the answers."""
        answers = honest(url, photograph, clients=CLIENTS, seconds=seconds)
        latencies_ms = [1e3 * latency for latency in answers.latencies_s]
        self.statuses.update(answers.statuses)
        self.latencies_ms += latencies_ms
        self.p95_ms.append(float(np.percentile(latencies_ms, 95)))

    def __str__(self) -> str:
        p50, p95, most = np.percentile(self.latencies_ms, (50, 95, 100))
        statuses = ", ".join(f"{number} x {status}" for status, number in self.statuses.items())
        return f"{statuses}; p50 {p50:.1f} ms, p95 {p95:.1f} ms, max {most:.1f} ms"


def main() -> int:
    """Measure each server and print the result; return 1 if slow clients harmed honest ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="shorter rounds")
    size.add_argument("--smoke", action="store_true", help="one short round, few slow clients")
    given = parser.parse_args()
    budget = SMOKE if given.smoke else QUICK if given.quick else FULL
    count = SMOKE_COUNT if given.smoke else COUNT
    seconds = budget.seconds(SECONDS)
    rounds = 1 if given.smoke else max(ROUNDS, -(-budget.rounds // 2))
    photograph = paint_synthetic_photograph(1, width_px=512, height_px=512)
    print(f"{count} slow clients of each kind ({', '.join(KINDS)}); {rounds} rounds of "
          f"{seconds:.1f} s")  # fmt: skip
    is_unharmed = True
    with tempfile.TemporaryDirectory() as folder:
        servers = [as_process(name, Path(folder), photograph) for name in PROFILES]
        engine = None if given.smoke else ContainerEngine.find()
        if engine is not None:
            servers += [as_container(engine, name, Path(folder)) for name in IMAGES]
        elif not given.smoke:
            print("no container engine answers: containers are left out")
        for server in servers:
            with server as (name, url):
                is_unharmed &= compare(name, url, photograph, count, seconds, rounds)
    return int(not (given.smoke or is_unharmed))


@contextmanager
def as_process(profile: str, folder: Path, photograph: bytes) -> Iterator[tuple[str, str]]:
    """Run a server profile with the packaged MobileNet; yield a description and the address."""
    model = folder / "box"
    if not model.exists():
        extract_archive(FOLDER / f"{NAME}-fp32.tar.gz", model)
    with running(ours(profile, model), photograph) as server:
        yield f"{profile}, a process", f"http://127.0.0.1:{server.port}"


@contextmanager
def as_container(
    engine: ContainerEngine, image: ImageName, folder: Path
) -> Iterator[tuple[str, str]]:
    """Run a server in a container of an image; yield a description and the address.

    The image ``reduced`` gets a small SavedModel, because TensorFlow is its only runtime.
    """
    model = folder / "box" if image == "lean" else saved_model_artifact(folder / image)
    for path in (folder, model, *model.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    server = serve_container(
        engine, build_image(engine, image).tag, model, ready_s=180, memory_mb=MEMORY_MB
    )
    try:
        yield f"{image}, a container", server.url
    finally:
        server.close()


def compare(  # noqa: PLR0917 - one line of the loop above
    name: str, url: str, photograph: bytes, count: int, seconds: float, rounds: int
) -> bool:
    """Measure honest clients with and without slow ones; return false if slow ones harm them.

    They are harmed if one of their requests fails, or if their p95 becomes too high.
    """
    heard = {ALONE: Heard(), BESIDE: Heard()}

    def ask(situation: str) -> Callable[[], None]:
        def measure() -> None:
            beside = slow_clients_elsewhere(url, count) if situation == BESIDE else nullcontext()
            with beside:
                heard[situation].add(url, photograph, seconds)

        return measure

    honest(url, photograph, clients=CLIENTS, seconds=0.5)
    interleaved({situation: ask(situation) for situation in heard}, rounds)
    slower = ratio(heard[BESIDE].p95_ms, heard[ALONE].p95_ms)
    for situation, found in heard.items():
        print(f"{name}, {situation}: {found}")
    print(f"{name}: p95 beside slow clients / p95 alone: {written(slower)}", flush=True)
    low = slower.low if slower.low is not None else slower.value
    return set(heard[BESIDE].statuses) == {OK} and low is not None and low <= SLOWER


if __name__ == "__main__":
    sys.exit(main())

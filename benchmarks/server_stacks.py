"""Which HTTP server the lean profile should stand on: start-up cost and time per request.

Run ``python benchmarks/server_stacks.py``; servers that are not installed are said and left out
(``pip install uvicorn granian hypercorn`` for all).  Every server runs the same ASGI application,
the lean profile's own, over a model that answers at once, in a process of its own.  Rounds
alternate between the servers, so that what disturbs one disturbs all; a ratio to the lean
server is printed with a 95 % bootstrap interval over the rounds.

- start: CPU seconds of a fresh process until its first answer, and until that on the wall;
- request: a 224x224 JPEG's 16 KB over one kept connection, median of a round.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import importlib.util
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = {
    "lean": "httptools",
    "uvicorn": "uvicorn",
    "granian": "granian",
    "hypercorn": "hypercorn",
}
"""Name and the module that it needs."""
BODY = b"\xff\xd8" + bytes(16 * 1024)
RESAMPLES = 5000
READY_WITHIN_S = 60.0


@dataclass
class Rounds:
    """What was measured of one server, a value per round."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    request_s: list[float] = field(default_factory=list)


def main() -> int:
    """Measure all servers that are installed, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=200, help="per round")
    parser.add_argument("--be", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be:
        asyncio.run(STACKS[arguments.be](application(), arguments.port))
        return 0
    measured = {name: Rounds() for name, module in SERVERS.items() if is_installed(name, module)}
    for _ in range(arguments.rounds):
        for name, rounds in measured.items():
            add_round(name, rounds, arguments.requests)
    report(measured)
    return 0


def is_installed(name: str, module: str) -> bool:
    """Whether the server can run here; says so if not."""
    present = importlib.util.find_spec(module) is not None
    if not present:
        print(f"{name}: not installed, left out")
    return present


def add_round(name: str, rounds: Rounds, requests: int) -> None:
    """Start a server, wait for its first answer, ask it, stop it."""
    port = free_port()
    started = time.perf_counter()
    command = [sys.executable, __file__, "--be", name, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        connection = first_answer(port)
        rounds.wall_s.append(time.perf_counter() - started)
        rounds.cpu_s.append(cpu_of(process.pid))
        rounds.request_s.append(float(np.median([ask(connection) for _ in range(requests)])))
        connection.close()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def cpu_of(pid: int) -> float:
    """CPU seconds that a process's threads have used so far (Linux, schedstat)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


def first_answer(port: int) -> http.client.HTTPConnection:
    """Ask until somebody answers."""
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN_S)
        try:
            ask(connection)
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return connection


def ask(connection: http.client.HTTPConnection) -> float:
    """Seconds of one request."""
    started = time.perf_counter()
    connection.request("POST", "/invocations", BODY, {"Content-Type": "image/jpeg"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"answered {answer.status}")
    return time.perf_counter() - started


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(measured: dict[str, Rounds]) -> None:
    """A table: medians over rounds, and ratios to the lean server."""
    for title, of in (
        ("start, CPU", lambda rounds: rounds.cpu_s),
        ("start, wall", lambda rounds: rounds.wall_s),
        ("request", lambda rounds: rounds.request_s),
    ):
        for name, rounds in measured.items():
            print(f"{title:12s} {name:10s} {line(of(rounds), of(measured['lean']))}")


def line(values: list[float], reference: list[float]) -> str:
    """Median in milliseconds; ratio of medians to the reference, resampled by round."""
    first, second = np.array(values), np.array(reference)
    drawn = np.random.default_rng(1).integers(0, first.size, (RESAMPLES, first.size))
    ratios = np.median(first[drawn], axis=1) / np.median(second[drawn], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    ratio = np.median(first) / np.median(second)
    return (
        f"{np.median(first) * 1e3:9.3f} ms   {ratio:5.2f} x lean "
        f"[{low:.2f}, {high:.2f}]  n={first.size}"
    )


def application() -> Any:
    """The lean profile's application over a model that answers at once."""
    from types import SimpleNamespace

    from drdeploy.grading import Prediction
    from drdeploy.serving.asgi import Application
    from drdeploy.serving.counters import Counters
    from drdeploy.serving.gateway import Gateway
    from drdeploy.serving.handlers import Handlers
    from drdeploy.serving.log import Log
    from drdeploy.serving.settings import Settings

    manifest = SimpleNamespace(name="none", precision="fp32", weights="random", classes=("a", "b"))
    classifier = SimpleNamespace(
        artifact=SimpleNamespace(manifest=manifest, digest="0"),
        runtime=SimpleNamespace(name="onnxruntime"),
    )
    answer = SimpleNamespace(
        prediction=Prediction(np.array([0.25, 0.75], np.float32), ("a", "b")),
        decode_s=0.0,
        transform_s=0.0,
        predict_s=0.0,
    )
    service: Any = SimpleNamespace(
        classifier=classifier, infer=lambda images: [answer] * len(images)
    )
    with tempfile.NamedTemporaryFile() as file:  # mapped, so it may lose its name
        counters = Counters(Path(file.name))
    return Application(Gateway(Handlers(service, Settings(), counters, "c", 1, 1), Log("error")))


async def be_lean(app: Any, port: int) -> None:
    """Our protocol on httptools."""
    from drdeploy.serving.lean.server import LeanServer
    from drdeploy.serving.log import Log
    from drdeploy.serving.settings import Settings

    await LeanServer(app, Settings(), Log("error")).listen(
        socket.create_server(("127.0.0.1", port))
    )
    await asyncio.Event().wait()


async def be_uvicorn(app: Any, port: int) -> None:
    """Uvicorn with httptools, without what the lean profile would not use."""
    import uvicorn

    config = uvicorn.Config(
        app, port=port, http="httptools", ws="none", lifespan="off", log_config=None,
        access_log=False,
    )  # fmt: skip
    await uvicorn.Server(config).serve()


async def be_granian(app: Any, port: int) -> None:
    """Granian's embeddable server."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    await Server(
        app, port=port, interface=Interfaces.ASGINL, log_enabled=False, websockets=False
    ).serve()


async def be_hypercorn(app: Any, port: int) -> None:
    """Hypercorn with its defaults."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    await serve(app, config)


STACKS: dict[str, Callable[[Any, int], Any]] = {
    "lean": be_lean,
    "uvicorn": be_uvicorn,
    "granian": be_granian,
    "hypercorn": be_hypercorn,
}

if __name__ == "__main__":
    sys.exit(main())

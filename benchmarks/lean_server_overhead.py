"""What the lean server adds to a prediction: loopback, MobileNet fp32, a 224x224 JPEG, one client.

Run ``python benchmarks/lean_server_overhead.py``; ``--artifact`` names another model than the
one that is built here.  Three latencies are taken in short blocks that alternate, so that what
disturbs one disturbs all:

- the model alone, in this process;
- decode, transform and model, in this process;
- a whole request to a server on loopback, over one kept connection, from a bare socket: what an
  HTTP client library needs for itself (0.5 ms for Python's own) is not the server's.

The differences of medians are printed with 95 % bootstrap intervals.  The server's overhead is
the request minus the same work in process: at most 1.5 ms, judged by the interval's upper end.
The request minus the model alone, which decoding and transform are part of, is judged as well
and does not change the exit status.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drdeploy.artifacts import extract
from drdeploy.fundus.synthetic import synthetic_photograph
from drdeploy.serving.inference import InferenceService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUILT = Path("build/models/mobilenet-fp32-onnx.tar.gz")
TARGET_S = 1.5e-3
RESAMPLES = 5000
BLOCK = 10
UNCOUNTED = 3
PAUSE_S = 0.05
"""Between blocks, so that the threads of one runtime do not spin while the other computes."""

T = TypeVar("T")


def main() -> int:
    """Measure, print, and fail if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifact", type=Path, default=BUILT, help="MobileNet as model.tar.gz")
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    if arguments.artifact == BUILT and not BUILT.exists():
        build()
    with tempfile.TemporaryDirectory() as folder:
        model_dir = extract(arguments.artifact, Path(folder) / "model").folder
        with served(model_dir) as port:
            alone, local, remote = measure(model_dir, port, arguments.calls)
    show("model alone, in process", alone)
    show("decode + transform + model, in process", local)
    show("request over loopback", remote)
    model_high_s = show_difference("request - model alone", remote, alone)
    server_high_s = show_difference("request - all in process", remote, local)
    print(f"at most {TARGET_S * 1e3:g} ms over the model alone: {verdict(model_high_s)}")
    print(f"at most {TARGET_S * 1e3:g} ms over all in process:  {verdict(server_high_s)}")
    return 0 if server_high_s <= TARGET_S else 1


def build() -> None:
    """Export MobileNet in a process of its own: TensorFlow's threads end with it."""
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "model", "export"]
    options = ["mobilenet", "--format", "onnx", "--out", str(BUILT.parent)]
    subprocess.run([*command, *options], check=True)


def verdict(high_s: float) -> str:
    """Whether the whole interval is within the target."""
    return "met" if high_s <= TARGET_S else "missed"


def measure(model_dir: Path, port: int, calls: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds of each call: model alone, all in process, over loopback."""
    service = InferenceService.load(model_dir)
    photograph = a_photograph()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b"\r\n".join([
        b"POST /invocations HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: image/jpeg",
        b"Content-Length: %d" % len(photograph),
        b"",
        photograph,
    ])  # fmt: skip
    local: list[tuple[float, float]] = []
    remote: list[float] = []
    for _ in range(max(1, calls // BLOCK)):
        local += block(lambda: in_process(service, photograph))
        remote += block(lambda: over_loopback(connection, request))
    alone_s, local_s = np.array(local).T
    return alone_s, local_s, np.array(remote)


def block(call: Callable[[], T]) -> list[T]:
    """So many calls in a row, after some that are not counted and a pause."""
    time.sleep(PAUSE_S)
    for _ in range(UNCOUNTED):
        call()
    return [call() for _ in range(BLOCK)]


def in_process(service: InferenceService, photograph: bytes) -> tuple[float, float]:
    """Seconds in the model, and with decoding and transform."""
    started = time.perf_counter()
    (inference,) = service.infer([photograph])
    return inference.predict_s, time.perf_counter() - started


def over_loopback(connection: socket.socket, request: bytes) -> float:
    """Seconds of one request."""
    started = time.perf_counter()
    connection.sendall(request)
    answer = connection.recv(65536)
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    seconds = time.perf_counter() - started
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"the server answered {answer[:60]!r}")
    return seconds


def a_photograph() -> bytes:
    """A painted fundus photograph as a 224x224 JPEG."""
    return synthetic_photograph(1, width_px=224, height_px=224)


@contextmanager
def served(model_dir: Path) -> Iterator[int]:
    """A lean server as a process; yields its port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DRDEPLOY_MODEL_DIR": str(model_dir),
        "DRDEPLOY_BIND_HOST": "127.0.0.1",
        "DRDEPLOY_LOG_LEVEL": "error",
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "drdeploy.serving"], env=environment)
    try:
        wait_until_ready(port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_ready(port: int, within_s: float = 60) -> None:
    """Connect as soon as the port is bound; the answer comes when the model has predicted."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=within_s)
            connection.request("GET", "/ping")
            connection.getresponse().read()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            connection.close()
            return


def show(name: str, seconds: np.ndarray) -> None:
    """One median with its interval."""
    low, high = np.percentile(medians(seconds), (2.5, 97.5))
    print(
        f"{name:42s} {np.median(seconds) * 1e3:7.3f} ms "
        f"[{low * 1e3:.3f}, {high * 1e3:.3f}]  n={seconds.size}"
    )


def show_difference(name: str, first: np.ndarray, second: np.ndarray) -> float:
    """A difference of medians with its interval.

    Returns:
        The upper end of the interval, seconds.
    """
    low, high = np.percentile(medians(first, 2) - medians(second, 3), (2.5, 97.5))
    value = np.median(first) - np.median(second)
    print(f"{name:42s} {value * 1e3:7.3f} ms [{low * 1e3:.3f}, {high * 1e3:.3f}]  n={first.size}")
    return float(high)


def medians(seconds: np.ndarray, seed: int = 1) -> np.ndarray:
    """Medians of bootstrap resamples."""
    drawn = np.random.default_rng(seed).choice(seconds, (RESAMPLES, seconds.size))
    return np.median(drawn, axis=1)


if __name__ == "__main__":
    sys.exit(main())

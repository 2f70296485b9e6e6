"""A real server to talk to: as a process here, as a container where a test has an engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from drdeploy.hosting.container_engine import ContainerSpec, Mount, find_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine, RunningContainer

READY_WITHIN_S = 120.0


UNKNOWN_PROCESSOR = "onnxruntime cpuid_info warning: Unknown CPU vendor"
"""ONNX Runtime's C library writes it on a processor without a name, as QEMU's is."""


@dataclass
class Served(ABC):
    """What a contract test may do: ask, signal, wait.  Subclasses know where it runs."""

    url: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.connect()

    def connect(self) -> httpx.Client:
        """A client with connections of its own (without the certificates, which are slow)."""
        return httpx.Client(base_url=self.url, timeout=60, verify=False)

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Ping until it answers 200."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                if self.client.get("/ping").status_code == 200:
                    return
            except httpx.TransportError:
                self.fail_if_ended()
                time.sleep(0.02)
        raise TimeoutError(f"not ready within {within_s} s")

    @abstractmethod
    def fail_if_ended(self) -> None:
        """Say so if it can never become ready."""

    def invoke(
        self, body: bytes, content_type: str = "image/jpeg", **headers: str
    ) -> httpx.Response:
        return self.client.post(
            "/invocations", content=body, headers={"content-type": content_type, **headers}
        )

    @abstractmethod
    def signal(self, number: int) -> None:
        """Send it a signal."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int:
        """Its exit status."""

    @abstractmethod
    def log(self) -> str:
        """What it wrote so far."""

    @abstractmethod
    def main_pid(self) -> int:
        """Its first process, as this machine numbers it."""

    def events(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in self.log().splitlines()
            if not line.startswith(UNKNOWN_PROCESSOR)
        ]

    def workers(self) -> list[psutil.Process]:
        """The processes that hold the model."""
        below = psutil.Process(self.main_pid()).children(recursive=True)
        gunicorn = [child for child in below if "gunicorn" in " ".join(child.cmdline())]
        if not gunicorn:
            return sorted(below, key=lambda child: child.pid)
        return sorted((w for w in gunicorn if not w.children()), key=lambda child: child.pid)

    def pids(self) -> list[int]:
        return [worker.pid for worker in self.workers()]

    def close(self) -> None:
        self.client.close()


@dataclass
class ServedProcess(Served):
    """The server as a process of this machine."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def fail_if_ended(self) -> None:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended: {self.log_path.read_text()}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def log(self) -> str:
        return self.log_path.read_text()

    def main_pid(self) -> int:
        return self.process.pid

    def close(self) -> None:
        super().close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)


@dataclass
class ServedContainer(Served):
    """The server as SageMaker starts it."""

    container: RunningContainer

    def fail_if_ended(self) -> None:
        if not self.container.exit_state().is_running:
            raise AssertionError(f"the server ended: {self.log()}")

    def signal(self, number: int) -> None:
        self.container.kill(signal.Signals(number).name)

    def wait(self, timeout_s: float) -> int:
        return self.container.wait(timeout_s).exit_code

    def log(self) -> str:
        return self.container.read_logs()

    def main_pid(self) -> int:
        return self.container.read_main_pid()

    def close(self) -> None:
        super().close()
        self.container.remove()


def serve_container(
    engine: ContainerEngine,
    image: str,
    model_dir: Path,
    *,
    ready_s: float = READY_WITHIN_S,
    memory_mb: int = 2048,
    **settings: object,
) -> ServedContainer:
    """Run ``IMAGE serve`` with settings given by variable."""
    environment = {name: str(value) for name, value in settings.items()}
    mounts = (Mount(model_dir, "/opt/ml/model"),)
    container = engine.start_container(
        ContainerSpec(image, env=environment, mounts=mounts, memory_mb=memory_mb)
    )
    served = ServedContainer(container.url_of_published_port, container)
    try:
        served.wait_until_ready(ready_s)
    except BaseException:
        served.close()
        raise
    return served


def serve_process(
    model_dir: Path, log_path: Path, *, is_awaited: bool = True, **settings: object
) -> ServedProcess:
    """Start ``python -m drdeploy.hosting.serving`` with settings given by variable."""
    port = find_free_port()
    environment = {
        **os.environ,
        "DRDEPLOY_BIND_HOST": "127.0.0.1",
        "DRDEPLOY_MODEL_DIR": str(model_dir),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "MODEL_SERVER_WORKERS": "1",  # on every machine, unless a test says otherwise
        **{name: str(value) for name, value in settings.items()},
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "drdeploy.hosting.serving"],
            env=environment,
            stdout=log,
            stderr=log,
        )
    served = ServedProcess(f"http://127.0.0.1:{port}", process, log_path)
    if is_awaited:
        served.wait_until_ready()
    return served

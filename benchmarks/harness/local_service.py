"""Run a local service for a benchmark, and make clients and small photographs for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from botocore.config import Config
from PIL import Image

from drdeploy.hosting.container_engine.ports import find_free_port
from drdeploy.hosting.local.instances.service_folders import LABEL
from harness.options import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "arn:aws:iam::123456789012:role/drdeploy"
STOP_S = 120.0
SIDE_PX = 320
JPEG_QUALITY = 80


@dataclass
class RunningService:
    """A local service that is ready for requests.

    Attributes:
        process: The process of the service.
        url: The address of the service.
        label: The label by which the service's containers can be found.
    """

    process: psutil.Process
    url: str
    label: str
    _child: subprocess.Popen[str]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait until the service has ended."""
        self._child.send_signal(number)
        self._child.wait(STOP_S)


def start_service(
    home: Path, port: int, isolation: str, *, checkout: Path = ROOT
) -> RunningService:
    """Start a local service, and wait until it takes requests.

    Args:
        home: The folder in which the service keeps its files; it becomes ``DRDEPLOY_LOCAL_HOME``.
        port: The port of the service.
        isolation: Whether the instances of the service run as processes (``process``) or in
            containers (``container``).
        checkout: The folder of the repository whose code is run.
    """
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"), "DRDEPLOY_LOCAL_HOME": str(home),
    }  # fmt: skip
    command = [sys.executable, "-m", "drdeploy", "local", "up", "--port", str(port)]
    child = subprocess.Popen(
        [*command, "--isolation", isolation],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if child.stdout is not None:
        child.stdout.readline()  # printed when it is ready
    (folder,) = home.glob("drdeploy-*")
    url = f"http://127.0.0.1:{port}"
    return RunningService(psutil.Process(child.pid), url, f"{LABEL}={folder.name}", child)


@contextmanager
def make_home() -> Iterator[Path]:
    """Yield a new folder in which a local service can keep its files; delete it at the end."""
    # A short path, for the Unix sockets below it, and empty, so that nothing else has its name.
    home = Path(tempfile.mkdtemp(prefix="drb-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running_service(isolation: str, *, checkout: Path = ROOT) -> Iterator[RunningService]:
    """Run a local service with a new folder, until the ``with`` block ends."""
    with make_home() as home:
        service = start_service(home, find_free_port(), isolation, checkout=checkout)
        try:
            yield service
        finally:
            service.end()


def make_client(name: str, url: str, *, connections: int = 10) -> Any:
    """Return a boto3 client for the local service. The client does not repeat failed requests."""
    return boto3.client(
        name, endpoint_url=url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106  any will do
        config=Config(
            retries={"total_max_attempts": 1}, read_timeout=300, max_pool_connections=connections
        ),
    )  # fmt: skip


def small_photographs() -> list[bytes]:
    """Return the example photographs as JPEG, scaled down to at most 320 pixels on a side."""
    made = []
    for path in sorted((ROOT / "examples" / "photographs").glob("*.jpg")):
        with Image.open(path) as image:
            image.thumbnail((SIDE_PX, SIDE_PX))
            held = BytesIO()
            image.save(held, "JPEG", quality=JPEG_QUALITY)
        made.append(held.getvalue())
    return made

"""A run: what the commands share, and what must hold after each."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import local_aws
from aws_provider import provider_of
from photographs import photograph
from place import Place
from proxy import Proxy
from tiny_models import onnx_artifact

from drdeploy.hosting.container_engine import find_free_port

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from injection import Fault, Typical
    from place import Started

LONGEST_S = 180.0
"""How long a command may take before it counts as hanging; see :func:`allow_for_load`."""
ENDS_WITHIN_S = 60.0
"""How long what a dead command has left running may take to notice."""
POLL_S = 0.02
INTERRUPTED = 130
LOAD_MAX = 12.0
"""How many times longer a busy machine may take at most: a command that hangs must end some day."""


def allow_for_load(seconds: float) -> float:
    """Return how long may take on this machine now what takes so many seconds on an idle one."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(load, 1.0), LOAD_MAX)


class Broken(Exception):
    """What must hold does not."""


@dataclass
class Supply:
    """What all runs share: a model, photographs, a service that runs, and a network to it."""

    folder: Path
    _exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _service: Started | None = None

    def __enter__(self) -> Self:
        onnx_artifact(self.folder / "tiny")
        photographs = self.folder / "photographs"
        photographs.mkdir()
        for seed in (1, 2):
            (photographs / f"{seed}.jpg").write_bytes(photograph(seed=seed))
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()
        if self._service is not None:
            self._place.close()
            shutil.rmtree(self._place.folder.parent, ignore_errors=True)

    @property
    def archive(self) -> Path:
        return self.folder / "tiny" / "model.tar.gz"

    @cached_property
    def port(self) -> int:
        """Of the service that runs."""
        return find_free_port()

    @cached_property
    def proxy(self) -> Proxy:
        """The network to the service."""
        return self._exits.enter_context(Proxy(self.port))

    @cached_property
    def provider(self) -> dict[str, str]:
        """Variables by which Terraform finds its provider, which uses the same network."""
        return self._exits.enter_context(provider_of(endpoint_url=self.proxy.url))

    @cached_property
    def _place(self) -> Place:
        return Place(Path(tempfile.mkdtemp(prefix="drf-")) / "s")

    def ensure_service(self) -> None:
        """Start the service, unless it runs."""
        if self._service is not None and self._service.process.poll() is None:
            return
        words = ("local", "up", "--port", str(self.port), "--isolation", "process")
        self._service = self._place.start(*words, "--idle-s", "1", "--no-trial-start")
        wait_ready(self._service)

    def kill_service(self) -> None:
        """Kill the service, which takes everything in it along."""
        if self._service is not None:
            self._service.process.kill()
            self._service.process.wait()

    @property
    def service_log(self) -> str:
        """What the service has said so far."""
        return self._service.errors if self._service is not None else ""

    @property
    def service_pid(self) -> int:
        return self._service.process.pid if self._service is not None else 0

    def service_contents(self, *prefixes: str) -> dict[str, list[str]]:
        """Names of whatever would cost money and begins so."""
        client = lambda name: local_aws.client(name, f"http://127.0.0.1:{self.port}")  # noqa: E731
        sagemaker = client("sagemaker")
        listed = {
            "endpoint": [e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"]],
            "configuration": [
                e["EndpointConfigName"]
                for e in sagemaker.list_endpoint_configs()["EndpointConfigs"]
            ],
            "model": [e["ModelName"] for e in sagemaker.list_models()["Models"]],
            "repository": [
                e["repositoryName"] for e in client("ecr").describe_repositories()["repositories"]
            ],
            "role": [e["RoleName"] for e in client("iam").list_roles()["Roles"]],
            "bucket": [e["Name"] for e in client("s3").list_buckets()["Buckets"]],
        }
        own = {
            kind: [name for name in names if name.startswith(prefixes)]
            for kind, names in listed.items()
        }
        return {kind: names for kind, names in own.items() if names}


@dataclass
class Run(ABC):
    """One run: attempt a command while something goes wrong, and then give it again."""

    place: Place
    supply: Supply
    random: random.Random
    typical: ClassVar[Typical]
    needs_proxy: ClassVar[bool] = False
    notes: list[str] = field(default_factory=list)

    @abstractmethod
    def prepare(self) -> None:
        """Make what the command needs."""

    @abstractmethod
    def attempt(self, fault: Fault) -> None:
        """Give the command while the fault strikes, and check what must hold at once."""

    @abstractmethod
    def again(self) -> None:
        """Give the same command once more, and check that it finishes as if nothing had been."""

    @property
    def proxy(self) -> Proxy | None:
        return self.supply.proxy if self.needs_proxy else None

    # -- what the runs share ------------------------------------------------------------

    def watch(self, started: Started, fault: Fault, progress: Callable[[], int]) -> int:
        """Wait for the command's end while the fault strikes; return its exit status."""
        begin = time.monotonic()
        last_look = 0.0
        while (status := started.process.poll()) is None:
            now = time.monotonic()
            if now - begin > allow_for_load(LONGEST_S):
                raise Broken(f"hangs: {started.errors[-500:]!r}")
            fault.meanwhile(now - begin, progress())
            if now - last_look > 0.1:
                self.place.look()
                last_look = now
            time.sleep(POLL_S)
        self.place.look()
        return status

    def check_message(self, status: int, started: Started) -> None:
        """What a user reads is a sentence, whatever happened."""
        errors = started.errors
        if "init_import_site" in errors:
            return  # the interpreter itself was interrupted, before anything of ours
        if "Traceback (most recent call last)" in errors or "Exception ignored" in errors:
            raise Broken(f"a traceback, exit {status}: {errors[-2500:]}")
        if status < 0:
            if -status not in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
                raise Broken(f"died of signal {-status}")
            return
        if status not in {0, 1, 2, INTERRUPTED}:
            raise Broken(f"exit {status}: {errors[-500:]}")
        if status in {1, 2} and not re.search(r"error \(\w+\): .+\.|: .+\.$", errors, re.MULTILINE):
            raise Broken(f"exit {status} without a sentence: {errors[-500:]!r}")

    def wait_quiet(self) -> None:
        """Wait until nothing of this run is running."""
        deadline = time.monotonic() + allow_for_load(ENDS_WITHIN_S)
        while left := self.place.processes():
            if time.monotonic() > deadline:
                words = "; ".join(f"{one.role} {one.pid}: {one.words}" for one in left)
                raise Broken(f"still running: {words}")
            time.sleep(0.1)

    def check_files(self, *, is_final: bool) -> None:
        """Every file parses; in the end, no draft lies beside one."""
        for path in self.place.work.rglob("*"):
            if not path.is_file() or ".terraform" in path.parts:
                continue
            # Terraform empties its state before it writes it. The next command restores a state
            # that a kill left empty, so what counts is the end.
            if path.suffix == ".json" or (path.suffix == ".tfstate" and is_final):
                self._parses(path)
            if path.name == "measurements.csv":
                _check_csv(path, is_final=is_final)
            if is_final and (path.suffix in {".part", ".tmp"} or path.name.endswith("~")):
                raise Broken(f"a draft was left: {path.relative_to(self.place.work)}")

    def _parses(self, path: Path) -> None:
        try:
            json.loads(path.read_text("utf-8"))
        except ValueError as err:
            raise Broken(f"{path.name} is half written: {err}") from err

    def check_nothing_left(self) -> None:
        self.wait_quiet()
        if left := list(self.place.leftovers()):
            raise Broken(f"left behind: {', '.join(left)}")


def _check_csv(path: Path, *, is_final: bool) -> None:
    content = path.read_bytes()
    if is_final and not content.endswith(b"\n"):
        raise Broken(f"{path.name} ends within a row")
    text = content[: content.rfind(b"\n") + 1].decode()
    widths = {len(row) for row in csv.reader(io.StringIO(text))}
    if len(widths) > 1:
        raise Broken(f"{path.name} has rows of {sorted(widths)} cells")


def wait_ready(started: Started) -> None:
    """Wait until a local service says that it is ready."""
    deadline = time.monotonic() + allow_for_load(60.0)
    while "ready at" not in started.output:
        if started.process.poll() is not None:
            raise Broken(
                f"does not start: exit {started.process.returncode}: {started.errors[-1500:]}"
            )
        if time.monotonic() > deadline:
            raise Broken(f"does not get ready: {started.errors[-800:]}")
        time.sleep(0.05)

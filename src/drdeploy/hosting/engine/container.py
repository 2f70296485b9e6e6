"""A container that was started: its state, its use of memory, its log, its end."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.hosting.engine.failures import engine_errors
from drdeploy.hosting.engine.kernel_log import has_oom_kill

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

    from drdeploy.hosting.engine.spec import ContainerSpec

_MICROSECONDS = re.compile(r"(\.\d{6})\d+")
"""Engines report nanoseconds, which Python does not parse."""

STOP_TIMEOUT_S = 30
"""How long SageMaker waits between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class ExitState:
    """Whether a container runs, or how it ended.

    Attributes:
        is_running: Whether it still runs; then the other fields mean nothing.
        exit_code: Exit status of the main process; 128 + n after signal n.
        oom_killed: Whether the kernel killed one of its processes for lack of memory.
    """

    is_running: bool
    exit_code: int
    oom_killed: bool


@dataclass(frozen=True)
class ContainerStats:
    """A container's use of resources at one instant.

    Attributes:
        memory_bytes: Memory in use, without page cache that can be dropped.
        memory_limit_bytes: The container's limit.
        tasks: Number of processes and threads.
    """

    memory_bytes: int
    memory_limit_bytes: int
    tasks: int = 0

    @property
    def memory_utilization(self) -> float:
        """Memory in use as a share of the limit, between 0 and 1."""
        return self.memory_bytes / self.memory_limit_bytes if self.memory_limit_bytes else 0.0


@dataclass(frozen=True, eq=False)
class RunningContainer:
    """A container that was started; safe to use from several threads.

    Attributes:
        id: The engine's id.
        spec: What it was started from.
        host_port: The port on 127.0.0.1 that it answers on; None if no port is published.
        api: The SDK's low-level client.
    """

    id: str
    spec: ContainerSpec
    host_port: int | None
    api: APIClient = field(repr=False)

    @property
    def url(self) -> str:
        """Base URL of the server inside, without a trailing slash."""
        if self.host_port is None:
            raise EngineError("The container publishes no port", where=self.id[:12])
        return f"http://127.0.0.1:{self.host_port}"

    def start(self) -> None:
        """Start it again after it ended: its files and its port are as they were."""
        with self._errors("The container does not start again"):
            self.api.start(self.id)

    def stop(self, timeout_s: int = STOP_TIMEOUT_S) -> None:
        """Send SIGTERM, then SIGKILL after ``timeout_s``; no error if it already ended."""
        with self._errors("The container does not stop"):
            self.api.stop(self.id, timeout=timeout_s)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send a signal; no error if it already ended."""
        from docker.errors import APIError, NotFound

        try:
            self.api.kill(self.id, signal=signal)
        except APIError as err:
            # Engines refuse to signal a container that has ended, each with a status of its own:
            # the container's state decides.
            with suppress(NotFound):
                if self.api.inspect_container(self.id)["State"]["Running"]:
                    raise EngineError(
                        f"The container cannot be sent {signal}: {err.explanation}",
                        where=self.id[:12],
                    ) from err

    def wait(
        self,
        timeout_s: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ExitState:
        """Wait until it ends.

        It polls: the API's own wait cannot be interrupted.

        Raises:
            EngineError: It still runs after ``timeout_s``.
        """
        deadline = clock() + timeout_s
        while (state := self.exit_state()).is_running:
            if clock() >= deadline:
                raise EngineError(
                    f"The container still runs after {timeout_s:g} s", where=self.id[:12]
                )
            sleep(0.05)
        return state

    def exit_state(self) -> ExitState:
        """Return whether it runs, and how it ended if not."""
        with self._errors("The container cannot be inspected"):
            state = self.api.inspect_container(self.id)["State"]
        # Podman does not call a container running that is about to start or to stop.
        is_running = bool(state["Running"]) or state.get("Status") in {"created", "stopping"}
        exit_code, oom_killed = int(state["ExitCode"]), bool(state["OOMKilled"])
        if not is_running and exit_code != 0 and not oom_killed:
            oom_killed = has_oom_kill(self.id)
        return ExitState(is_running, exit_code, oom_killed)

    def main_pid(self) -> int:
        """Return the id, on the engine's host, of its process 1; 0 once it has ended."""
        with self._errors("The container cannot be inspected"):
            return int(self.api.inspect_container(self.id)["State"]["Pid"])

    def started_at(self) -> float:
        """Return when the engine started its process, in seconds since the epoch."""
        with self._errors("The container cannot be inspected"):
            text: str = self.api.inspect_container(self.id)["State"]["StartedAt"]
        return datetime.fromisoformat(_MICROSECONDS.sub(r"\1", text)).timestamp()

    def stats(self) -> ContainerStats:
        """Return its use of memory, processes and threads now."""
        with self._errors("The container's use of memory cannot be read"):
            sample = self.api.stats(self.id, stream=False, one_shot=True)
        return _stats(sample)

    def logs(self, tail: int | None = None) -> str:
        """Return its standard output and error, or the last ``tail`` lines of them."""
        with self._errors("The container's log cannot be read"):
            raw: bytes = self.api.logs(self.id, tail="all" if tail is None else tail)
        return raw.decode(errors="replace")

    def remove(self) -> None:
        """Kill it if it runs, and remove it; no error if that was done already."""
        with self._errors("The container cannot be removed"):
            kill_and_remove(self.api, self.id)

    def _errors(self, what: str) -> Any:
        return engine_errors(what, where=f"{self.spec.image} {self.id[:12]}")


def kill_and_remove(api: APIClient, container_id: str) -> None:
    """Kill and remove a container, if it exists.

    It is killed first because Podman, asked to remove a running container, stops it and waits for
    ten seconds.
    """
    from docker.errors import APIError, NotFound

    with suppress(APIError):  # it does not run
        api.kill(container_id)
    with suppress(NotFound):
        api.remove_container(container_id, force=True, v=True)


def _stats(sample: dict[str, Any]) -> ContainerStats:
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    # The page cache, which `docker stats` leaves out too, is named differently by cgroup v1 and v2.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return ContainerStats(
        memory_bytes=max(0, memory.get("usage", 0) - cache),
        memory_limit_bytes=int(memory.get("limit", 0)),
        tasks=int((sample.get("pids_stats") or {}).get("current", 0)),
    )

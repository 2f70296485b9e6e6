"""What runs: its port, its limits, its end."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.hosting.engine.failures import told
from drdeploy.hosting.engine.kernel_log import tells_of_oom_kill

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

    from drdeploy.hosting.engine.spec import ContainerSpec

_MICROSECONDS = re.compile(r"(\.\d{6})\d+")
"""Engines tell nanoseconds, which Python does not read."""

STOP_TIMEOUT_S = 30
"""How long SageMaker waits between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class ExitState:
    """How a container is, or how it ended.

    Attributes:
        is_running: Whether it still runs; then the rest says nothing.
        exit_code: The main process's status; 128 + n after signal n.
        oom_killed: Whether the kernel killed in it for want of memory.
    """

    is_running: bool
    exit_code: int
    oom_killed: bool


@dataclass(frozen=True)
class ContainerStats:
    """What a container uses.

    Attributes:
        memory_bytes: In use; page cache that can be dropped is left out.
        memory_limit_bytes: Its limit.
        tasks: Processes and threads.
    """

    memory_bytes: int
    memory_limit_bytes: int
    tasks: int = 0

    @property
    def memory_utilization(self) -> float:
        """Share of the limit in use, between 0 and 1."""
        return self.memory_bytes / self.memory_limit_bytes if self.memory_limit_bytes else 0.0


@dataclass(frozen=True, eq=False)
class RunningContainer:
    """A container that was started; safe to use from several threads.

    Attributes:
        id: The engine's id.
        spec: What it was started from.
        host_port: Where it answers on 127.0.0.1; None if nothing is published.
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
        with self._told("The container does not start again"):
            self.api.start(self.id)

    def stop(self, timeout_s: int = STOP_TIMEOUT_S) -> None:
        """Send SIGTERM, then SIGKILL after ``timeout_s``.  Fine if it already ended."""
        with self._told("The container does not stop"):
            self.api.stop(self.id, timeout=timeout_s)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send a signal.  Fine if it already ended."""
        from docker.errors import APIError

        try:
            self.api.kill(self.id, signal=signal)
        except APIError as err:
            if not self._is_gone_or_over():
                raise EngineError(
                    f"The container cannot be killed: {err.explanation}", where=self.id[:12]
                ) from err

    def wait(
        self,
        timeout_s: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ExitState:
        """Wait until it ends.

        Polls, because the API's own wait cannot be interrupted.

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
        """Whether it runs, and how it ended if not."""
        with self._told("The container cannot be inspected"):
            state = self.api.inspect_container(self.id)["State"]
        is_running = bool(state["Running"]) or state.get("Status") in {"created", "stopping"}
        exit_code, oom_killed = int(state["ExitCode"]), bool(state["OOMKilled"])
        if not is_running and exit_code != 0 and not oom_killed:
            oom_killed = tells_of_oom_kill(self.id)
        return ExitState(is_running, exit_code, oom_killed)

    def main_pid(self) -> int:
        """Process id, on the engine's host, of the process that is 1 inside; 0 once it ended."""
        with self._told("The container cannot be inspected"):
            return int(self.api.inspect_container(self.id)["State"]["Pid"])

    def started_at(self) -> float:
        """When the engine started its process, in seconds since the epoch."""
        with self._told("The container cannot be inspected"):
            text: str = self.api.inspect_container(self.id)["State"]["StartedAt"]
        return datetime.fromisoformat(_MICROSECONDS.sub(r"\1", text)).timestamp()

    def stats(self) -> ContainerStats:
        """Memory, processes and threads in use now."""
        with self._told("The container's use of memory cannot be read"):
            sample = self.api.stats(self.id, stream=False, one_shot=True)
        return _stats(sample)

    def logs(self, tail: int | None = None) -> str:
        """What it wrote to standard output and error, or the last ``tail`` lines of it."""
        with self._told("The container's log cannot be read"):
            raw: bytes = self.api.logs(self.id, tail="all" if tail is None else tail)
        return raw.decode(errors="replace")

    def remove(self) -> None:
        """Kill it if it runs, and forget it.  Fine if that was done already."""
        with self._told("The container cannot be removed"):
            remove_at_once(self.api, self.id)

    def _is_gone_or_over(self) -> bool:
        from docker.errors import NotFound

        try:
            return not self.api.inspect_container(self.id)["State"]["Running"]
        except NotFound:
            return True

    def _told(self, what: str) -> Any:
        return told(what, where=f"{self.spec.image} {self.id[:12]}")


def remove_at_once(api: APIClient, container_id: str) -> None:
    """Kill and remove a container, if it is there.

    Killed first: to remove a running one, Podman asks it to stop and waits for ten seconds.
    """
    from docker.errors import APIError, NotFound

    with suppress(APIError):  # it does not run
        api.kill(container_id)
    with suppress(NotFound):
        api.remove_container(container_id, force=True, v=True)


def _stats(sample: dict[str, Any]) -> ContainerStats:
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    # cgroup v1 and v2 name differently what `docker stats` subtracts as well.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return ContainerStats(
        memory_bytes=max(0, memory.get("usage", 0) - cache),
        memory_limit_bytes=int(memory.get("limit", 0)),
        tasks=int((sample.get("pids_stats") or {}).get("current", 0)),
    )

"""A started container: its state, its memory use, its log, and how it ended.

On cgroup v1, Podman before version 5 usually does not notice that the kernel killed a process for
lack of memory: it reads the kernel's counter too early. The kernel's log always names the container
of a killed process, so this module searches the log too. Not every user may read the log.
"""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.hosting.container_engine.failures import translate_engine_errors
from drdeploy.hosting.container_engine.network_namespace import NetworkNamespace
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.container_engine.spec import NO_NETWORK
from drdeploy.units import MIB, NANOSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from docker import APIClient

    from drdeploy.hosting.container_engine.spec import ContainerSpec
    from drdeploy.hosting.container_engine.ssh import SshTunnel

_MICROSECONDS = re.compile(r"(\.\d{6})\d+")
"""Matches the fraction of a second in the times that engines report. Engines report nanoseconds,
but Python can parse only microseconds, so the last digits are cut off.
"""

_TAIL_BYTES_MAX = MIB
"""The largest number of bytes that the last lines of a log may have."""
_WHOLE_LOG_BYTES_MAX = 16 * MIB
"""The longest log, in bytes, that is read from the start to find its last lines."""
STOP_TIMEOUT_S = 30
"""The seconds between SIGTERM and SIGKILL on SageMaker."""


@dataclass(frozen=True)
class ExitState:
    """Whether a container runs, or how it ended.

    Attributes:
        is_running: Whether the container still runs. If so, the other fields have no meaning.
        exit_code: The exit status of the main process; 128 + n if signal n ended the process.
        oom_killed: Whether the kernel killed a process of the container for lack of memory.
    """

    is_running: bool
    exit_code: int
    oom_killed: bool


@dataclass(frozen=True)
class ContainerStats:
    """The resources that a container uses at one instant.

    Attributes:
        memory_bytes: The memory in use, without page cache that the kernel could free.
        memory_limit_bytes: The memory limit of the container.
        tasks: The number of processes and threads.
        cpu_s: Seconds of CPU time since the container was started.
    """

    memory_bytes: int
    memory_limit_bytes: int
    tasks: int = 0
    cpu_s: float = 0.0

    @property
    def memory_utilization(self) -> float:
        """The memory in use as a share of the limit, between 0 and 1."""
        return self.memory_bytes / self.memory_limit_bytes if self.memory_limit_bytes else 0.0


@dataclass(frozen=True, eq=False)
class RunningContainer:
    """A started container; safe to use from several threads.

    Attributes:
        id: The id that the engine gave the container.
        spec: The specification that the container was started from.
        host_port: The port on which the container answers; None if no port is published.
        api: The low-level client of the SDK.
        address: The address of the engine's machine on which the port is published.
        tunnel: The SSH connection that reaches the ports of the engine's machine; None if the
            engine is reached without SSH.
        volumes: The volumes that hold copies of the mounted folders.
        is_podman: Whether the engine is Podman.
    """

    id: str
    spec: ContainerSpec
    host_port: int | None
    api: APIClient = field(repr=False)
    address: str = LOOPBACK
    tunnel: SshTunnel | None = None
    volumes: tuple[str, ...] = ()
    is_podman: bool = False

    @property
    def url_of_published_port(self) -> str:
        """The base URL of the server in the container, without a trailing slash.

        Raises:
            EngineError: The container publishes no port, or its port is reached only through SSH.
        """
        if self.host_port is None:
            raise EngineError("The container publishes no port", where=self.id[:12])
        if self.tunnel is not None:
            raise EngineError(
                "The port of the container can be reached only through ssh, so it has no URL here",
                where=self.id[:12],
            )
        return f"http://{self.address}:{self.host_port}"

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a TCP connection to the server, even if the container has no network.

        Raises:
            ConnectionRefusedError: The server does not listen yet, or the container has ended.
            TimeoutError: The server did not accept the connection in time.
        """
        if self.spec.network == NO_NETWORK:
            return self._network_namespace.connect((LOOPBACK, self.spec.port or 0), timeout_s)
        if self.tunnel is not None:
            return self.tunnel.open_port(self.host_port or 0, timeout_s)
        return socket.create_connection((self.address, self.host_port or 0), timeout_s)

    @cached_property
    def _network_namespace(self) -> NetworkNamespace:
        return NetworkNamespace(self.read_main_pid(), self.id)

    def _close_network_namespace(self) -> None:
        namespace = self.__dict__.pop("_network_namespace", None)
        if namespace is not None:
            namespace.close()

    def start(self) -> None:
        """Start the container again after it ended.

        The container keeps its files and its port.
        """
        self._close_network_namespace()  # the container gets a new one
        with self._translate_container_errors("The container does not start again"):
            self.api.start(self.id)

    def stop(self, timeout_s: int = STOP_TIMEOUT_S) -> None:
        """Send SIGTERM, then SIGKILL after ``timeout_s``, if the container still runs."""
        with self._translate_container_errors("The container does not stop"):
            self.api.stop(self.id, timeout=timeout_s)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send a signal to the container; if the container has already ended, do nothing."""
        from docker.errors import APIError, NotFound

        what = f"The signal {signal} cannot be sent to the container"
        with self._translate_container_errors(what):
            try:
                self.api.kill(self.id, signal=signal)
            except APIError as err:
                # If a container has ended, each engine refuses the signal with a different status.
                # The state of the container is therefore checked.
                with suppress(NotFound):
                    if self.api.inspect_container(self.id)["State"]["Running"]:
                        raise EngineError(f"{what}: {err.explanation}", where=self.id[:12]) from err

    def wait(
        self,
        timeout_s: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ExitState:
        """Wait until the container ends, and return its exit state.

        The method polls the container's state, because the wait operation of Docker's API cannot be
        interrupted.

        Raises:
            EngineError: The container still runs after ``timeout_s`` seconds.
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
        """Return whether the container runs, and how it ended if it does not."""
        with self._translate_container_errors("The container cannot be inspected"):
            state = self.api.inspect_container(self.id)["State"]
        # Podman does not report a container as running while it starts or stops.
        is_running = bool(state["Running"]) or state.get("Status") in {"created", "stopping"}
        exit_code, oom_killed = int(state["ExitCode"]), bool(state["OOMKilled"])
        if not is_running and exit_code != 0 and not oom_killed:
            oom_killed = has_oom_kill_in_kernel_log(self.id)
        return ExitState(is_running, exit_code, oom_killed)

    def read_main_pid(self) -> int:
        """Return the id of the container's process 1 on the engine's host; 0 after it has ended."""
        with self._translate_container_errors("The container cannot be inspected"):
            return int(self.api.inspect_container(self.id)["State"]["Pid"])

    def read_start_time(self) -> float:
        """Return when the engine started the container's process, in seconds since the epoch."""
        with self._translate_container_errors("The container cannot be inspected"):
            text: str = self.api.inspect_container(self.id)["State"]["StartedAt"]
        return datetime.fromisoformat(_MICROSECONDS.sub(r"\1", text)).timestamp()

    def read_stats(self) -> ContainerStats:
        """Return the container's current use of memory, processes and threads."""
        with self._translate_container_errors("The container's use of memory cannot be read"):
            sample = self.api.stats(self.id, stream=False, one_shot=True)
        return _parse_stats(sample)

    def read_logs(self, tail: int | None = None) -> str:
        """Return the container's log, or only its last ``tail`` lines."""
        with self._translate_container_errors("The container's log cannot be read"):
            if tail is None:
                raw: bytes = self.api.logs(self.id)
                return raw.decode(errors="replace")
            # If a program writes a line in parts, Podman 4.3 returns the parts in reverse order
            # when it is asked for the last lines: ": Permission deniedcannot open 'f'cat: ". So the
            # whole log is read.
            end = self._read_end_of_whole_log() if self.is_podman else None
            if end is None:
                end = self.api.logs(self.id, tail=tail)
        return "".join(end.decode(errors="replace").splitlines(keepends=True)[-tail:])

    def _read_end_of_whole_log(self) -> bytes | None:
        """Read the log and keep its end; None if the log is too long to be read whole."""
        parts = self.api.logs(self.id, stream=True, follow=False)
        try:
            return _read_last_bytes_of_log(parts, _WHOLE_LOG_BYTES_MAX)
        finally:
            parts.close()

    def read_timed_lines(self, since_s: int = 0) -> list[tuple[float, str]]:
        """Return the log lines from ``since_s`` on, with their times.

        The times are in seconds since 1970. The result may also contain lines of the second before
        ``since_s``.
        """
        with self._translate_container_errors("The container's log cannot be read"):
            # One second earlier, because Podman leaves out the given second.
            since = since_s - 1 if since_s else None
            raw: bytes = self.api.logs(self.id, timestamps=True, since=since)
        lines: list[tuple[float, str]] = []
        for line in raw.decode(errors="replace").splitlines():
            stamp, _, text = line.partition(" ")
            try:
                moment = datetime.fromisoformat(_MICROSECONDS.sub(r"\1", stamp)).timestamp()
            except ValueError:  # the line contained a line separator, and this is the rest of it
                moment, text = (lines[-1][0] if lines else float(since_s)), line
            lines.append((moment, text))
        return lines

    def remove(self) -> None:
        """Kill the container if it runs, and remove it if it still exists."""
        self._close_network_namespace()
        with self._translate_container_errors("The container cannot be removed"):
            kill_and_remove_container(self.api, self.id)
            remove_volumes(self.api, self.volumes)

    def _translate_container_errors(self, what: str) -> Any:
        return translate_engine_errors(what, where=f"{self.spec.image} {self.id[:12]}")


def _read_last_bytes_of_log(parts: Iterable[bytes], limit_bytes: int) -> bytes | None:
    """Return the last bytes of a log, without keeping the whole log in memory.

    Args:
        parts: The log, part by part.
        limit_bytes: If the log is longer than this, reading stops.

    Returns:
        The last bytes, or None if the log is longer than ``limit_bytes``.
    """
    kept, read_bytes = bytearray(), 0
    for part in parts:
        read_bytes += len(part)
        if read_bytes > limit_bytes:
            return None
        kept += part
        if len(kept) > 2 * _TAIL_BYTES_MAX:
            del kept[:-_TAIL_BYTES_MAX]
    return bytes(kept[-_TAIL_BYTES_MAX:])


def kill_and_remove_container(api: APIClient, container_id: str) -> None:
    """Kill and remove a container, if it exists.

    The container is killed first, because Podman would otherwise stop a running container and wait
    for ten seconds.
    """
    from docker.errors import APIError, NotFound

    with suppress(APIError):  # it does not run
        api.kill(container_id)
    with suppress(NotFound):
        api.remove_container(container_id, force=True, v=True)


def remove_volumes(api: APIClient, names: Iterable[str]) -> None:
    """Remove volumes, but skip those that are already removed or still in use."""
    from docker.errors import APIError

    for name in names:
        with suppress(APIError):
            api.remove_volume(name, force=True)


def _parse_stats(sample: dict[str, Any]) -> ContainerStats:
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cpu = sample.get("cpu_stats") or {}
    # `docker stats` leaves out the page cache, too. cgroup v1 and v2 have different names for it.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return ContainerStats(
        memory_bytes=max(0, memory.get("usage", 0) - cache),
        memory_limit_bytes=int(memory.get("limit", 0)),
        cpu_s=(cpu.get("cpu_usage") or {}).get("total_usage", 0) / NANOSECONDS_PER_S,
        tasks=int((sample.get("pids_stats") or {}).get("current", 0)),
    )


KERNEL_LOG = Path("/dev/kmsg")
RECORD_BYTES = 8192
"""The largest number of bytes that one read of ``/dev/kmsg`` returns."""


def has_oom_kill_in_kernel_log(container_id: str, log: Path = KERNEL_LOG) -> bool:
    """Return whether the kernel killed a process of a container for lack of memory."""
    return any(
        record.startswith("oom-kill:") and container_id in record
        for record in _read_kernel_log_records(log)
    )


def _read_kernel_log_records(log: Path) -> list[str]:
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    records: list[str] = []
    try:
        while True:
            try:
                raw = os.read(handle, RECORD_BYTES)
            except BrokenPipeError:
                continue  # the record was overwritten; read the next one
            except OSError:  # BlockingIOError: there is no further record yet
                return records
            if not raw:
                return records
            records.append(raw.decode(errors="replace").partition(";")[2])
    finally:
        os.close(handle)

"""Starts NGINX and Gunicorn, ends when either ends, and drains both on a stop signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, ServerError
from drdeploy.hosting.serving.classic.nginx import find_nginx, write_configuration
from drdeploy.hosting.serving.classic.output import ChildOutput
from drdeploy.hosting.serving.processes import (
    STOP_SIGNALS,
    WATCHED,
    Signals,
    describe_exit,
    die_with_parent,
    reap,
    send,
)
from drdeploy.hosting.serving.settings import to_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

BACKLOG = 1024
KILL_GRACE_S = 1.0
"""For NGINX and Gunicorn to end by themselves once the drain has timed out."""
GUNICORN_CONFIGURATION = "python:drdeploy.hosting.serving.classic.gunicorn_conf"
MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of a Unix socket address in Linux, less its final zero."""
DEATH_SIGNALS = {"gunicorn": signal.SIGKILL, "nginx": signal.SIGTERM}
"""What the kernel sends a child when the supervisor is killed.  SIGTERM ends NGINX's workers at
once.  Gunicorn would take it as a request to drain, for clients that NGINX no longer serves; its
own workers are tied to it in the same way (``gunicorn_conf``)."""


class ClassicSupervision:
    """Supervises NGINX and Gunicorn; Gunicorn itself replaces a worker that dies."""

    def __init__(
        self,
        settings: Settings,
        capacity: Capacity,
        *,
        log: Log,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._capacity = capacity
        self._folder = Path(settings.state_dir)
        self._log = log
        self._signals = signals
        self._clock = clock
        self._children: dict[int, str] = {}
        self._outputs: dict[int, ChildOutput] = {}

    def run(self) -> int:
        """Supervise until a stop signal.

        Returns:
            Zero if all requests in flight were finished.

        Raises:
            ServerError: NGINX or Gunicorn ended by itself.
        """
        nginx = find_nginx()
        socket_path = self._folder / "gunicorn.sock"
        configuration = write_configuration(
            self._settings, self._folder, socket_path, self._capacity
        )
        try:
            # Bound here and handed over: NGINX may start first, and a request that comes before
            # Gunicorn's workers have loaded waits in the backlog and gets no 502.
            with _bind_unix(socket_path) as listener:
                fd = listener.fileno()
                command = [sys.executable, "-m", "gunicorn", "--config", GUNICORN_CONFIGURATION]
                self._start("gunicorn", [*command, "--bind", f"fd://{fd}"], (fd,))
            self._start("nginx", [nginx, "-p", str(self._folder), "-c", str(configuration)])
            while not self._wait(None) & STOP_SIGNALS:
                for name, exit_code in self._ended():
                    raise ServerError(
                        f"{name} ended ({describe_exit(exit_code)})",
                        remedy="The log above says why",
                    )
            return self._stop()
        finally:
            self._kill_all()

    def _wait(self, timeout_s: float | None) -> frozenset[int]:
        """Wait for a signal, and meanwhile log what the children write."""
        arrived, readable = self._signals.wait(timeout_s, self._outputs)
        for fd in readable:
            if not self._outputs[fd].forward(self._log):
                os.close(fd)
                del self._outputs[fd]
        return arrived

    def _ended(self) -> Iterator[tuple[str, int]]:
        """Reap what has ended; yield the name and the exit code of each child of our own."""
        for pid, exit_code in reap():
            name = self._children.pop(pid, None)
            if name is not None:
                _kill_group(pid)  # if it was killed, its own children are still there
                yield name, exit_code

    def _start(self, name: str, command: Sequence[str], fds: Sequence[int] = ()) -> None:
        output_read, output_write = os.pipe()
        process = subprocess.Popen(
            command,
            stdout=output_write,
            stderr=output_write,
            env={**os.environ, **to_environment(self._settings)},
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            process_group=0,  # Control-C in a terminal would end it before it is drained
            preexec_fn=partial(_prepare_child, os.getpid(), DEATH_SIGNALS[name]),  # noqa: PLW1509 - the supervisor has no threads
        )
        os.close(output_write)
        self._outputs[output_read] = ChildOutput(output_read, name)
        # reap() collects it, with the orphans that PID 1 inherits; Popen must not wait for it.
        process.returncode = 0
        self._children[process.pid] = name
        self._log.event("started", child=name, child_pid=process.pid)

    def _stop(self) -> int:
        """Drain NGINX, which closes its port at once; then Gunicorn has nothing left to do."""
        self._log.event("stopping")
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        # https://nginx.org/en/docs/control.html: QUIT finishes what is in flight, TERM does not.
        codes = self._end("nginx", signal.SIGQUIT, deadline)
        codes += self._end("gunicorn", signal.SIGTERM, deadline)
        is_drained = not self._children and not any(codes)
        self._log.event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _end(self, name: str, number: int, deadline: float) -> list[int]:
        """Signal a child and wait until it has ended; return all exit codes meanwhile."""
        for pid, child in self._children.items():
            if child == name:
                send(pid, number)
        codes = []
        while True:
            codes += [exit_code for _, exit_code in self._ended()]
            left_s = deadline - self._clock()
            if name not in self._children.values() or left_s <= 0:
                return codes
            self._wait(left_s)

    def _kill_all(self) -> None:
        for pid in self._children:
            _kill_group(pid)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()
        for fd in self._outputs:
            os.close(fd)


def _bind_unix(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise InvalidInput(
            f"The path of the socket is longer than {MAX_SOCKET_PATH_BYTES} bytes",
            where=f"DRDEPLOY_STATE_DIR={path.parent}",
            remedy="Name a folder with a shorter path",
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(BACKLOG)
    return listener


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _prepare_child(supervisor: int, death_signal: int) -> None:
    """Runs in the child before NGINX or Gunicorn: it must not outlive the supervisor."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    die_with_parent(supervisor, death_signal)

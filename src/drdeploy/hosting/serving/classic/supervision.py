"""Starts NGINX and Gunicorn, ends when either ends, drains both on a stop signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, ServerError
from drdeploy.hosting.serving.classic.nginx import find_nginx, write_configuration
from drdeploy.hosting.serving.classic.output import Output
from drdeploy.hosting.serving.processes import (
    STOP_SIGNALS,
    WATCHED,
    Signals,
    die_with_parent,
    reap,
    say_how,
    send,
)
from drdeploy.hosting.serving.settings import to_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

BACKLOG = 1024
KILL_GRACE_S = 1.0
MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` of a Unix socket address in Linux, less its final zero."""
DEATH_SIGNALS = {"gunicorn": signal.SIGKILL, "nginx": signal.SIGTERM}
"""What a child gets if the supervisor is killed.  NGINX ends its workers at once on SIGTERM;
Gunicorn would let them finish for as long as a drain takes, for nobody, so that they see to
themselves."""


class ClassicSupervision:
    """NGINX and Gunicorn.  Gunicorn itself replaces a worker that dies."""

    def __init__(
        self,
        settings: Settings,
        capacity: Capacity,
        *,
        container_id: str,
        folder: Path,
        log: Log,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._capacity = capacity
        self._container_id = container_id
        self._folder = folder
        self._log = log
        self._signals = signals
        self._clock = clock
        self._children: dict[int, str] = {}
        self._outputs: dict[int, Output] = {}

    def run(self) -> int:
        """Supervise until a stop signal.

        Returns:
            Zero if all that was in flight was finished.

        Raises:
            ServerError: NGINX or Gunicorn ended by itself.
        """
        nginx = find_nginx()
        try:
            # Bound here and handed over, so that NGINX finds it whenever it starts.
            with _bind_unix(self._folder / "gunicorn.sock") as listener:
                self._start("gunicorn", self._gunicorn(listener.fileno()), (listener.fileno(),))
            self._start("nginx", [nginx, "-p", str(self._folder), "-c", self._nginx_conf()])
            return self._watch()
        finally:
            self._kill_all()

    def _watch(self) -> int:
        while True:
            if self._wait(None) & STOP_SIGNALS:
                return self._stop()
            for name, exit_code in self._ended():
                raise ServerError(
                    f"{name} ended ({say_how(exit_code)})", remedy="The log above says why"
                )

    def _wait(self, timeout_s: float | None) -> frozenset[int]:
        """Wait for a signal; meanwhile pass on what the children say."""
        arrived, readable = self._signals.wait(timeout_s, self._outputs)
        for fd in readable:
            if not self._outputs[fd].forward(self._log):
                os.close(fd)
                del self._outputs[fd]
        return arrived

    def _ended(self) -> Iterator[tuple[str, int]]:
        for pid, exit_code in reap():
            name = self._children.pop(pid, None)
            if name is not None:
                _kill_group(pid)  # its own children, if it was killed
                yield name, exit_code

    def _start(self, name: str, command: Sequence[str], fds: Sequence[int] = ()) -> None:
        said, saying = os.pipe()
        process = subprocess.Popen(
            command,
            stdout=saying,
            stderr=saying,
            env=self._environment(),
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            process_group=0,  # Control-C is for the supervisor to decide on
            preexec_fn=partial(_be_child, os.getpid(), DEATH_SIGNALS[name]),  # noqa: PLW1509 - the supervisor has no threads
        )
        os.close(saying)
        self._outputs[said] = Output(said, name)
        process.returncode = 0  # reaped by us, with the orphans; Popen must not wait for it
        self._children[process.pid] = name
        self._log.event("started", child=name, child_pid=process.pid)

    def _gunicorn(self, fd: int) -> list[str]:
        config = "python:drdeploy.hosting.serving.classic.gunicorn_conf"
        return [sys.executable, "-m", "gunicorn", "--config", config, "--bind", f"fd://{fd}"]

    def _nginx_conf(self) -> str:
        socket_path = self._folder / "gunicorn.sock"
        return str(write_configuration(self._settings, self._folder, socket_path, self._capacity))

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **to_environment(self._settings),
            "DRDEPLOY_STATE_DIR": str(self._folder),
            "DRDEPLOY_CONTAINER_ID": self._container_id,
        }

    def _stop(self) -> int:
        """NGINX stops to listen at once and finishes; then Gunicorn has nothing left to do."""
        self._log.event("stopping")
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        self._send("nginx", signal.SIGQUIT)
        codes = self._wait_for("nginx", deadline)
        self._send("gunicorn", signal.SIGTERM)
        codes += self._wait_for("gunicorn", deadline)
        is_drained = not self._children and not any(codes)
        self._log.event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _wait_for(self, name: str, deadline: float) -> list[int]:
        codes = []
        while True:
            codes += [exit_code for _, exit_code in self._ended()]
            left_s = deadline - self._clock()
            if name not in self._children.values() or left_s <= 0:
                return codes
            self._wait(left_s)

    def _send(self, name: str, number: int) -> None:
        for pid, child in self._children.items():
            if child == name:
                send(pid, number)

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
            f"The path of the socket has more than {MAX_SOCKET_PATH_BYTES} bytes",
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


def _be_child(supervisor: int, death_signal: int) -> None:
    """In the child: nobody else would stop it if the supervisor were killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    die_with_parent(supervisor, death_signal)

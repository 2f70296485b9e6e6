"""Start NGINX and Gunicorn, and let them finish their requests when a stop signal arrives.

If NGINX or Gunicorn ends by itself, the server ends with an error.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import ServerError
from drdeploy.hosting.serving.classic.nginx import find_nginx, write_nginx_configuration
from drdeploy.hosting.serving.classic.output import ChildOutput
from drdeploy.hosting.serving.processes import (
    STOP_SIGNALS,
    WATCHED,
    Signals,
    describe_exit_code,
    die_with_parent,
    reap_ended_children,
    send_signal,
)
from drdeploy.hosting.serving.settings import make_environment_variables
from drdeploy.hosting.serving.unix_sockets import bind_unix_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import ServerLog
    from drdeploy.hosting.serving.settings import Settings

BACKLOG = 1024
KILL_GRACE_S = 1.0
"""Seconds that NGINX and Gunicorn get to end by themselves after the drain has timed out."""
GUNICORN_CONFIGURATION = "python:drdeploy.hosting.serving.classic.gunicorn_conf"
DEATH_SIGNALS = {"gunicorn": signal.SIGKILL, "nginx": signal.SIGTERM}
"""The signal that the kernel sends each child process when the supervisor is killed. NGINX gets
SIGTERM, which ends its workers at once. Gunicorn gets SIGKILL, because on SIGTERM it would first
finish its requests, although NGINX, its only client, is gone. When Gunicorn ends, its workers get
SIGKILL too (see the module ``gunicorn_conf``)."""


class ClassicSupervision:
    """Supervises NGINX and Gunicorn; Gunicorn itself replaces workers that die."""

    def __init__(
        self,
        settings: Settings,
        capacity: Capacity,
        *,
        log: ServerLog,
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

    def supervise_until_stopped(self) -> int:
        """Supervise NGINX and Gunicorn until a stop signal; then let them finish their requests.

        Returns:
            The exit status: 0 if all requests in flight were finished, else 1.

        Raises:
            ServerError: NGINX is not installed, or NGINX or Gunicorn ended by itself.
            InvalidInput: No socket can be made in the state folder.
        """
        nginx = find_nginx()
        socket_path = self._folder / "gunicorn.sock"
        configuration = write_nginx_configuration(
            self._settings, self._folder, socket_path, self._capacity
        )
        try:
            # The supervisor binds the socket and passes it to Gunicorn. NGINX may therefore start
            # first. If a request comes before Gunicorn's workers have loaded, it waits in the
            # backlog, and is not answered with 502.
            where = f"DRDEPLOY_STATE_DIR={self._folder}"
            with bind_unix_socket(socket_path, BACKLOG, where=where) as listener:
                fd = listener.fileno()
                command = [sys.executable, "-m", "gunicorn", "--config", GUNICORN_CONFIGURATION]
                self._start_child("gunicorn", [*command, "--bind", f"fd://{fd}"], (fd,))
            self._start_child("nginx", [nginx, "-p", str(self._folder), "-c", str(configuration)])
            while (
                not self._wait_for_signal_and_log_output(self._log.seconds_until_summary)
                & STOP_SIGNALS
            ):
                for name, exit_code in self._reap_children():
                    raise ServerError(
                        f"The process {name} ended ({describe_exit_code(exit_code)})",
                        remedy="Read the log lines above this error",
                    )
            return self._stop_children()
        finally:
            self._kill_all_children()

    def _wait_for_signal_and_log_output(self, timeout_s: float | None) -> frozenset[int]:
        """Wait for a signal or for output of the child processes, and log the output."""
        arrived, readable = self._signals.wait_for_signal_or_descriptor(timeout_s, self._outputs)
        for fd in readable:
            if not self._outputs[fd].forward_output_to_log(self._log):
                os.close(fd)
                del self._outputs[fd]
        self._log.write_due_summary()
        return arrived

    def _reap_children(self) -> Iterator[tuple[str, int]]:
        """Reap ended processes, and yield the name and the exit code of each child process."""
        for pid, exit_code in reap_ended_children():
            name = self._children.pop(pid, None)
            if name is not None:
                _kill_process_group(pid)  # its own children may still run
                yield name, exit_code

    def _start_child(self, name: str, command: Sequence[str], fds: Sequence[int] = ()) -> None:
        output_read, output_write = os.pipe()
        process = subprocess.Popen(
            command,
            stdout=output_write,
            stderr=output_write,
            env={**os.environ, **make_environment_variables(self._settings)},
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            process_group=0,  # or Control-C in a terminal would end it undrained
            preexec_fn=partial(_tie_child_to_supervisor, os.getpid(), DEATH_SIGNALS[name]),  # noqa: PLW1509 - the supervisor has no threads
        )
        os.close(output_write)
        self._outputs[output_read] = ChildOutput(output_read, name)
        # reap_ended_children() reaps this child and the orphans that PID 1 inherits, so Popen must
        # not wait for the child.
        process.returncode = 0
        self._children[process.pid] = name
        self._log.write_event("started", child=name, child_pid=process.pid)

    def _stop_children(self) -> int:
        """Let NGINX close its port and finish its requests, and then stop Gunicorn."""
        self._log.write_event("stopping")
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        # https://nginx.org/en/docs/control.html: QUIT finishes what is in flight, TERM does not.
        codes = self._signal_child_and_wait("nginx", signal.SIGQUIT, deadline)
        codes += self._signal_child_and_wait("gunicorn", signal.SIGTERM, deadline)
        self._log_rest_of_output()
        self._log.write_due_summary(is_last=True)
        is_drained = not self._children and not any(codes)
        self._log.write_event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _signal_child_and_wait(self, name: str, number: int, deadline: float) -> list[int]:
        """Send a signal to a child process, and wait until it ends, or until a deadline.

        Returns the exit codes of all child processes that ended during the wait.
        """
        for pid, child in self._children.items():
            if child == name:
                send_signal(pid, number)
        codes = []
        while True:
            codes += [exit_code for _, exit_code in self._reap_children()]
            left_s = deadline - self._clock()
            if name not in self._children.values() or left_s <= 0:
                return codes
            self._wait_for_signal_and_log_output(left_s)

    def _log_rest_of_output(self) -> None:
        """Log what the child processes have printed last, which may say why they ended."""
        for output in self._outputs.values():
            output.forward_rest_to_log(self._log)

    def _kill_all_children(self) -> None:
        for pid in self._children:
            _kill_process_group(pid)
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()
        self._log_rest_of_output()
        for fd in self._outputs:
            os.close(fd)


def _kill_process_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tie_child_to_supervisor(supervisor: int, death_signal: int) -> None:
    """Make sure that a child process ends when the supervisor ends.

    This function runs in the child process, before its program starts.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    die_with_parent(supervisor, death_signal)

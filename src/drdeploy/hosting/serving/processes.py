"""What a PID 1 needs of its operating system: signals that wait, children that are reaped."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

EXIT_LOAD_REFUSED = 3
"""A worker's exit status when its model cannot be used: trying again would not help."""

PR_SET_PDEATHSIG = 1

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
WATCHED = (*STOP_SIGNALS, signal.SIGCHLD)


class Signals:
    """Signals as something to wait for, together with file descriptors."""

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver

    def wait(
        self, timeout_s: float | None, fds: Collection[int] = ()
    ) -> tuple[frozenset[int], list[int]]:
        """Wait for a signal or a readable descriptor.

        Returns:
            The signals that arrived and the descriptors that can be read.
        """
        watched: list[socket.socket | int] = [self._receiver, *fds]
        readable, _, _ = select.select(watched, [], [], timeout_s)
        arrived = frozenset(self._receiver.recv(64)) if self._receiver in readable else frozenset()
        return arrived, [fd for fd in readable if isinstance(fd, int)]


@contextmanager
def watched_signals() -> Iterator[Signals]:
    """Catch the stop signals and SIGCHLD for as long as the block runs."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    before = {number: signal.signal(number, _do_nothing) for number in WATCHED}
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield Signals(receiver)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        receiver.close()
        sender.close()


def _do_nothing(number: int, frame: object) -> None:
    """A handler must exist for the wake-up descriptor to be written."""


def reap() -> Iterator[tuple[int, int]]:
    """Collect every child that has ended, adopted orphans included: (pid, exit code).

    A negative exit code is the signal that ended it.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def say_how(exit_code: int) -> str:
    """``exit status 1`` or ``SIGKILL``."""
    if exit_code >= 0:
        return f"exit status {exit_code}"
    return signal.Signals(-exit_code).name


def become_child() -> None:
    """In a forked child: stop behaving like the supervisor.

    Control-C in a terminal reaches the whole group; the supervisor alone decides on it.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)


def die_with_parent(parent: int, number: int) -> None:
    """In a child: have the kernel signal it when its parent ends (Linux alone can)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)


def send(pid: int, number: int) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

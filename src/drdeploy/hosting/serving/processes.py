"""What a first process needs of the operating system: waiting for signals, reaping children.

PID 1 of a container is special in Linux: the kernel gives it no default action for a signal
(pid_namespaces(7)), so that without a handler SIGTERM would be ignored and a container killed after
the grace period; and every process whose parent has ended becomes its child, and stays a zombie
until it is reaped.
"""

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
    """Signals as something to wait for, together with file descriptors.

    Python's interpreter writes the number of each signal into a socket (``set_wakeup_fd``), so that
    none is lost between two waits, and what follows from it runs as ordinary code.
    """

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
    # A handler must exist, or the signal's default action would end the process instead.
    before = {number: signal.signal(number, lambda *_: None) for number in WATCHED}
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield Signals(receiver)
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        receiver.close()
        sender.close()


def reap() -> Iterator[tuple[int, int]]:
    """Collect every child that has ended, adopted orphans included, as (pid, exit code).

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


def describe_exit(exit_code: int) -> str:
    """Return ``exit status 1`` for a status, ``SIGKILL`` for a signal."""
    if exit_code >= 0:
        return f"exit status {exit_code}"
    return signal.Signals(-exit_code).name


def become_child() -> None:
    """Undo, in a forked child, what makes the supervisor react to signals.

    SIGINT is ignored: Control-C in a terminal reaches the whole process group, and the supervisor
    alone decides what it means.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)


def die_with_parent(parent: int, number: int) -> None:
    """Have the kernel send this child a signal when its parent ends (Linux alone can)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before prctl was called
        os._exit(1)


def send(pid: int, number: int) -> None:
    """Signal a process, which may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

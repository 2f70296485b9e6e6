"""Wait for signals and reap children, as the first process of a container must.

Linux treats the first process of a container differently from other processes in two ways
(pid_namespaces(7)). First, this process ignores signals for which it has no handler. Without a
handler for SIGTERM, the container would not stop when asked to, and would be killed at the end of
the grace period. Second, a process whose parent has ended becomes a child of the first process, and
stays a zombie until the first process reaps it.
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
"""The exit status of a worker whose model cannot be loaded.

Another worker would fail too, so none is started.
"""

PR_SET_PDEATHSIG = 1

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
WATCHED = (*STOP_SIGNALS, signal.SIGCHLD)


class Signals:
    """Waits for signals and file descriptors together.

    Python writes the number of each signal into a socket (``set_wakeup_fd``). If a signal arrives
    between two waits, the next wait finds its number in the socket, so no signal is lost. The code
    that reacts to a signal runs after the wait, and not inside a signal handler.
    """

    def __init__(self, receiver: socket.socket) -> None:
        self._receiver = receiver

    def wait_for_signal_or_descriptor(
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
def catch_watched_signals() -> Iterator[Signals]:
    """Catch the stop signals and SIGCHLD while the ``with`` block runs."""
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


def reap_ended_children() -> Iterator[tuple[int, int]]:
    """Reap all ended child processes, including adopted orphans; yield pairs of pid and exit code.

    A negative exit code is the number of the signal that ended the process.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def describe_exit_code(exit_code: int) -> str:
    """Describe an exit code as text, for example ``exit status 1`` or ``SIGKILL``."""
    if exit_code >= 0:
        return f"exit status {exit_code}"
    return signal.Signals(-exit_code).name


def reset_signals_in_child() -> None:
    """Remove the supervisor's signal handling in a forked child.

    The child ignores SIGINT. Control-C in a terminal sends SIGINT to the whole process group, and
    only the supervisor may react to it.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)


def die_with_parent(parent: int, number: int) -> None:
    """Make the kernel send this process a signal when its parent ends (only on Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # the parent ended before prctl was called
        os._exit(1)


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process, which may have ended already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

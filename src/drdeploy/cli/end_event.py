"""An event that ends a command, set by a signal or at the end of standard input."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from queue import SimpleQueue

from drdeploy.end_of_process import remove_everything_temporary


class EndEvent:
    """An event that a signal handler may set.

    A handler must not set a ``threading.Event``. If the signal arrives while the same thread holds
    the event's lock in ``wait``, the handler waits for the lock forever.
    """

    def __init__(self) -> None:
        # A SimpleQueue is Python's only queue whose `put` may be called while another `put` is
        # interrupted.
        self._messages: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set the event, so that each call of ``wait`` returns, now and later."""
        self._messages.put(None)

    def wait(self) -> None:
        """Wait until the event is set."""
        self._messages.get()
        self._messages.put(None)


def make_end_event(*, until_stdin_closes: bool) -> EndEvent:
    """Return an event that SIGTERM, Ctrl-C, SIGHUP or the end of standard input sets."""
    over = EndEvent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    if until_stdin_closes:
        threading.Thread(target=_set_event_at_end_of_input, args=(over,), daemon=True).start()
    return over


def _set_event_at_end_of_input(over: EndEvent) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    over.set()


def exit_without_waiting(status: int = 0) -> None:
    """End the process now, even if threads of libraries are still running.

    At a normal end, Python waits for each thread that is not a daemon. The threads of pynetdicom,
    for example, wait half a minute for an archive that does not answer. Temporary files, which may
    hold a patient's pixels, are deleted first.
    """
    remove_everything_temporary()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

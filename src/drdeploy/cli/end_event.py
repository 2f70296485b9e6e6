"""An event that tells a command to end: a signal, or the end of standard input."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue

from drdeploy.end_of_process import remove_everything_temporary


class EndEvent:
    """An event like ``threading.Event`` that can also be set in a signal handler.

    Setting a ``threading.Event`` in a signal handler is not safe. The signal may arrive while the
    same thread, in ``wait``, holds the event's lock. The handler would then wait for this lock
    forever.
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
    """Return an event that is set by SIGTERM, Ctrl-C, SIGHUP or the end of standard input."""
    over = EndEvent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # `nohup` ignores SIGHUP, so that a program goes on after its terminal is closed.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: over.set())
    if until_stdin_closes:
        threading.Thread(target=_set_event_at_end_of_input, args=(over,), daemon=True).start()
    return over


def _set_event_at_end_of_input(over: EndEvent) -> None:
    # An input that was closed before the start, or a terminal that is gone, has ended too.
    with suppress(OSError):
        while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
            pass
    over.set()


def exit_without_waiting(status: int = 0) -> None:
    """End the process now, even if threads of libraries are still running.

    When a program ends normally, Python waits for each thread that is not a daemon. The threads of
    pynetdicom, for example, wait half a minute for an archive that does not answer. Before it ends
    the process, this function deletes all temporary files, because they may show a patient's eye.
    """
    remove_everything_temporary()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

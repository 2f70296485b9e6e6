"""Tell a command that serves until it is stopped when to end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from queue import SimpleQueue


class EndEvent:
    """An event that a handler of signals may set.

    A ``threading.Event`` may not be set there: a signal that arrives while the same thread takes or
    gives back the event's lock in ``wait`` would wait for that lock for ever.
    """

    def __init__(self) -> None:
        # Of Python's queues, the only one whose `put` may interrupt another call of itself.
        self._messages: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Let ``wait`` return, now and later."""
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
    """End the process now, though threads of libraries are still at work.

    Python waits at its end for each thread that is not a daemon: those of pynetdicom, for example,
    wait half a minute for an archive that is silent.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""Write events as JSON lines on standard error, one line per event, without patient data.

The server's events do not use :mod:`logging`, because importing :mod:`logging` slows down a cold
start. Each line is one :func:`os.write`, so that the lines of several processes never mix.
``log_bridge`` turns the log records of libraries into JSON lines too.

Each graded request writes one line. The number of other lines that requests can cause is limited.
Without this limit, a flood of bad requests could fill the disk, or make the storage of logs
expensive. In each window of ten seconds, the first 50 lines of each kind are written. At the end of
the window, one more line says how many lines were withheld.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from drdeploy.hosting.serving.budgets import LOG_LINE_BYTES, LOG_LINES, LOG_WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["info", "warning", "error"]

_SEVERITY: dict[str, int] = {"info": 20, "warning": 30, "error": 40}
_STDERR = 2


class ServerLog:
    """Writes events of at least a given severity to a file descriptor.

    Args:
        level: The lowest severity of events that are written.
        fd: The file descriptor to write to.
        clock: Returns the time in seconds. The number of lines is limited in every ten seconds of
            this clock.
    """

    def __init__(
        self,
        level: Level = "info",
        *,
        fd: int = _STDERR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = _SEVERITY[level]
        self._fd = fd
        self._clock = clock
        self._lock = threading.Lock()  # libraries log from the threads that predict
        self._window_began = 0.0
        self._lines: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self._unwritten = 0

    def write_event(self, name: str, level: Level = "info", /, **fields: object) -> None:
        """Write one event with its time, its process and the given fields.

        Use this method only for graded requests, and for events that a client cannot cause again
        and again. For all other events, use :meth:`write_event_within_limit`.
        """
        if _SEVERITY[level] < self._threshold:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": name,
            "pid": os.getpid(),
            **{key: _truncate_log_text(value) for key, value in fields.items()},
        }
        self._write_line(msgspec.json.encode(line, enc_hook=str))

    def write_event_within_limit(
        self, name: str, level: Level = "warning", /, *, kind: str = "", **fields: object
    ) -> None:
        """Write an event, unless too many of its kind were written in this ten-second window.

        Args:
            name: The name of the event.
            level: The severity of the event.
            kind: The kind under which the event is counted; if empty, the event's name.
            **fields: The fields of the event.
        """
        kind = kind or name
        self.write_due_summary()
        with self._lock:
            self._begin_log_window()
            self._lines[kind] += 1
            may_be_written = self._lines[kind] <= LOG_LINES
        if may_be_written:
            self.write_event(name, level, **fields)

    def write_failure(self, name: str, error: BaseException, /, **fields: object) -> None:
        """Write an error event with an exception's message and traceback.

        Like :meth:`write_event_within_limit`, this method writes no more than a limited number of
        events in each window of ten seconds.
        """
        import traceback

        text = "".join(traceback.format_exception(error))
        self.write_event_within_limit(
            name, "error", kind=name, message=str(error), traceback=text, **fields
        )

    def count_turned_away_request(self, code: str) -> None:
        """Count a request that was refused; :meth:`write_due_summary` reports the number."""
        self.write_due_summary()
        with self._lock:
            self._begin_log_window()
            self._turned_away[code] += 1

    def forward_line(self, line: bytes) -> None:
        """Write a line that another process has already formatted as an event."""
        self._write_line(line)

    @property
    def seconds_until_summary(self) -> float | None:
        """The seconds until the current ten-second window ends; None if no window has begun."""
        if not self._window_began:
            return None
        return max(0.0, self._window_began + LOG_WINDOW_S - self._clock())

    def write_due_summary(self, *, is_last: bool = False) -> None:
        """After a ten-second window, write the number of withheld lines and refused requests.

        Args:
            is_last: Whether the process is about to end. The numbers are then written even if the
                window is not over.
        """
        with self._lock:
            if not self._window_began or (self.seconds_until_summary and not is_last):
                return
            seconds = round(self._clock() - self._window_began)
            lines, turned_away = self._lines, self._turned_away
            self._lines, self._turned_away = Counter(), Counter()
            self._window_began = 0.0
        if total := turned_away.total():
            self.write_event(
                "requests turned away",
                "warning",
                message=f"{_format_count(total, 'request')} turned away in the last {seconds} s",
                codes=dict(turned_away),
            )
        for kind, count in lines.items():
            if count > LOG_LINES:
                self.write_event(
                    "lines withheld",
                    "warning",
                    message=f"{_format_count(count - LOG_LINES, 'log line')} withheld "
                    f"in the last {seconds} s",
                    kind=kind,
                )

    def _begin_log_window(self) -> None:
        self._window_began = self._window_began or self._clock()

    def _write_line(self, line: bytes) -> None:
        """Write a line. If that fails, only count it, because a graded request must be answered.

        As soon as a line can be written again, one more line says how many were lost.
        """
        try:
            os.write(self._fd, line + b"\n")
        except OSError:  # the disk is full, or nobody reads the pipe any more
            with self._lock:
                self._unwritten += 1
            return
        with self._lock:
            lost, self._unwritten = self._unwritten, 0
        if lost:
            self.write_event(
                "lines lost",
                "warning",
                message=f"{_format_count(lost, 'log line')} lost, because the log could not be "
                "written",
            )


def _format_count(count: int, noun: str) -> str:
    return f"{count} {noun} was" if count == 1 else f"{count} {noun}s were"


def _truncate_log_text(value: object) -> object:
    """Shorten a string that is too long for a log line; return any other value unchanged."""
    if isinstance(value, str) and len(value) > LOG_LINE_BYTES:
        return f"{value[:LOG_LINE_BYTES]} [{len(value) - LOG_LINE_BYTES} characters cut off]"
    return value

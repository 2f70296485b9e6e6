"""Limit how many lines strangers can make a program write into its log."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 10.0
"""Length of a time window, in seconds."""


class CountedLine(NamedTuple):
    """What to do with a line for the log.

    Attributes:
        is_written: Whether the line is to be written.
        withheld: How many lines were withheld in an earlier window. The number is given once, with
            the first line after that window; otherwise, it is 0.
    """

    is_written: bool
    withheld: int


class LogLimit:
    """Lets the first lines of each time window pass, and counts the others.

    Without the limit, a stranger who sends one bad request after the other could fill the disk of
    the log. Several threads may use the same limit.

    Args:
        lines_per_window: How many lines pass in each window of :data:`WINDOW_S`.
        read_clock_s: Returns the time in seconds.
    """

    def __init__(
        self, lines_per_window: int, read_clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines_per_window = lines_per_window
        self._read_clock_s = read_clock_s
        self._lock = threading.Lock()
        self._window_ends_s = 0.0
        self._count = 0

    def count_line(self) -> CountedLine:
        """Count a line, and tell whether it is to be written."""
        with self._lock:
            now_s, withheld = self._read_clock_s(), 0
            if now_s >= self._window_ends_s:
                withheld = max(0, self._count - self._lines_per_window)
                self._window_ends_s, self._count = now_s + WINDOW_S, 0
            self._count += 1
            return CountedLine(self._count <= self._lines_per_window, withheld)

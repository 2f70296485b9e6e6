"""Write warnings about strangers to the log, but not more than a few in ten seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

LINES = 50
"""The largest number of warnings that are written in each time window."""
WINDOW_S = 10.0


class BoundedLog:
    """Writes the first warnings of each time window, and counts the others.

    Without the limit, a stranger who sends one wrong file after the other could fill the disk of
    the log.
    """

    def __init__(
        self, log: logging.Logger, read_clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._read_clock_s = read_clock_s
        self._lock = threading.Lock()
        self._window_ends_s = 0.0
        self._count = 0

    def write_warning(self, message: str, *values: object) -> None:
        """Write a warning, or only count it."""
        with self._lock:
            now_s, withheld = self._read_clock_s(), 0
            if now_s >= self._window_ends_s:
                withheld = max(0, self._count - LINES)
                self._window_ends_s, self._count = now_s + WINDOW_S, 0
            self._count += 1
            is_written = self._count <= LINES
        if withheld:
            self._log.warning("%d more warnings were not written", withheld)
        if is_written:
            self._log.warning(message, *values)

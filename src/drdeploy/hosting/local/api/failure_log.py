"""Log failed requests with their tracebacks, but limit their number to save disk space."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

TRACEBACKS = 10
"""The largest number of failures that are logged in each time window; a traceback takes some
kilobytes.
"""
WINDOW_S = 10.0
WHAT_CHARACTERS = 200


class FailureLog:
    """Logs the first failures of each time window, and counts the others.

    The limit is needed because a client can repeat a failing request as often as it likes.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._window_ends = 0.0
        self._count = 0

    def log_failure(self, what: str, error: Exception) -> None:
        """Log an exception with its traceback, or only count it if the limit is reached.

        Args:
            what: A description of the request that failed; a long description is cut off.
            error: The exception that made the request fail.
        """
        with self._lock:
            now, withheld = self._clock(), 0
            if now >= self._window_ends:
                withheld = max(0, self._count - TRACEBACKS)
                self._window_ends, self._count = now + WINDOW_S, 0
            self._count += 1
            is_logged = self._count <= TRACEBACKS
        if withheld:
            log.warning("%d more requests failed, and were not logged", withheld)
        if is_logged:
            log.error("%s failed", what[:WHAT_CHARACTERS], exc_info=error)

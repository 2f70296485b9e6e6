"""Log failed requests with their tracebacks, but limit their number to save disk space."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from drdeploy.log_limit import LogLimit

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

TRACEBACKS = 10
"""The largest number of failures that are logged in each time window; a traceback takes some
kilobytes.
"""
WHAT_CHARACTERS = 200


class FailureLog:
    """Logs the first failures of each time window, and counts the others.

    The limit is needed because a client can repeat a failing request as often as it likes.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = LogLimit(TRACEBACKS, clock)

    def log_failure(self, what: str, error: Exception) -> None:
        """Log an exception with its traceback, or only count it if the limit is reached.

        Args:
            what: A description of the request that failed; a long description is cut off.
            error: The exception that made the request fail.
        """
        line = self._limit.count_line()
        if line.withheld:
            log.warning("%d more requests failed, and were not logged", line.withheld)
        if line.is_written:
            log.error("%s failed", what[:WHAT_CHARACTERS], exc_info=error)

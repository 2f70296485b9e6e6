"""Write warnings about strangers to the log, but not more than a few in ten seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drdeploy.log_limit import LogLimit

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

LINES = 50
"""The largest number of warnings that are written in each time window."""


class BoundedLog:
    """Writes the first warnings of each time window, and counts the others.

    Args:
        log: Where the warnings are written.
        read_clock_s: Returns the time in seconds.
        lines: The largest number of warnings that are written in each time window.
    """

    def __init__(
        self,
        log: logging.Logger,
        read_clock_s: Callable[[], float] = time.monotonic,
        *,
        lines: int = LINES,
    ) -> None:
        self._log = log
        self._limit = LogLimit(lines, read_clock_s)

    def write_warning(self, message: str, *values: object) -> None:
        """Write a warning, or only count it."""
        line = self._limit.count_line()
        if line.withheld:
            self._log.warning("%d more warnings were not written", line.withheld)
        if line.is_written:
            self._log.warning(message, *values)

"""The clock that is passed to all code that measures time or sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """Tells the time and waits; tests pass functions of their own instead of the real clock.

    Attributes:
        monotonic: Returns the seconds of a clock that is never set forward or back, for measuring
            durations.
        now: Returns the wall-clock time, UTC.
        sleep: Waits for a number of seconds.
    """

    # perf_counter and not monotonic: the finer of the two on every platform.
    monotonic: Callable[[], float] = time.perf_counter
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep

    def sleep_until(self, deadline: float) -> None:
        """Sleep until :attr:`monotonic` reaches ``deadline``, unless it has passed."""
        remaining_s = deadline - self.monotonic()
        if remaining_s > 0:
            self.sleep(remaining_s)

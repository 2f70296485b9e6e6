"""Time as an argument: what measures, waits and stamps takes a :class:`Clock`."""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """The real clock by default.

    Attributes:
        monotonic: Seconds for durations; never steps.
        now: Wall-clock time, UTC, for stamps.
        sleep: Waits that many seconds.
    """

    monotonic: Callable[[], float] = time.perf_counter
    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], None] = time.sleep

    def sleep_until(self, deadline: float) -> None:
        """Sleep until :attr:`monotonic` reaches ``deadline``; at once if it has passed."""
        remaining_s = deadline - self.monotonic()
        if remaining_s > 0:
            self.sleep(remaining_s)

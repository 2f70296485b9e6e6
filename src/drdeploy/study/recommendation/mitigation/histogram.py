"""The hybrid histogram of idle times: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.

An idle time is the time between two requests. The policy counts idle times of up to four hours in a
histogram, whose bins are one minute wide. It expects that the next idle time will lie between
the 5th and the 99th percentile of the earlier idle times. As a margin, the window in which a
container is kept warm begins 10 % earlier and ends 10 % later.

In three cases, the histogram cannot predict the next request, and the container is kept warm for
all four hours:

- There are fewer than ten idle times.
- The idle times are spread over many bins (the counts of the bins have a coefficient of variation
  below 2).
- More than half of the idle times are longer than four hours. In this case, the authors of the
  paper predict with a time series. This project does not; its policy ``forecast`` is separate.

The system of Shahrad et al. starts and stops containers itself. On SageMaker, the platform decides
when to stop a container, so keep-warm requests are sent instead. The first keep-warm request is
sent when the window begins. If the container would still be warm at that time, the request is sent
later, just before the platform would stop the container. Further keep-warm requests follow at equal
intervals until the window ends or a client's request arrives.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BIN_S = 60.0
BINS = 240
HEAD, TAIL, MARGIN = 0.05, 0.99, 0.10
LEAST_VARIATION = 2.0
MOST_BEYOND_RANGE = 0.5
FEWEST_IDLE_TIMES = 10
"""The histogram is used only if it holds at least this many idle times. Shahrad et al. state
no number."""


class IdleTimes:
    """A histogram of all idle times observed so far."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS)
        self._beyond_range = 0
        self._n = 0

    def add_idle_times(self, idle_s: NDArray[np.float64]) -> None:
        """Add idle times to the histogram."""
        at = (idle_s // BIN_S).astype(np.int64)
        self._bins += np.bincount(at[at < BINS], minlength=BINS)
        self._beyond_range += int((at >= BINS).sum())
        self._n += idle_s.size

    def predict_window_of_next_request_s(self) -> tuple[float, float]:
        """Return the shortest and the longest expected time from the last request to the next."""
        # Without enough evidence, the container is kept warm for all four hours, as the authors do.
        whole = (0.0, BINS * BIN_S)
        within = self._n - self._beyond_range
        if self._n < FEWEST_IDLE_TIMES or self._beyond_range > MOST_BEYOND_RANGE * self._n:
            return whole
        if self._bins.std() < LEAST_VARIATION * self._bins.mean():
            return whole
        below = np.cumsum(self._bins)
        head = int(np.searchsorted(below, HEAD * within))
        tail = int(np.searchsorted(below, TAIL * within)) + 1
        return head * BIN_S * (1 - MARGIN), tail * BIN_S * (1 + MARGIN)


def compute_keep_warm_times_s(
    times_s: NDArray[np.float64], interval_s: float, horizon_s: float
) -> NDArray[np.float64]:
    """Return the times of keep-warm requests in ascending order.

    Args:
        times_s: The times of client requests.
        interval_s: The time between two keep-warm requests. It is also the shortest time between a
            client request and the first keep-warm request after it.
        horizon_s: The end of the simulated time. No keep-warm request is sent after it.
    """
    gaps = np.diff(times_s, append=horizon_s)
    known, counted, moments = IdleTimes(), 0, []
    # An idle time that is shorter than the interval needs no keep-warm request, so a window is
    # predicted only for longer ones. For each prediction, the histogram holds only earlier idle
    # times.
    for at in np.flatnonzero(gaps > interval_s).tolist():
        known.add_idle_times(gaps[counted:at])
        counted = at
        head, tail = known.predict_window_of_next_request_s()
        first, last = max(head, interval_s), min(tail, float(gaps[at]))
        count = ceil((last - first) / interval_s)
        moments.append(float(times_s[at]) + first + np.arange(max(count, 0)) * interval_s)
    return np.concatenate(moments) if moments else np.empty(0)

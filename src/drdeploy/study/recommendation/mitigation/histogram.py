"""The hybrid histogram of idle times: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.

The policy counts the idle times between requests in bins of a minute, up to four hours.  After a
request, the histogram's head (5th percentile) says when the next one may come at the earliest, its
tail (99th percentile) until when waiting for it is worthwhile; 10 % is taken off and added as a
margin.  Where the histogram says nothing (its bins are alike: coefficient of variation below 2), or
too many idle times exceed its range, the container is kept warm for the whole range.  The authors
fit a time series in the latter case; here the seasonal forecast is a policy of its own.

The authors load and unload containers themselves.  On SageMaker a container goes when the platform
decides, so keep-warm requests are sent instead: the first at the head, or when the platform would
remove the container, whichever is later; then one at every interval until the tail.
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
"""The histogram is not used before it holds so many (the authors do not state their number)."""


class IdleTimes:
    """A histogram of the idle times observed so far."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS)
        self._beyond_range = 0
        self._n = 0

    def add(self, idle_s: NDArray[np.float64]) -> None:
        """Count idle times."""
        at = (idle_s // BIN_S).astype(np.int64)
        self._bins += np.bincount(at[at < BINS], minlength=BINS)
        self._beyond_range += int((at >= BINS).sum())
        self._n += idle_s.size

    def window_s(self) -> tuple[float, float]:
        """Return from when to when after a request the next one is expected, in seconds."""
        # Without evidence the container is kept for the whole range, as the authors do.
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


def keep_warm_moments(
    times_s: NDArray[np.float64], interval_s: float, horizon_s: float
) -> NDArray[np.float64]:
    """Moments at which the policy sends keep-warm requests; shape ``(m,)``, ascending.

    Args:
        times_s: Moments of the clients' requests.
        interval_s: Time between keep-warm requests.
        horizon_s: End of the observed time.
    """
    gaps = np.diff(times_s, append=horizon_s)
    known, counted, moments = IdleTimes(), 0, []
    # An idle time shorter than the interval needs no keep-warm request, so the histogram is used
    # for the longer ones only.  At each it holds the idle times before it, and none after.
    for at in np.flatnonzero(gaps > interval_s).tolist():
        known.add(gaps[counted:at])
        counted = at
        head, tail = known.window_s()
        first, last = max(head, interval_s), min(tail, float(gaps[at]))
        count = ceil((last - first) / interval_s)
        moments.append(float(times_s[at]) + first + np.arange(max(count, 0)) * interval_s)
    return np.concatenate(moments) if moments else np.empty(0)

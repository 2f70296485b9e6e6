"""The hybrid histogram of idle times: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020.

A histogram of the idle times seen so far, in minutes up to four hours.  After a request the head
(5th percentile) says when the next one may come at the earliest, the tail (99th) until when it is
worth waiting; 10 % is taken off and added as a margin.  Where the histogram tells nothing (its
bins are alike: coefficient of variation below 2) or too many idle times exceed its range, the
container is kept for the whole range.  The authors fit a time series to the latter; here the
seasonal forecast is a policy of its own.

They unload and load containers.  On SageMaker a container goes when the platform says so, hence
what is done here: the first keep-warm request at the head, or when the platform would let the
container go, whichever is later; then one at every interval until the tail.
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
"""Before so many the histogram is not asked (ours: the authors do not print theirs)."""


class IdleTimes:
    """What is known so far."""

    def __init__(self) -> None:
        self._bins = np.zeros(BINS)
        self._beyond = 0
        self._seen = 0

    def see(self, idle_s: NDArray[np.float64]) -> None:
        """Take idle times in."""
        at = (idle_s // BIN_S).astype(np.int64)
        self._bins += np.bincount(at[at < BINS], minlength=BINS)
        self._beyond += int((at >= BINS).sum())
        self._seen += idle_s.size

    def window_s(self) -> tuple[float, float]:
        """From when to when after a request the next one is expected, in seconds."""
        whole = (0.0, BINS * BIN_S)
        within = self._seen - self._beyond
        if self._seen < FEWEST_IDLE_TIMES or self._beyond > MOST_BEYOND_RANGE * self._seen:
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
    """Moments of keep-warm requests for arrivals; shape ``(m,)``, ascending.

    Only an idle time longer than the interval has any, so the histogram is asked for those alone;
    it then knows every idle time before them, and none after.
    """
    gaps = np.diff(times_s, append=horizon_s)
    known, told, moments = IdleTimes(), 0, []
    for at in np.flatnonzero(gaps > interval_s).tolist():
        known.see(gaps[told:at])
        told = at
        head, tail = known.window_s()
        first, last = max(head, interval_s), min(tail, float(gaps[at]))
        count = ceil((last - first) / interval_s)
        moments.append(float(times_s[at]) + first + np.arange(max(count, 0)) * interval_s)
    return np.concatenate(moments) if moments else np.empty(0)

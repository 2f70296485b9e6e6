"""What came of simulated traffic."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


WAITS = 2_000
"""Waits that are kept of an outcome."""


class SimulatedStart(IntEnum):
    """How a request was begun."""

    WARM = 0
    COLD = 1
    PROVISIONED = 2
    THROTTLED = 3


@dataclass(frozen=True, eq=False)
class SimulationOutcome:
    """One simulated stretch of traffic; the clients' requests alone, in order of arrival.

    Attributes:
        latency_s: As the client sees it, waiting included; infinite where throttled: a request
            that is refused is never answered.
        waiting_s: For a free worker; zero on a serverless endpoint, which does not queue.
        busy_s: That a container was taken; zero where throttled.
        starts: :class:`SimulatedStart` of each, as ``uint8``.
        keep_warm_requests: That nobody asked for, sent to keep containers warm.
        on_demand_s: Billed at the price on demand, those of keep-warm requests among them.
        provisioned_duration_s: Billed at the price of provisioned containers at work.
        provisioned_held_s: Container-seconds that were held provisioned.
    """

    times_s: Floats
    latency_s: Floats
    waiting_s: Floats
    busy_s: Floats
    starts: NDArray[np.uint8]
    keep_warm_requests: int = 0
    on_demand_s: float = 0.0
    provisioned_duration_s: float = 0.0
    provisioned_held_s: float = 0.0

    @property
    def n(self) -> int:
        """Requests of clients."""
        return self.latency_s.size

    def count(self, start: SimulatedStart) -> int:
        """How many began that way."""
        return int((self.starts == start).sum())

    @property
    def cold_share(self) -> float:
        """Of the answered requests, those that a container was started for."""
        answered = self.n - self.count(SimulatedStart.THROTTLED)
        return self.count(SimulatedStart.COLD) / answered if answered else 0.0

    @property
    def throttled_share(self) -> float:
        """Of all requests, those that were refused."""
        return self.count(SimulatedStart.THROTTLED) / self.n

    def latency_percentile_s(self, share: float) -> float:
        """A percentile over all requests: the smallest latency that ``share`` of them keep."""
        return float(np.quantile(self.latency_s, share, method="inverted_cdf"))

    def peak_concurrency(self) -> int:
        """Most requests of clients that were under way at once."""
        accepted = self.starts != SimulatedStart.THROTTLED
        begins = (self.times_s + self.waiting_s)[accepted]
        ends = np.sort(begins + self.busy_s[accepted])
        done = np.searchsorted(ends, np.sort(begins), side="right")
        return int((np.arange(1, begins.size + 1) - done).max(initial=0))

    def figures(self) -> Figures:
        """What a decision needs of it, in constant memory."""
        sample = np.linspace(0, self.n - 1, WAITS).astype(np.int64)
        return Figures(
            n=self.n,
            warm=self.count(SimulatedStart.WARM),
            cold=self.count(SimulatedStart.COLD),
            provisioned=self.count(SimulatedStart.PROVISIONED),
            throttled=self.count(SimulatedStart.THROTTLED),
            p50_s=self.latency_percentile_s(0.5),
            p95_s=self.latency_percentile_s(0.95),
            waiting_p95_s=float(np.quantile(self.waiting_s, 0.95, method="inverted_cdf")),
            waits_s=self.waiting_s[sample],
            peak_concurrency=self.peak_concurrency(),
            keep_warm_requests=self.keep_warm_requests,
            on_demand_s=self.on_demand_s,
            provisioned_duration_s=self.provisioned_duration_s,
            provisioned_held_s=self.provisioned_held_s,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Figures:
    """An outcome in numbers; the arrays of a country's traffic would not fit for every option.

    Attributes:
        n: Requests of clients: ``warm``, ``cold``, ``provisioned`` or ``throttled``.
        p50_s: Of the latency of all of them; infinite where that many are refused.
        p95_s: The same.
        waiting_p95_s: For a free worker.
        waits_s: Waiting of requests that are evenly spread over the traffic; shape ``(WAITS,)``.
        peak_concurrency: Most requests at once.
        keep_warm_requests: As in :class:`SimulationOutcome`, like the seconds.
    """

    n: int
    warm: int
    cold: int
    provisioned: int
    throttled: int
    p50_s: float
    p95_s: float
    waiting_p95_s: float
    waits_s: Floats
    peak_concurrency: int
    keep_warm_requests: int
    on_demand_s: float
    provisioned_duration_s: float
    provisioned_held_s: float

    @property
    def answered(self) -> int:
        """Those that were not refused."""
        return self.n - self.throttled

    @property
    def cold_share(self) -> float:
        """Of the answered requests."""
        return self.cold / self.answered if self.answered else 0.0

    @property
    def throttled_share(self) -> float:
        """Of all requests."""
        return self.throttled / self.n


def billed_s(busy_s: Floats) -> float:
    """Seconds to pay for: each invocation rounded up to a millisecond."""
    return float(np.ceil(np.round(busy_s * 1000, 6)).sum() / 1000)

"""The outcome of a simulation, request by request and summarised."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


WAITS = 2_000
"""Number of waiting times that a summary keeps, for the bootstrap of the p95."""


class SimulatedStart(IntEnum):
    """How a request was answered: by which kind of container, or not at all."""

    WARM = 0
    COLD = 1
    PROVISIONED = 2
    THROTTLED = 3


@dataclass(frozen=True, eq=False)
class SimulationOutcome:
    """What happened to each request of the clients, in order of arrival.

    Attributes:
        times_s: Moment of arrival.
        latency_s: Latency as the client sees it, waiting included; infinite for a request that was
            refused, because it is never answered.
        waiting_s: Time spent waiting for a free worker; zero on a serverless endpoint, which does
            not queue.
        busy_s: Time that a container was occupied; zero for a request that was refused.
        starts: The :class:`SimulatedStart`, as ``uint8``.
        keep_warm_requests: Number of requests that were sent to keep containers warm; they are not
            among the clients' requests.
        on_demand_s: Seconds billed at the price on demand, those of keep-warm requests included.
        provisioned_duration_s: Seconds billed at the price of provisioned containers at work.
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
        """Number of clients' requests."""
        return self.latency_s.size

    def count(self, start: SimulatedStart) -> int:
        """Number of requests that were answered that way."""
        return int((self.starts == start).sum())

    def latency_percentile_s(self, share: float) -> float:
        """Smallest latency that ``share`` of all requests do not exceed."""
        # No interpolation: between a finite and an infinite latency it would give nonsense.
        return float(np.quantile(self.latency_s, share, method="inverted_cdf"))

    def peak_concurrency(self) -> int:
        """Most clients' requests that were being served at once."""
        accepted = self.starts != SimulatedStart.THROTTLED
        begins = (self.times_s + self.waiting_s)[accepted]
        ends = np.sort(begins + self.busy_s[accepted])
        # When the k-th request begins, k have begun; subtract those that have ended by then.
        done = np.searchsorted(ends, np.sort(begins), side="right")
        return int((np.arange(1, begins.size + 1) - done).max(initial=0))

    def summary(self) -> SimulationSummary:
        """Keep what a decision needs; the requests of a country would not fit for every option."""
        # Spread over the traffic: the first ones would all come from one quiet or busy hour.
        sample = np.linspace(0, self.n - 1, WAITS).astype(np.int64)
        return SimulationSummary(
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
class SimulationSummary:
    """An outcome in numbers.

    Attributes:
        n: Number of clients' requests, each ``warm``, ``cold``, ``provisioned`` or ``throttled``.
        p50_s: Median latency of all requests; infinite where half of them are refused.
        p95_s: The 95th percentile; infinite where more than 5 % are refused.
        waiting_p95_s: The 95th percentile of the time that a request waits for a free worker.
        waits_s: Waiting times of requests evenly spread over the traffic; shape ``(WAITS,)``.
        peak_concurrency: Most requests at once.
        keep_warm_requests: See :class:`SimulationOutcome`, as for the seconds.
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
        """Number of requests that were not refused."""
        return self.n - self.throttled

    @property
    def cold_share(self) -> float:
        """Share of the answered requests that met a cold start."""
        return self.cold / self.answered if self.answered else 0.0

    @property
    def throttled_share(self) -> float:
        """Share of all requests that were refused."""
        return self.throttled / self.n


def billed_s(busy_s: Floats) -> float:
    """Seconds that AWS bills: each invocation is rounded up to a millisecond."""
    # Rounding first: 0.010 s are 10.000000000000002 ms in floating point, but 10 on the bill.
    return float(np.ceil(np.round(busy_s * 1000, 6)).sum() / 1000)

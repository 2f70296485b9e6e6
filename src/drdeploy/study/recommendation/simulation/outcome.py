"""The outcome of a simulation: the result of each request, and a summary of all requests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats


WAITS = 2_000
"""The number of waiting times that a summary keeps for the bootstrap of the p95."""


class SimulatedStart(IntEnum):
    """How a request was answered: by a warm, cold or provisioned container, or not at all.

    ``THROTTLED`` means that the request was refused, or that AWS ended it without an answer.
    """

    WARM = 0
    COLD = 1
    PROVISIONED = 2
    THROTTLED = 3


@dataclass(frozen=True, eq=False)
class SimulationOutcome:
    """The result of each client request, in order of arrival.

    Attributes:
        times_s: The time of arrival of each request.
        latency_s: The latency at the client, including waiting. The latency of a refused request,
            which is never answered, is infinite.
        waiting_s: The time that each request waits for a free worker; zero on a serverless
            endpoint, which has no queue.
        busy_s: The time that each request occupies a container; zero for a refused request.
        starts: The :class:`SimulatedStart` of each request, as ``uint8``.
        keep_warm_requests: The number of keep-warm requests, which are not client requests.
        on_demand_s: Seconds billed at the on-demand price, including those of keep-warm requests.
        provisioned_duration_s: Seconds billed at the price of a working provisioned container.
        provisioned_held_s: Seconds that containers were held ready, summed over containers.
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
    def request_count(self) -> int:
        """The number of client requests."""
        return self.latency_s.size

    def count_requests_with_start(self, start: SimulatedStart) -> int:
        """Return the number of client requests with the given kind of start."""
        return int((self.starts == start).sum())

    def compute_latency_percentile_s(self, share: float) -> float:
        """Return the smallest latency within which ``share`` of all requests are answered."""
        # No interpolation: between a finite and an infinite latency it would give nonsense.
        return float(np.quantile(self.latency_s, share, method="inverted_cdf"))

    def compute_peak_concurrency(self) -> int:
        """Return the largest number of client requests that were in progress at once."""
        accepted = self.starts != SimulatedStart.THROTTLED
        begins = (self.times_s + self.waiting_s)[accepted]
        ends = np.sort(begins + self.busy_s[accepted])
        # When the k-th request begins, k requests have begun. Those that have ended by then are
        # subtracted.
        done = np.searchsorted(ends, np.sort(begins), side="right")
        return int((np.arange(1, begins.size + 1) - done).max(initial=0))

    def make_summary(self) -> SimulationSummary:
        """Return a summary of the outcome, which takes far less memory than the outcome."""
        # The sample is spread over the whole traffic. The first waits would all come from one hour,
        # which may be quiet or busy.
        sample = np.linspace(0, self.request_count - 1, WAITS).astype(np.int64)
        return SimulationSummary(
            n=self.request_count,
            warm=self.count_requests_with_start(SimulatedStart.WARM),
            cold=self.count_requests_with_start(SimulatedStart.COLD),
            provisioned=self.count_requests_with_start(SimulatedStart.PROVISIONED),
            throttled=self.count_requests_with_start(SimulatedStart.THROTTLED),
            p50_s=self.compute_latency_percentile_s(0.5),
            p95_s=self.compute_latency_percentile_s(0.95),
            waiting_p95_s=float(np.quantile(self.waiting_s, 0.95, method="inverted_cdf")),
            waits_s=self.waiting_s[sample],
            slowest_s=float(self.latency_s.max()),
            peak_concurrency=self.compute_peak_concurrency(),
            keep_warm_requests=self.keep_warm_requests,
            on_demand_s=self.on_demand_s,
            provisioned_duration_s=self.provisioned_duration_s,
            provisioned_held_s=self.provisioned_held_s,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulationSummary:
    """A summary of an outcome.

    Attributes:
        n: The number of client requests, which is the sum of ``warm``, ``cold``, ``provisioned``
            and ``throttled``.
        p50_s: The median latency of all requests; infinite if more than half of them are refused.
        p95_s: The 95th percentile of the latency; infinite if more than 5 % of the requests are
            refused.
        waiting_p95_s: The 95th percentile of the time that a request waits for a free worker.
        waits_s: The waiting times of a sample of the requests, which the bootstrap of the p95 uses;
            shape ``(WAITS,)``.
        slowest_s: The longest latency; infinite if a request is refused.
        peak_concurrency: The largest number of client requests in progress at once.
        keep_warm_requests: The number of keep-warm requests.
        on_demand_s: Seconds billed at the on-demand price.
        provisioned_duration_s: Seconds billed at the price of a working provisioned container.
        provisioned_held_s: Seconds that containers were held ready, summed over containers.
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
    slowest_s: float
    peak_concurrency: int
    keep_warm_requests: int
    on_demand_s: float
    provisioned_duration_s: float
    provisioned_held_s: float

    @property
    def answered_requests(self) -> int:
        """The number of requests that were not refused."""
        return self.n - self.throttled

    @property
    def cold_share(self) -> float:
        """The share of the answered requests that had to wait for a cold start."""
        return self.cold / self.answered_requests if self.answered_requests else 0.0

    @property
    def throttled_share(self) -> float:
        """The share of all requests that were refused."""
        return self.throttled / self.n


def compute_billed_s(busy_s: Floats) -> float:
    """Return the sum of the billed seconds. AWS rounds each request up to a full millisecond."""
    # Round first: 0.010 s are 10.000000000000002 ms in floating point, but 10 ms on the bill.
    return float(np.ceil(np.round(busy_s * 1000, 6)).sum() / 1000)

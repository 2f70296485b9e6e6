"""Find the highest rate at which an endpoint answers in time.

1. First, 1 client sends requests, then 2 clients, then 4, and so on. Each client waits for the
   answer before it sends its next request (a closed loop). This shows the latency of a single
   request, and the highest throughput.
2. Then requests arrive at random (Poisson), whether or not earlier requests are answered (an open
   loop). This shows how many requests are late at each rate. The search begins at half of the
   highest throughput, and finds two limits. The lower limit is the highest rate at which every run
   met the requirement. The upper limit is the lowest rate at which every run missed it. The search
   then tries rates between the limits, which brings the limits closer together.

The search stops when the two limits differ by less than the required precision, when the time is
up, or after 24 rates. It also stops if the measured rates between the limits are close together.
At each of these rates, some runs met the requirement and others missed it.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import optimize

from drdeploy.errors import EndpointError
from drdeploy.study.design.scenarios import MAX_IN_FLIGHT, OpenLoop
from drdeploy.study.measurements.capacity import ConcurrencyStep, RateRun
from drdeploy.study.running.sending import TrialContext, send_missing_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.hosting.sagemaker import Clock, Invocation
    from drdeploy.study.running.photographs import Photograph
    from drdeploy.study.running.sending import ObservedInvocation

LATE_SHARE = 0.05
"""The largest share of late requests that meets a requirement on the 95th percentile."""
HOPELESS_SHARE = 0.25
"""A run is stopped when more than this share of its requests is late, because it is certain to miss
the requirement."""
SETTLING_SHARE = 0.15
"""The number of additional requests at the beginning of a run, as a share of the requests that
count. These additional requests do not count, because the endpoint was idle before them.
"""
GROWTH = 1.05
"""The number of clients is doubled as long as each doubling multiplies the throughput by at least
this factor."""
ROUNDS_MAX = 24
SHORT_RUN_S = 60.0
"""A run of at most this length may begin even if it would end after the time limit."""
DELAYED_S = 0.01
"""A request counts as delayed if it is sent more than this many seconds after its scheduled
time."""


@dataclass(frozen=True)
class WeightedPhotographs:
    """Photographs of one kind, with a weight: kinds with a larger weight are sent more often."""

    name: str
    weight: float
    photographs: tuple[Photograph, ...]


@dataclass(frozen=True, kw_only=True)
class CapacitySearch:
    """The settings of a search for the highest rate at which an endpoint answers in time.

    Attributes:
        p95_s: The latency that at most 5 of 100 requests may exceed.
        requests: The number of requests in one run.
        runs: The number of runs at a rate. If a run clearly meets or misses the requirement, fewer
            are enough. Each run has its own random arrivals.
        precision: The search narrows the highest rate down between a lower and an upper limit. It
            stops when the two limits differ by less than this share of the lower limit.
        time_limit_s: The search stops after this number of seconds.
        max_clients: The largest number of clients in the closed loop.
        seed: The seed of all random numbers.
    """

    p95_s: float
    requests: int = 400
    runs: int = 3
    precision: float = 0.1
    time_limit_s: float = 900.0
    max_clients: int = 64
    seed: int = 2023


@dataclass(frozen=True)
class FoundCapacity:
    """The result of a search.

    :class:`~drdeploy.study.measurements.capacity.CapacityResult` explains the attributes. Here,
    ``requests_at_once`` is the number for all instances together, and is not rounded.
    """

    rate_per_s: float | None
    low_per_s: float | None
    high_per_s: float | None
    requests_at_once: float
    steps: tuple[ConcurrencyStep, ...]
    runs: tuple[RateRun, ...]
    stopped: str
    notes: tuple[str, ...]


class CapacityProbe(Protocol):
    """Measures how an endpoint answers under a load."""

    def measure_concurrency(self, clients: int) -> ConcurrencyStep:
        """Measure throughput and latency with several clients, each with one request at a time."""

    def run_at_rate(self, rate_per_s: float, seed: str) -> RateRun:
        """Send requests at random times at the given mean rate, and measure their latencies."""


@dataclass
class CapacityFinder:
    """Searches for the highest rate at which one endpoint meets the requirement.

    Attributes:
        search: The settings of the search.
        probe: Measures the endpoint.
        clock: The clock that measures the time limit.
        report: Called with a sentence after each step.
    """

    search: CapacitySearch
    probe: CapacityProbe
    clock: Clock
    report: Callable[[str], None] = lambda _: None
    _steps: list[ConcurrencyStep] = field(default_factory=list)
    _runs: list[RateRun] = field(default_factory=list)
    _deadline: float = 0.0

    def find_highest_rate(self) -> FoundCapacity:
        """Return the highest rate that meets the requirement, and all measurements of the search.

        Raises:
            EndpointError: The endpoint fails.
        """
        self._deadline = self.clock.monotonic() + self.search.time_limit_s
        self._measure_growing_concurrency()
        best = max(self._steps, key=lambda step: step.per_s)
        if self._steps[0].median_s > self.search.p95_s:
            stopped = (
                f"A single request takes {self._steps[0].median_s:.3g} s, which is longer "
                f"than the required {self.search.p95_s:g} s (--p95)"
            )
        else:
            stopped = self._narrow_down_rate(best.per_s)
        low, high = self._find_limits_of_rate()
        return FoundCapacity(
            rate_per_s=self._estimate_highest_rate(low, high),
            low_per_s=low,
            high_per_s=high,
            requests_at_once=best.per_s * self._steps[0].median_s,
            steps=tuple(self._steps),
            runs=tuple(self._runs),
            stopped=stopped,
            notes=tuple(self._list_notes()),
        )

    # -- clients that wait for their answer ----------------------------------------------

    def _measure_growing_concurrency(self) -> None:
        clients, best_per_s = 1, 0.0
        while clients <= self.search.max_clients:
            step = self.probe.measure_concurrency(clients)
            self._steps.append(step)
            self.report(
                f"{clients} client{'s' * (clients > 1)}: {step.per_s:.3g} answers a second, "
                f"p95 {step.p95_s:.3g} s"
            )
            if step.per_s < GROWTH * best_per_s or step.failed or self._is_time_up():
                break
            best_per_s = step.per_s
            clients *= 2

    # -- requests that arrive at random --------------------------------------------------

    def _narrow_down_rate(self, throughput_per_s: float) -> str:
        rate = throughput_per_s / 2
        for _ in range(ROUNDS_MAX):
            too_long = self._describe_run_that_lasts_too_long(rate)
            if too_long:
                return too_long
            self._measure_rate_repeatedly(rate)
            low, high = self._find_limits_of_rate()
            if self._is_time_up():
                return f"The time limit of {self.search.time_limit_s:g} s is reached"
            are_close = low and high and high <= low * (1 + self.search.precision)
            following = None if are_close else self._choose_next_rate()
            if following is None and low and self._count_runs(low) < self.search.runs:
                following = low  # one run may have met the requirement by chance
            if following is None and are_close:
                return (
                    "The lower and the upper limit of the rate differ by less than "
                    f"{self.search.precision:.0%}"
                )
            if following is None:
                return (
                    "Between the limits, some runs met the requirement and others missed it. "
                    "Longer runs (--requests) bring the limits closer together"
                )
            rate = following
        return f"{ROUNDS_MAX} rates were tried"

    def _choose_next_rate(self) -> float | None:
        """Return the rate to measure next, or None to end the search.

        The search ends if the measured rates between the lower and the upper limit are close
        together. At each of these rates, some runs met the requirement and others missed it.
        """
        low, high = self._find_limits_of_rate()
        if low is None:
            # The lower limit is still unknown, so a rate below all measured rates comes next.
            return min(self._list_measured_rates()) / 1.5
        if high is None:
            return max(self._list_measured_rates()) * 1.3
        # At rates between the limits, some runs met the requirement and others missed it. A run in
        # the middle of the widest gap between these rates gives the most information.
        inside = sorted(
            {low, high, *(one for one in self._list_measured_rates() if low < one < high)}
        )
        widest, left, right = max((right / left, left, right) for left, right in pairwise(inside))
        if widest <= 1 + self.search.precision / 2:
            return None
        return float(np.sqrt(left * right))

    def _measure_rate_repeatedly(self, rate: float) -> None:
        done = self._count_runs(rate)
        for _ in range(max(1, self.search.runs - done)):
            seed = f"{self.search.seed}-{rate:.6g}-{len(self._runs)}"
            run = self.probe.run_at_rate(rate, seed)
            self._runs.append(run)
            if self._is_time_up() or self._describe_run_that_lasts_too_long(rate):
                break
            # A rate that clearly misses or meets the requirement needs no second run until it
            # becomes the lower limit. A run above a rate that another run missed may have met the
            # requirement by chance, so it is always repeated.
            is_below = all(
                one.rate_per_s >= rate for one in self._runs if not _is_requirement_met_by_run(one)
            )
            if run.share_of_late_answers >= HOPELESS_SHARE or (
                run.share_of_late_answers <= LATE_SHARE / 5 and is_below and not done
            ):
                break
        runs = [one for one in self._runs if one.rate_per_s == rate]
        met = sum(one.share_of_late_answers <= LATE_SHARE for one in runs)
        self.report(f"{rate:.3g} requests a second: {met} of {len(runs)} runs met the requirement")

    # -- what the runs say ---------------------------------------------------------------

    def _list_measured_rates(self) -> list[float]:
        return sorted({one.rate_per_s for one in self._runs})

    def _count_runs(self, rate: float) -> int:
        return sum(one.rate_per_s == rate for one in self._runs)

    def _list_late_shares(self, rate: float) -> list[float]:
        return [one.share_of_late_answers for one in self._runs if one.rate_per_s == rate]

    def _estimate_highest_rate(self, low: float | None, high: float | None) -> float | None:
        """Return the rate at which the share of late requests reaches ``LATE_SHARE``.

        The share of late requests should grow with the rate, but the measured shares also vary by
        chance. Isotonic regression therefore smooths the shares, so that none is smaller than the
        share at a lower rate. The result is interpolated between the smoothed shares. The highest
        rate at which a run met the requirement is not a good estimate: the run may have met it by
        chance, so this rate is too high on average.
        """
        rates = self._list_measured_rates()
        runs = [[one for one in self._runs if one.rate_per_s == rate] for rate in rates]
        requests = np.array([sum(one.requests for one in those) for those in runs], dtype=float)
        late = np.array([sum(one.late for one in those) for those in runs], dtype=float)
        if not rates:
            return None
        # Adding half a request to the late and to the other requests keeps the logarithm of the
        # odds finite.
        share = optimize.isotonic_regression((late + 0.5) / (requests + 1), weights=requests).x
        is_late = share > LATE_SHARE
        if is_late[0]:
            return low
        if not is_late.any():
            return rates[-1]
        odds = np.log(share / (1 - share))
        first = int(np.argmax(is_late))
        found = np.exp(
            np.interp(
                np.log(LATE_SHARE / (1 - LATE_SHARE)),
                odds[first - 1 : first + 1],
                np.log(rates[first - 1 : first + 1]),
            )
        )
        return float(min(max(found, low or found), high or found))

    def _find_limits_of_rate(self) -> tuple[float | None, float | None]:
        """Return the lower and the upper limit of the rate; a limit that is not known is None.

        At the lower limit, every run met the latency requirement. At the upper limit, every run
        missed it.
        """
        rates = self._list_measured_rates()
        met = [one for one in rates if max(self._list_late_shares(one)) <= LATE_SHARE]
        low = max(met, default=None)
        missed = [
            one
            for one in rates
            if (low is None or one > low) and min(self._list_late_shares(one)) > LATE_SHARE
        ]
        return low, min(missed, default=None)

    def _describe_run_that_lasts_too_long(self, rate: float) -> str:
        """Return why a run at the rate would take too long; empty if there is enough time left."""
        run_s = self.search.requests * (1 + SETTLING_SHARE) / rate
        left_s = self._deadline - self.clock.monotonic()
        if run_s <= max(left_s, SHORT_RUN_S):
            return ""
        return (
            f"A run at {rate:.3g} requests a second takes {run_s:.0f} s, but only "
            f"{max(left_s, 0):.0f} s of {self.search.time_limit_s:g} s are left. Allow more time "
            "(--minutes) or shorter runs (--requests)"
        )

    def _is_time_up(self) -> bool:
        return self.clock.monotonic() >= self._deadline

    def _list_notes(self) -> list[str]:
        notes = []
        low, high = self._find_limits_of_rate()
        if low is None and self._runs:
            notes.append("No rate was found at which every run met the requirement")
        if high is None and self._runs:
            notes.append("No rate was found at which every run missed the requirement")
        delayed = max((one.delayed_share for one in self._runs if one.p95_s), default=0.0)
        if delayed > LATE_SHARE:
            notes.append(
                f"In one run, {delayed:.0%} of the requests left this machine later than "
                "scheduled. Perhaps this machine is too slow, rather than the endpoint"
            )
        if any(step.failed for step in self._steps):
            notes.append(
                "Some requests failed while the number of clients was raised. A serverless "
                "endpoint refuses requests beyond its largest number of containers"
            )
        return notes


@dataclass(frozen=True)
class EndpointProbe:
    """Measures an endpoint by sending it photographs.

    Attributes:
        search: The settings of the search.
        send: Sends one photograph to the endpoint.
        payloads: The photographs, with the weights of their kinds.
        clock: The clock that measures the latencies.
    """

    search: CapacitySearch
    send: Callable[[Photograph], Invocation]
    payloads: Sequence[WeightedPhotographs]
    clock: Clock

    def measure_concurrency(self, clients: int) -> ConcurrencyStep:
        """Measure throughput and latency with several clients, each with one request at a time.

        Raises:
            EndpointError: The endpoint fails.
        """
        count = max(20, min(self.search.requests // 2, 20 * clients))
        sequence = self._draw_photographs(f"clients-{clients}", count + clients)
        with ThreadPoolExecutor(clients, "capacity") as pool:
            # Not counted: they start containers, one for each request that is in progress.
            for answer in pool.map(self.send, sequence[:clients]):
                if answer.outcome not in {"ok", "throttled"}:
                    raise self._make_error_of_failed_request(answer)
            begin = self.clock.monotonic()
            answers = list(pool.map(self.send, sequence[clients:]))
            duration_s = self.clock.monotonic() - begin
        good = [one.latency_s for one in answers if one.outcome == "ok"]
        if not good:
            raise self._make_error_of_failed_request(answers[0])
        return ConcurrencyStep(
            clients=clients,
            requests=count,
            per_s=len(good) / duration_s,
            median_s=float(np.median(good)),
            p95_s=float(np.quantile(good, 1 - LATE_SHARE)),
            failed=count - len(good),
        )

    @staticmethod
    def _make_error_of_failed_request(answer: Invocation) -> EndpointError:
        return EndpointError(
            f"The endpoint failed to answer a request: {answer.error}",
            remedy="Send a photograph with `drdeploy endpoint invoke`, and read the logs of "
            "the endpoint",
        )

    def run_at_rate(self, rate_per_s: float, seed: str) -> RateRun:
        """Send requests at random times at the given mean rate, and measure their latencies."""
        settling = int(self.search.requests * SETTLING_SHARE)
        count = self.search.requests + settling
        tally = _RateTally(self.search, settling)
        context = TrialContext(
            send=self.send,
            record=tally.record_latency_of_request,
            photographs=self._draw_photographs(seed, count + 1),
            clock=self.clock,
            seed=seed,
        )
        scenario = OpenLoop(n=count, rate_per_s=rate_per_s, max_in_flight=MAX_IN_FLIGHT)
        with suppress(_HopelessRun):
            send_missing_requests(scenario, range(1, count + 1), context)
        return tally.make_rate_run(rate_per_s, seed)

    def _draw_photographs(self, seed: str, count: int) -> tuple[Photograph, ...]:
        rng = random.Random(f"{self.search.seed}-{seed}")
        kinds = rng.choices(self.payloads, [one.weight for one in self.payloads], k=count)
        return tuple(rng.choice(kind.photographs) for kind in kinds)


def _is_requirement_met_by_run(run: RateRun) -> bool:
    return run.share_of_late_answers <= LATE_SHARE


class _HopelessRun(Exception):
    """Raised to stop a run in which so many requests are late that it must miss the requirement."""


class _RateTally:
    """Counts the late requests of one run."""

    def __init__(self, search: CapacitySearch, settling: int) -> None:
        self._search = search
        self._settling = settling
        self._lock = Lock()
        self._latencies_s: list[float] = []
        self._late = self._failed = self._delayed = 0
        self._is_stopped = False

    def record_latency_of_request(self, observed: ObservedInvocation) -> None:
        if observed.is_warmup or observed.sequence <= self._settling:
            return
        failed = observed.outcome not in {"ok", "ungradable"}
        late = failed or observed.total_latency_s > self._search.p95_s
        with self._lock:  # each request has a thread of its own
            self._latencies_s.append(observed.total_latency_s)
            self._failed += failed
            self._late += late
            self._delayed += observed.total_latency_s - observed.invocation.latency_s > DELAYED_S
            self._is_stopped = self._late > HOPELESS_SHARE * self._search.requests
        if self._is_stopped:
            raise _HopelessRun

    def make_rate_run(self, rate: float, seed: str) -> RateRun:
        n = len(self._latencies_s)
        p95_s = None if self._is_stopped else float(np.quantile(self._latencies_s, 1 - LATE_SHARE))
        return RateRun(
            rate_per_s=rate,
            seed=seed,
            requests=n,
            late=self._late,
            failed=self._failed,
            p95_s=p95_s,
            delayed_share=self._delayed / n if n else 0.0,
        )

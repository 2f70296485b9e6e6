"""Plan what each policy against cold starts does for the given traffic.

The traffic is either that of a clinic, which repeats every week, or an archive: a collection of old
photographs that are sent only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.study.recommendation.mitigation.histogram import compute_keep_warm_times_s
from drdeploy.study.recommendation.simulation.serverless import MitigationActions
from drdeploy.study.recommendation.traffic import HOURS_PER_WEEK
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.traffic import Arrivals

PolicyName = Literal[
    "nothing", "keep-warm", "provisioned", "provisioned-fixed", "hybrid-histogram", "forecast"
]
POLICIES: tuple[PolicyName, ...] = (
    "nothing",
    "keep-warm",
    "provisioned",
    "provisioned-fixed",
    "hybrid-histogram",
    "forecast",
)
DEPLOYABLE_POLICIES: frozenset[PolicyName] = frozenset(
    {"nothing", "keep-warm", "provisioned", "provisioned-fixed"}
)
"""The policies that the Terraform modules of this project set up.

All other policies exist only in the simulation.
"""
FEWEST_PROVISIONED = 1
"""The smallest number of provisioned containers that Application Auto Scaling accepts."""
KEEP_WARM_MARGIN = 0.9
"""The time between two keep-warm requests, as a share of the time after which the platform removes
an idle container. With this margin, a keep-warm request that is a little late still reaches a warm
container."""
SCHEDULE_LATENESS_S = 60.0
"""The largest delay of EventBridge Scheduler, which sends a request within the scheduled minute
(user guide, "Schedule types")."""


@dataclass(frozen=True, eq=False)
class MitigationPolicy:
    """A policy against cold starts, with the plan of what it does for the given traffic.

    Attributes:
        description: A description of the policy.
        actions: The keep-warm requests and provisioned containers in the simulation.
        interval_s: The time between two keep-warm requests in seconds; 0 if the policy sends none.
        containers_by_hour: The number of containers that are kept warm or provisioned in each of
            the 168 hours of a week, starting on Monday at 0:00. Empty if the policy has no weekly
            schedule.
    """

    name: PolicyName
    description: str
    actions: MitigationActions
    interval_s: float = 0.0
    containers_by_hour: tuple[int, ...] = ()

    @property
    def is_provisioned(self) -> bool:
        """Whether the policy uses provisioned concurrency."""
        return self.name in {"provisioned", "provisioned-fixed"}

    @property
    def is_deployable(self) -> bool:
        """Whether this project can set the policy up on AWS."""
        return self.name in DEPLOYABLE_POLICIES

    @property
    def operated_parts(self) -> tuple[str, ...]:
        """The things that someone must operate besides the endpoint itself, such as a schedule."""
        if self.name == "nothing":
            return ()
        if self.is_provisioned:
            varies = len(set(self.containers_by_hour)) > 1
            held = "a number of provisioned containers that somebody sets"
            return (held, *(("a schedule",) if varies else ()))
        if self.name == "keep-warm":
            return ("a schedule that sends keep-warm requests",)
        return ("a program that sends keep-warm requests", "a schedule")


def fit_policy_to_traffic(
    name: PolicyName,
    arrivals: Arrivals,
    *,
    busy_s: float,
    idle_s: float,
    concurrency_limit: int | None = None,
) -> MitigationPolicy:
    """Plan what a policy against cold starts does for the given traffic.

    Args:
        name: The name of the policy.
        arrivals: The arrivals of the traffic.
        busy_s: The mean time that one request occupies a container, in seconds.
        idle_s: The time after which the platform removes an idle container, in seconds.
        concurrency_limit: The largest number of containers that the endpoint may have, or None for
            any number.
    """
    interval_s = compute_keep_warm_interval_s(idle_s)
    weekly = np.minimum(
        compute_containers_by_hour(average_requests_by_hour_of_week(arrivals), busy_s),
        concurrency_limit or np.iinfo(np.int64).max,
    )
    match name:
        case "nothing":
            return MitigationPolicy(
                name, "nothing is done against cold starts", MitigationActions()
            )
        case "keep-warm":
            # One container is enough. Where client requests overlap, they keep further containers
            # warm themselves.
            one = np.minimum(weekly, 1)
            return MitigationPolicy(
                name,
                f"in the {int(one.sum())} hours of the week in which photographs arrive, a "
                f"request every {interval_s:g} s keeps one container warm",
                MitigationActions(
                    _schedule_keep_warm_times_s(
                        repeat_weekly_plan(one, arrivals), interval_s, arrivals.horizon_s
                    )
                ),
                interval_s,
                tuple(one.tolist()),
            )
        case "provisioned":
            held = np.maximum(weekly, FEWEST_PROVISIONED)
            fewest, most = int(held.min()), int(held.max())
            containers = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            return MitigationPolicy(
                name,
                f"{containers} containers are provisioned, as each hour of the week needs",
                MitigationActions(
                    provisioned_by_hour=repeat_weekly_plan(
                        held, arrivals, after_archive=FEWEST_PROVISIONED
                    )
                ),
                0.0,
                tuple(held.tolist()),
            )
        case "provisioned-fixed":
            most = int(np.maximum(weekly, FEWEST_PROVISIONED).max())
            held = np.full(HOURS_PER_WEEK, most)
            return MitigationPolicy(
                name,
                f"{most} containers are provisioned, day and night",
                MitigationActions(
                    provisioned_by_hour=repeat_weekly_plan(held, arrivals, after_archive=most)
                ),
                0.0,
                tuple(held.tolist()),
            )
        case "hybrid-histogram":
            moments = compute_keep_warm_times_s(arrivals.times_s, interval_s, arrivals.horizon_s)
            return MitigationPolicy(
                name,
                "keep-warm requests are sent while the next request is expected, according to a "
                "histogram of past idle times",
                MitigationActions(moments),
                interval_s,
            )
        case "forecast":
            planned = np.minimum(
                compute_containers_by_hour(forecast_requests_by_hour(arrivals), busy_s),
                concurrency_limit or np.iinfo(np.int64).max,
            )
            return MitigationPolicy(
                name,
                f"requests every {interval_s:g} s keep as many containers warm as the demand of "
                "past weeks suggests",
                MitigationActions(
                    _schedule_keep_warm_times_s(planned, interval_s, arrivals.horizon_s)
                ),
                interval_s,
            )


def compute_keep_warm_interval_s(idle_s: float) -> float:
    """Return the seconds between two keep-warm requests, a whole number of minutes.

    A schedule on AWS cannot be finer than a minute.

    Args:
        idle_s: The time after which the platform removes an idle container, in seconds.
    """
    longest_s = min(KEEP_WARM_MARGIN * idle_s, idle_s - SCHEDULE_LATENESS_S)
    return max(longest_s // SECONDS_PER_MINUTE, 1.0) * SECONDS_PER_MINUTE


def _schedule_keep_warm_times_s(
    containers_by_hour: NDArray[np.int64], interval_s: float, horizon_s: float
) -> NDArray[np.float64]:
    """Return the times of keep-warm requests.

    In each hour, requests are sent at equal intervals. To keep several containers warm, one request
    for each of these containers is sent at the same time.
    """
    # At least one request an hour, even if containers would stay for longer.
    within = np.arange(0.0, SECONDS_PER_HOUR, min(interval_s, SECONDS_PER_HOUR))
    hours = np.flatnonzero(containers_by_hour)
    moments = (hours[:, None] * float(SECONDS_PER_HOUR) + within).ravel()
    each = np.repeat(containers_by_hour[hours], within.size)
    moments, each = moments[moments < horizon_s], each[moments < horizon_s]
    return np.repeat(moments, each)


REFUSED_AT_MOST = 0.01
"""The highest allowed share of requests that find every warm container busy, and so meet a cold
start."""
WORTH_KEEPING = 0.05
"""If fewer requests than this are expected in an hour, no container is kept warm in that hour."""
SMOOTHING = 0.3
"""The weight of the latest week when the forecast is updated. The update changes the expected
number of requests in a week, and the share of each hour."""


def count_requests_in_each_hour(arrivals: Arrivals) -> NDArray[np.int64]:
    """Return the number of requests in each hour of the traffic."""
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = np.minimum((arrivals.times_s // SECONDS_PER_HOUR).astype(np.int64), hours - 1)
    return np.bincount(at, minlength=hours)


def _count_hours_until_last_request(arrivals: Arrivals) -> int:
    return int(arrivals.times_s[-1] // SECONDS_PER_HOUR) + 1


def average_requests_by_hour_of_week(arrivals: Arrivals) -> NDArray[np.float64]:
    """Return the average number of requests in each of the 168 hours of a week, from Monday 0:00.

    An archive is sent only once. The time after its last photograph is therefore left out of the
    average.
    """
    counts = count_requests_in_each_hour(arrivals)
    if arrivals.is_archive:
        counts = counts[: _count_hours_until_last_request(arrivals)]
    at = (np.arange(counts.size) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    observed = np.bincount(at, minlength=HOURS_PER_WEEK)
    return np.bincount(at, counts, minlength=HOURS_PER_WEEK) / np.maximum(observed, 1)


def repeat_weekly_plan(
    by_hour_of_week: NDArray[np.int64], arrivals: Arrivals, *, after_archive: int = 0
) -> NDArray[np.int64]:
    """Repeat a plan for one week until it covers all hours of the traffic.

    A plan gives the number of containers or instances in each hour.

    Args:
        by_hour_of_week: The number in each of the 168 hours of a week.
        arrivals: The arrivals of the traffic.
        after_archive: The number in each hour after the last photograph of an archive. It is not
            used for any other traffic.
    """
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = (np.arange(hours) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    planned = by_hour_of_week[at]
    if arrivals.is_archive:
        planned[_count_hours_until_last_request(arrivals) :] = after_archive
    return planned


def compute_containers_by_hour(
    requests_by_hour: NDArray[np.float64], busy_s: float
) -> NDArray[np.int64]:
    """Return how many warm containers each hour needs, so that few requests wait for a cold start.

    A request waits for a cold start if all warm containers are busy, because a serverless endpoint
    has no queue. :func:`erlang_b_blocking_probability` computes the probability of this.

    Args:
        requests_by_hour: The expected number of requests in each hour.
        busy_s: The mean time that one request occupies a container, in seconds.
    """
    # The hours of a year share a few distinct demands, and the result for each demand is computed
    # only once.
    rounded = np.round(requests_by_hour, 3)
    distinct = {
        requests: compute_fewest_workers_for_load(requests * busy_s / SECONDS_PER_HOUR)
        if requests >= WORTH_KEEPING
        else 0
        for requests in np.unique(rounded).tolist()
    }
    return np.array([distinct[requests] for requests in rounded.tolist()], dtype=np.int64)


def compute_fewest_workers_for_load(load: float) -> int:
    """Return the fewest workers with which at most 1 % of the requests find no free worker."""
    workers = 1
    while erlang_b_blocking_probability(load, workers) > REFUSED_AT_MOST:
        workers += 1
    return workers


def erlang_b_blocking_probability(load: float, workers: int) -> float:
    """Return the probability that a request finds every worker busy (Erlang 1917, M/M/c/c).

    Args:
        load: The arrival rate times the mean service time, in Erlang.
        workers: The number of workers, at least 1.
    """
    # The recursion over workers avoids the factorials of the textbook's formula, which overflow.
    blocked = 1.0
    for worker in range(1, workers + 1):
        blocked = load * blocked / (worker + load * blocked)
    return blocked


def forecast_requests_by_hour(arrivals: Arrivals) -> NDArray[np.float64]:
    """Return the expected number of requests in each hour, forecast only from earlier weeks.

    The forecast of an hour is the product of two factors: the expected number of requests in the
    whole week, and the share of them that falls into this hour. After each week, both factors are
    updated by exponential smoothing (Winters 1960, multiplicative season, no trend). In the first
    week, the forecast is zero, because there is no earlier week.
    """
    counts = count_requests_in_each_hour(arrivals)
    weeks = -(-counts.size // HOURS_PER_WEEK)  # rounded up
    padded = np.zeros(weeks * HOURS_PER_WEEK)
    padded[: counts.size] = counts
    by_week = padded.reshape(weeks, HOURS_PER_WEEK)
    expected = np.zeros_like(by_week)
    level, profile = 0.0, np.zeros(HOURS_PER_WEEK)
    for week, observed in enumerate(by_week):
        expected[week] = level * profile
        total = float(observed.sum())
        weight = SMOOTHING if week else 1.0  # the first week is all that is known
        level += weight * (total - level)
        if total:  # a week without requests says nothing about their profile
            profile += (weight if profile.any() else 1.0) * (observed / total - profile)
    return expected.ravel()[: counts.size]

"""Policies against cold starts, and what each makes an endpoint do under given traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.study.recommendation.mitigation.demand import (
    containers_for,
    forecast_by_hour,
    repeat_weekly,
    weekly_profile,
)
from drdeploy.study.recommendation.mitigation.histogram import keep_warm_moments
from drdeploy.study.recommendation.simulation.serverless import MitigationActions
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.traffic.arrivals import Arrivals

PolicyName = Literal["nothing", "keep-warm", "provisioned", "hybrid-histogram", "forecast"]
POLICIES: tuple[PolicyName, ...] = (
    "nothing",
    "keep-warm",
    "provisioned",
    "hybrid-histogram",
    "forecast",
)
FEWEST_PROVISIONED = 1
"""Application Auto Scaling accepts no lower minimum for provisioned concurrency."""
KEEP_WARM_MARGIN = 0.9
"""Keep-warm requests follow each other after this share of the idle time, so that one that comes
late still finds its container."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A policy fitted to some traffic.

    Attributes:
        description: What it does, in words.
        actions: Its keep-warm requests and provisioned containers in the simulation.
        interval_s: Seconds between keep-warm requests; 0 where there are none.
        containers_by_hour: How many containers are kept warm or provisioned in each of the 168
            hours of a week, Monday 0:00 to 1:00 first; empty where the policy decides request by
            request or week by week.
    """

    name: PolicyName
    description: str
    actions: MitigationActions
    interval_s: float = 0.0
    containers_by_hour: tuple[int, ...] = ()


def make_policy(name: PolicyName, arrivals: Arrivals, *, busy_s: float, idle_s: float) -> Policy:
    """Fit a policy to traffic.

    Args:
        name: The policy.
        arrivals: The traffic that it will be simulated with.
        busy_s: Mean time that one request occupies a container.
        idle_s: Time after which the platform removes an idle container.
    """
    interval_s = KEEP_WARM_MARGIN * idle_s
    weekly = containers_for(weekly_profile(arrivals), busy_s)
    match name:
        case "nothing":
            return Policy(name, "no measure against cold starts", MitigationActions())
        case "keep-warm":
            # One is enough: where requests overlap they keep each other's containers warm.
            one = np.minimum(weekly, 1)
            return Policy(
                name,
                f"one container is kept warm by a request every {interval_s:g} s in the "
                f"{int(one.sum())} hours of the week in which photographs arrive",
                MitigationActions(
                    _moments(repeat_weekly(one, arrivals), interval_s, arrivals.horizon_s)
                ),
                interval_s,
                tuple(one.tolist()),
            )
        case "provisioned":
            held = np.maximum(weekly, FEWEST_PROVISIONED)
            fewest, most = int(held.min()), int(held.max())
            containers = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            return Policy(
                name,
                f"{containers} containers are provisioned, by the hour of the week",
                MitigationActions(provisioned_by_hour=repeat_weekly(held, arrivals)),
                0.0,
                tuple(held.tolist()),
            )
        case "hybrid-histogram":
            moments = keep_warm_moments(arrivals.times_s, interval_s, arrivals.horizon_s)
            return Policy(
                name,
                "keep-warm requests while the histogram of idle times expects the next request",
                MitigationActions(moments),
                interval_s,
            )
        case "forecast":
            planned = containers_for(forecast_by_hour(arrivals), busy_s)
            return Policy(
                name,
                "as many containers as the demand of past weeks suggests are kept warm by requests "
                f"every {interval_s:g} s",
                MitigationActions(_moments(planned, interval_s, arrivals.horizon_s)),
                interval_s,
            )


def _moments(
    containers_by_hour: NDArray[np.int64], interval_s: float, horizon_s: float
) -> NDArray[np.float64]:
    """Moments of keep-warm requests: in each hour from its begin, one for each container."""
    # At least one request an hour, even if containers would stay for longer.
    within = np.arange(0.0, SECONDS_PER_HOUR, min(interval_s, SECONDS_PER_HOUR))
    hours = np.flatnonzero(containers_by_hour)
    moments = (hours[:, None] * float(SECONDS_PER_HOUR) + within).ravel()
    each = np.repeat(containers_by_hour[hours], within.size)
    moments, each = moments[moments < horizon_s], each[moments < horizon_s]
    return np.repeat(moments, each)

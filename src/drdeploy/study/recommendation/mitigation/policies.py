"""What is done against cold starts; each says what the simulation is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.study.recommendation.mitigation.demand import (
    containers_for,
    forecast_by_hour,
    over_horizon,
    season_of,
)
from drdeploy.study.recommendation.mitigation.histogram import keep_warm_moments
from drdeploy.study.recommendation.simulation.serverless import Measures
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
"""Application Auto Scaling goes no lower."""
KEEP_WARM_MARGIN = 0.9
"""A keep-warm request comes this share of the idle time after the last one."""


@dataclass(frozen=True, eq=False)
class Policy:
    """One way, made for some traffic.

    Attributes:
        told: What it does, in words.
        measures: For the simulation.
        interval_s: Between keep-warm requests; 0 where there are none.
        containers_by_hour: Of the 168 hours of a week, Monday 0:00 first: how many are kept warm or
            provisioned; empty where the policy decides request by request or week by week.
    """

    name: PolicyName
    told: str
    measures: Measures
    interval_s: float = 0.0
    containers_by_hour: tuple[int, ...] = ()


def make_policy(name: PolicyName, arrivals: Arrivals, *, busy_s: float, idle_s: float) -> Policy:
    """Fit a policy to traffic.

    Args:
        name: Which.
        arrivals: The traffic that it will be played on.
        busy_s: Mean time that one request takes a container.
        idle_s: After which the platform lets an idle container go.
    """
    interval_s = KEEP_WARM_MARGIN * idle_s
    weekly = containers_for(season_of(arrivals), busy_s)
    match name:
        case "nothing":
            return Policy(name, "nothing is done", Measures())
        case "keep-warm":
            one = np.minimum(weekly, 1)
            return Policy(
                name,
                f"one container is kept warm by a request every {interval_s:g} s in the "
                f"{int(one.sum())} hours of the week that see photographs",
                Measures(_moments(over_horizon(one, arrivals), interval_s, arrivals.horizon_s)),
                interval_s,
                tuple(one.tolist()),
            )
        case "provisioned":
            held = np.maximum(weekly, FEWEST_PROVISIONED)
            return Policy(
                name,
                f"{_from_to(held)} containers are provisioned, by the hour of the week",
                Measures(provisioned_by_hour=over_horizon(held, arrivals)),
                0.0,
                tuple(held.tolist()),
            )
        case "hybrid-histogram":
            moments = keep_warm_moments(arrivals.times_s, interval_s, arrivals.horizon_s)
            told = "keep-warm requests while the histogram of idle times expects the next request"
            return Policy(name, told, Measures(moments), interval_s)
        case "forecast":
            planned = containers_for(forecast_by_hour(arrivals), busy_s)
            return Policy(
                name,
                f"as many containers as last weeks' demand lets expect are kept warm by requests "
                f"every {interval_s:g} s",
                Measures(_moments(planned, interval_s, arrivals.horizon_s)),
                interval_s,
            )


def _from_to(containers: NDArray[np.int64]) -> str:
    fewest, most = int(containers.min()), int(containers.max())
    return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def _moments(
    containers_by_hour: NDArray[np.int64], interval_s: float, horizon_s: float
) -> NDArray[np.float64]:
    """Keep-warm requests in each hour that wants containers, from its begin; several at once."""
    within = np.arange(0.0, SECONDS_PER_HOUR, min(interval_s, SECONDS_PER_HOUR))
    hours = np.flatnonzero(containers_by_hour)
    moments = (hours[:, None] * float(SECONDS_PER_HOUR) + within).ravel()
    each = np.repeat(containers_by_hour[hours], within.size)
    moments, each = moments[moments < horizon_s], each[moments < horizon_s]
    return np.repeat(moments, each)

"""From which volume of requests on another kind of hosting is cheaper.

Cost alone is compared, not latency.  Of each kind (on demand, provisioned concurrency, real-time)
the configuration that is cheapest at the traffic's volume is priced at every other volume, with the
same shape over the week.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.recommendation.cost.bill import MonthlyUsage
from drdeploy.study.recommendation.cost.usage import HOURS_PER_MONTH, real_time_usage
from drdeploy.study.recommendation.mitigation.demand import containers_for
from drdeploy.study.recommendation.mitigation.policies import FEWEST_PROVISIONED
from drdeploy.study.recommendation.options import (
    data_volumes,
    instances_for,
    price_usage,
    serverless_option,
)
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_WEEK
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.options import Option, SimulationContext
    from drdeploy.study.recommendation.traffic.arrivals import Traffic

VOLUMES = np.logspace(2, 8, 25)
"""Requests a month at which costs are computed: 100 to 100 million, four to a decade."""
MOST_SIMULATED = 100_000.0
"""Requests a month up to which serverless costs are simulated, because cold starts cost too; above
it hardly any are left, and what is not stored costs in proportion to the requests."""
ENOUGH_REQUESTS = 5_000
"""Requests that a simulation should hold, so that the share of cold starts in them is steady."""
MOST_WEEKS = 52
GRID_POINTS = 1201
"""Volumes, interpolated between those that were priced, among which a crossing is searched."""


@dataclass(frozen=True)
class BreakEven:
    """The volume at which two kinds of hosting cost the same.

    Attributes:
        below: Name of the option that is cheaper below that volume.
        above: Name of the option that is cheaper above it.
        requests_per_month: The volume; None where ``below`` is cheaper up to 100 million.
    """

    below: str
    above: str
    requests_per_month: float | None


@dataclass(frozen=True, eq=False)
class CostCurve:
    """What an option costs a month at each of :data:`VOLUMES`, in USD."""

    option: str
    kind: str
    usd: NDArray[np.float64]


def cost_curves(
    options: Sequence[Option], traffic: Traffic, context: SimulationContext
) -> list[CostCurve]:
    """Price the cheapest option of each kind at every volume; a kind without prices is left out."""
    cost_of_kind: dict[str, Callable[[Option, Traffic, SimulationContext], float]] = {
        "serverless": _on_demand_usd,
        "serverless, provisioned": _provisioned_usd,
        "real-time": _real_time_usd,
    }
    curves = []
    for kind, cost_usd in cost_of_kind.items():
        priced = [option for option in options if option.kind == kind and option.bill]
        if priced:
            cheapest = min(priced, key=lambda option: option.usd)
            usd = [
                cost_usd(cheapest, replace(traffic, requests_per_month=float(volume)), context)
                for volume in VOLUMES
            ]
            curves.append(CostCurve(cheapest.name, kind, np.array(usd)))
    return curves


def break_evens(curves: Sequence[CostCurve]) -> tuple[BreakEven, ...]:
    """Find where each pair of curves crosses first."""
    return tuple(_break_even(*pair) for pair in combinations(curves, 2))


def _break_even(one: CostCurve, other: CostCurve) -> BreakEven:
    # On logarithmic axes a cost is close to a straight line, so interpolating there is exact where
    # it is in proportion to the requests, and where it does not depend on them.
    at = np.logspace(np.log10(VOLUMES[0]), np.log10(VOLUMES[-1]), GRID_POINTS)
    one_usd, other_usd = (
        np.exp(np.interp(np.log(at), np.log(VOLUMES), np.log(curve.usd))) for curve in (one, other)
    )
    first, second = (one, other) if one_usd[0] <= other_usd[0] else (other, one)
    crossed = (one_usd > other_usd) if first is one else (other_usd > one_usd)
    where = np.flatnonzero(crossed)
    volume = float(at[where[0]]) if where.size else None
    return BreakEven(first.option, second.option, volume)


def _on_demand_usd(option: Option, traffic: Traffic, context: SimulationContext) -> float:
    volume = traffic.requests_per_month
    if volume > MOST_SIMULATED:
        # Storage does not grow with the requests; everything else is scaled up.
        volumes = data_volumes(option.measured, context.assumptions)
        stored = MonthlyUsage(image_gb=volumes.image_gb, artifact_gb=volumes.artifact_gb)
        fixed_usd = _usd(option, stored, context)
        most = replace(traffic, requests_per_month=MOST_SIMULATED)
        varying_usd = _simulated_usd(option, most, context) - fixed_usd
        return fixed_usd + varying_usd * volume / MOST_SIMULATED
    return _simulated_usd(option, traffic, context)


def _simulated_usd(option: Option, traffic: Traffic, context: SimulationContext) -> float:
    enough = ceil(ENOUGH_REQUESTS / traffic.requests_per_week)
    arrivals = traffic.arrivals(context.seed, weeks=min(max(enough, 1), MOST_WEEKS))
    other = serverless_option(option.measured, "nothing", replace(context, arrivals=arrivals))
    return other.bill.usd if other.bill else float("nan")


def _provisioned_usd(option: Option, traffic: Traffic, context: SimulationContext) -> float:
    busy_s = option.measured.times.warm.mean_busy_s
    by_hour = traffic.shape.requests_by_hour(traffic.requests_per_week)
    # Cold starts beyond the provisioned containers are left out: Erlang's formula keeps them rare.
    containers = np.maximum(containers_for(by_hour, busy_s), FEWEST_PROVISIONED)
    held_hours = float(containers.sum()) * HOURS_PER_MONTH / HOURS_PER_WEEK
    volumes = data_volumes(option.measured, context.assumptions)
    usage = MonthlyUsage(
        requests=traffic.requests_per_month,
        provisioned_duration_s=traffic.requests_per_month * busy_s,
        provisioned_held_s=held_hours * SECONDS_PER_HOUR,
        data_gb=traffic.requests_per_month * volumes.transferred_gb,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )
    return _usd(option, usage, context)


def _real_time_usd(option: Option, traffic: Traffic, context: SimulationContext) -> float:
    peak_per_s = traffic.requests_per_week * traffic.shape.peak_share / SECONDS_PER_HOUR
    instances = instances_for(peak_per_s, option.measured.times.warm, context.assumptions)
    volumes = data_volumes(option.measured, context.assumptions)
    return _usd(option, real_time_usage(traffic.requests_per_month, instances, volumes), context)


def _usd(option: Option, usage: MonthlyUsage, context: SimulationContext) -> float:
    bill, _ = price_usage(option.measured, usage, context)
    return bill.usd if bill else float("nan")

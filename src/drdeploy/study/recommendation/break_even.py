"""Find the volume of requests above which another kind of hosting is cheaper.

The volume is the number of requests in a month. Only cost is compared, not latency. There are three
kinds of hosting: serverless on demand, serverless with provisioned concurrency, and real-time. For
each kind, the option that is cheapest for the user's traffic is chosen, and priced at many volumes.
At every volume, the requests have the same distribution over the week.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.recommendation.bill import (
    MonthlyUsage,
    compute_monthly_real_time_usage,
)
from drdeploy.study.recommendation.mitigation.policies import (
    FEWEST_PROVISIONED,
    compute_containers_by_hour,
)
from drdeploy.study.recommendation.options import (
    collect_data_volumes,
    compute_needed_instance_count,
    price_usage_or_name_unknown_price,
    simulate_serverless_option,
)
from drdeploy.study.recommendation.traffic import HOURS_PER_WEEK
from drdeploy.units import HOURS_PER_MONTH, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.options import Option, SimulationContext
    from drdeploy.study.recommendation.traffic import Traffic

VOLUMES = np.logspace(2, 8, 25)
"""The volumes at which costs are computed, in requests a month: 100 to 100 million, four for each
factor of ten."""
MOST_SIMULATED = 100_000.0
"""The largest volume, in requests a month, at which serverless costs are simulated.

At higher volumes, hardly any request meets a cold start, and all costs except storage are
proportional to the number of requests."""
ENOUGH_REQUESTS = 5_000
"""The number of requests that a simulation needs for a stable share of cold starts."""
MOST_WEEKS = 52
GRID_POINTS = 1201
"""The number of volumes at which two curves are compared; costs between the priced volumes are
interpolated."""


@dataclass(frozen=True)
class BreakEven:
    """The volume at which two kinds of hosting cost the same.

    Attributes:
        below: Name of the option that is cheaper below the break-even volume.
        above: Name of the option that is cheaper above the break-even volume.
        requests_per_month: The break-even volume. None if ``below`` is the cheaper option at every
            volume up to 100 million requests a month.
    """

    below: str
    above: str
    requests_per_month: float | None


@dataclass(frozen=True, eq=False)
class CostCurve:
    """The monthly cost of an option, in USD, for each number of requests in :data:`VOLUMES`."""

    option: str
    kind: str
    usd: NDArray[np.float64]


def compute_cost_curves(
    options: Sequence[Option], traffic: Traffic, context: SimulationContext
) -> list[CostCurve]:
    """Price the cheapest option of each kind of hosting at every volume.

    A kind of hosting is left out if none of its options has a known price.
    """
    cost_of_kind: dict[str, Callable[[Option, Traffic, SimulationContext], float]] = {
        "serverless": _compute_monthly_on_demand_usd,
        "serverless, provisioned": _compute_monthly_provisioned_usd,
        "real-time": _compute_monthly_real_time_usd,
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


def find_break_even_of_each_pair(curves: Sequence[CostCurve]) -> tuple[BreakEven, ...]:
    """Return the break-even volume of each pair of cost curves."""
    return tuple(find_first_crossing_of_curves(*pair) for pair in combinations(curves, 2))


def find_first_crossing_of_curves(one: CostCurve, other: CostCurve) -> BreakEven:
    """Return the break-even volume of two options from their cost curves.

    At the break-even volume, the option that is cheaper at the smallest volume becomes the more
    expensive one.
    """
    # On logarithmic axes, a constant cost is a straight line, and so is a cost that is proportional
    # to the requests. Interpolation on these axes is exact for both.
    at = np.logspace(np.log10(VOLUMES[0]), np.log10(VOLUMES[-1]), GRID_POINTS)
    one_usd, other_usd = (
        np.exp(np.interp(np.log(at), np.log(VOLUMES), np.log(curve.usd))) for curve in (one, other)
    )
    first, second = (one, other) if one_usd[0] <= other_usd[0] else (other, one)
    crossed = (one_usd > other_usd) if first is one else (other_usd > one_usd)
    where = np.flatnonzero(crossed)
    volume = float(at[where[0]]) if where.size else None
    return BreakEven(first.option, second.option, volume)


def _compute_monthly_on_demand_usd(
    option: Option, traffic: Traffic, context: SimulationContext
) -> float:
    volume = traffic.requests_per_month
    if volume > MOST_SIMULATED:
        # The cost of storage does not grow with the requests; all other costs are scaled up.
        volumes = collect_data_volumes(option.measured, context.assumptions)
        stored = MonthlyUsage(image_gb=volumes.image_gb, artifact_gb=volumes.artifact_gb)
        fixed_usd = _price_usage_or_nan(option, stored, context)
        most = replace(traffic, requests_per_month=MOST_SIMULATED)
        varying_usd = _simulate_monthly_on_demand_usd(option, most, context) - fixed_usd
        return fixed_usd + varying_usd * volume / MOST_SIMULATED
    return _simulate_monthly_on_demand_usd(option, traffic, context)


def _simulate_monthly_on_demand_usd(
    option: Option, traffic: Traffic, context: SimulationContext
) -> float:
    enough = ceil(ENOUGH_REQUESTS / traffic.requests_per_week)
    arrivals = traffic.arrivals(context.seed, weeks=min(max(enough, 1), MOST_WEEKS))
    other = simulate_serverless_option(
        option.measured, "nothing", replace(context, arrivals=arrivals)
    )
    return other.bill.usd if other.bill else float("nan")


def _compute_monthly_provisioned_usd(
    option: Option, traffic: Traffic, context: SimulationContext
) -> float:
    busy_s = option.measured.service_times.warm.mean_busy_s
    by_hour = traffic.shape.requests_by_hour(traffic.requests_per_week)
    # Requests that find every provisioned container busy are not counted as cold starts. They are
    # rare, because Erlang's formula gives the number of containers.
    containers = np.maximum(compute_containers_by_hour(by_hour, busy_s), FEWEST_PROVISIONED)
    held_hours = float(containers.sum()) * HOURS_PER_MONTH / HOURS_PER_WEEK
    volumes = collect_data_volumes(option.measured, context.assumptions)
    usage = MonthlyUsage(
        requests=traffic.requests_per_month,
        provisioned_duration_s=traffic.requests_per_month * busy_s,
        provisioned_held_s=held_hours * SECONDS_PER_HOUR,
        data_gb=traffic.requests_per_month * volumes.transferred_gb_per_request,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )
    return _price_usage_or_nan(option, usage, context)


def _compute_monthly_real_time_usd(
    option: Option, traffic: Traffic, context: SimulationContext
) -> float:
    peak_per_s = traffic.requests_per_week * traffic.shape.peak_share / SECONDS_PER_HOUR
    instances = compute_needed_instance_count(
        peak_per_s, option.measured.service_times.warm, context.assumptions
    )
    volumes = collect_data_volumes(option.measured, context.assumptions)
    return _price_usage_or_nan(
        option,
        compute_monthly_real_time_usage(traffic.requests_per_month, instances, volumes),
        context,
    )


def _price_usage_or_nan(option: Option, usage: MonthlyUsage, context: SimulationContext) -> float:
    bill, _ = price_usage_or_name_unknown_price(option.measured, usage, context)
    return bill.usd if bill else float("nan")

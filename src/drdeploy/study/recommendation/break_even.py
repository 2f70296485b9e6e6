"""From which volume on another kind of hosting is cheaper, with the traffic's own shape.

Cost alone is compared, not latency: of each kind, the cheapest configuration at the traffic's
volume is taken along to the others.  Serverless costs hold the cold starts that a simulation finds
at each volume up to :data:`MOST_SIMULATED`, beyond which hardly any are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import UnknownPrice
from drdeploy.study.recommendation.cost.bill import BilledEndpoint, Usage, bill
from drdeploy.study.recommendation.cost.usage import HOURS_PER_MONTH, real_time_usage
from drdeploy.study.recommendation.mitigation.demand import containers_for
from drdeploy.study.recommendation.mitigation.policies import FEWEST_PROVISIONED
from drdeploy.study.recommendation.options import instances_for, serverless_option, stored
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_WEEK
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.options import Option, Setting
    from drdeploy.study.recommendation.traffic.arrivals import Traffic

VOLUMES = np.logspace(2, 8, 25)
"""Requests a month that are looked at: 100 to 100 million, four to a decade."""
MOST_SIMULATED = 100_000.0
ENOUGH_REQUESTS = 5_000
SIMULATED_WEEKS = 52
"""At the most; fewer where they hold enough requests for a share of cold starts."""
FINE = 1201


@dataclass(frozen=True)
class BreakEven:
    """Where two kinds of hosting cost the same.

    Attributes:
        below: The option that is cheaper below it.
        above: The one that is cheaper above it.
        requests_per_month: None where the first is cheaper at every volume up to 100 million.
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


def cost_curves(options: Sequence[Option], traffic: Traffic, setting: Setting) -> list[CostCurve]:
    """One curve for each kind: on demand, provisioned concurrency, real-time; as far as priced."""
    makers: dict[str, Callable[[Option, Traffic, Setting], float]] = {
        "serverless": _on_demand_usd,
        "serverless, provisioned": _provisioned_usd,
        "real-time": _real_time_usd,
    }
    curves = []
    for kind, usd_of in makers.items():
        priced = [option for option in options if option.kind == kind and option.bill]
        if priced:
            cheapest = min(priced, key=lambda option: option.bill.usd if option.bill else 0.0)
            usd = [
                usd_of(cheapest, replace(traffic, requests_per_month=float(volume)), setting)
                for volume in VOLUMES
            ]
            curves.append(CostCurve(cheapest.name, kind, np.array(usd)))
    return curves


def break_evens(curves: Sequence[CostCurve]) -> tuple[BreakEven, ...]:
    """The first crossing of each pair, interpolated between the volumes."""
    return tuple(_break_even(*pair) for pair in combinations(curves, 2))


def _break_even(one: CostCurve, other: CostCurve) -> BreakEven:
    at = np.logspace(np.log10(VOLUMES[0]), np.log10(VOLUMES[-1]), FINE)
    one_usd, other_usd = (
        np.exp(np.interp(np.log(at), np.log(VOLUMES), np.log(curve.usd))) for curve in (one, other)
    )
    first, second = (one, other) if one_usd[0] <= other_usd[0] else (other, one)
    crossed = (one_usd > other_usd) if first is one else (other_usd > one_usd)
    where = np.flatnonzero(crossed)
    volume = float(at[where[0]]) if where.size else None
    return BreakEven(first.option, second.option, volume)


def _on_demand_usd(option: Option, traffic: Traffic, setting: Setting) -> float:
    volume = traffic.requests_per_month
    if volume > MOST_SIMULATED:
        # What does not grow with the requests is stored; the rest is in proportion.
        kept_usd = _usd(_endpoint(option), _storage(option, setting), setting)
        most = replace(traffic, requests_per_month=MOST_SIMULATED)
        varying_usd = _simulated_usd(option, most, setting) - kept_usd
        return kept_usd + varying_usd * volume / MOST_SIMULATED
    return _simulated_usd(option, traffic, setting)


def _simulated_usd(option: Option, traffic: Traffic, setting: Setting) -> float:
    enough = ceil(ENOUGH_REQUESTS / traffic.requests_per_week)
    weeks = min(max(enough, 1), SIMULATED_WEEKS)
    arrivals = traffic.arrivals(setting.seed, weeks=weeks)
    played = serverless_option(option.hosted, "nothing", replace(setting, arrivals=arrivals))
    return played.bill.usd if played.bill else float("nan")


def _provisioned_usd(option: Option, traffic: Traffic, setting: Setting) -> float:
    busy_s = option.hosted.times.warm.mean_busy_s
    by_hour = traffic.shape.requests_by_hour(traffic.requests_per_week)
    containers = np.maximum(containers_for(by_hour, busy_s), FEWEST_PROVISIONED)
    held = float(containers.sum()) * HOURS_PER_MONTH / HOURS_PER_WEEK
    kept = stored(option.hosted, setting.assumptions)
    usage = Usage(
        requests=traffic.requests_per_month,
        provisioned_duration_s=traffic.requests_per_month * busy_s,
        provisioned_held_s=held * SECONDS_PER_HOUR,
        data_gb=traffic.requests_per_month * kept.carried_gb,
        image_gb=kept.image_gb,
        artifact_gb=kept.artifact_gb,
    )
    return _usd(_endpoint(option), usage, setting)


def _real_time_usd(option: Option, traffic: Traffic, setting: Setting) -> float:
    peak_per_s = traffic.requests_per_week * traffic.shape.peak_share / SECONDS_PER_HOUR
    instances = instances_for(peak_per_s, option.hosted.times.warm, setting.assumptions)
    usage = real_time_usage(
        traffic.requests_per_month, instances, stored(option.hosted, setting.assumptions)
    )
    return _usd(_endpoint(option), usage, setting)


def _endpoint(option: Option) -> BilledEndpoint:
    configuration = option.hosted.configuration
    return BilledEndpoint(configuration.memory_mb, configuration.instance_type)


def _storage(option: Option, setting: Setting) -> Usage:
    kept = stored(option.hosted, setting.assumptions)
    return Usage(image_gb=kept.image_gb, artifact_gb=kept.artifact_gb)


def _usd(endpoint: BilledEndpoint, usage: Usage, setting: Setting) -> float:
    try:
        return bill(endpoint, usage, setting.sheet, setting.assumptions.region).usd
    except UnknownPrice:
        return float("nan")

"""Every way of hosting that is considered, played in the simulation and priced."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.study.recommendation.cost.bill import Bill, BilledEndpoint, bill
from drdeploy.study.recommendation.cost.usage import Stored, real_time_usage, serverless_usage
from drdeploy.study.recommendation.mitigation.comparison import SimulatedPolicy
from drdeploy.study.recommendation.mitigation.policies import POLICIES, make_policy
from drdeploy.study.recommendation.simulation.real_time import simulate_real_time
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.cost.bill import Usage
    from drdeploy.study.recommendation.mitigation.policies import Policy, PolicyName
    from drdeploy.study.recommendation.requirements import Assumptions
    from drdeploy.study.recommendation.simulation.outcome import Figures
    from drdeploy.study.recommendation.simulation.service import Times
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals


@dataclass(frozen=True, eq=False)
class Option:
    """A configuration, and how it is run.

    Attributes:
        name: Distinct.
        policy: Of a serverless endpoint, what is done against cold starts.
        instances: Of a real-time endpoint, else 0.
        figures: Of the simulation.
        months: Of requests that were simulated.
        bill: Of a month; None where a price is not known, which ``no_cost`` then names.
    """

    name: str
    hosted: MeasuredConfiguration
    policy: Policy | None
    instances: int
    figures: Figures
    months: float
    bill: Bill | None
    no_cost: str

    @property
    def kind(self) -> str:
        """``serverless``, ``serverless, POLICY`` or ``real-time``."""
        if self.policy is None:
            return "real-time"
        return "serverless" if self.policy.name == "nothing" else f"serverless, {self.policy.name}"

    @property
    def does_nothing(self) -> bool:
        """Whether a policy finds nothing to do in this traffic, or is to do nothing."""
        return self.policy is not None and self.policy.measures.are_none

    @property
    def is_distinct(self) -> bool:
        """Whether it differs from doing nothing; the comparison of policies shows it anyway."""
        return not self.does_nothing or self.kind == "serverless"

    @property
    def p95_s(self) -> float:
        """95 of 100 requests are answered within it."""
        return self.figures.p95_s

    @property
    def played(self) -> SimulatedPolicy | None:
        """For the comparison of policies; None for a real-time option."""
        if self.policy is None:
            return None
        usd = self.bill.usd if self.bill else None
        return SimulatedPolicy(self.policy, self.figures, self.months, usd, self.no_cost)


@dataclass(frozen=True)
class Setting:
    """What all options share."""

    arrivals: Arrivals
    sheet: PriceSheet
    assumptions: Assumptions
    seed: int


def options_of(
    hosted: Sequence[MeasuredConfiguration],
    setting: Setting,
    policies: Sequence[PolicyName] = POLICIES,
) -> Iterator[Option]:
    """Play every configuration that has times, with every policy or enough instances."""
    for one in hosted:
        if one.service is None:
            continue
        if one.is_serverless:
            played: Figures | None = None
            for policy in policies:
                option = serverless_option(one, policy, setting, played)
                played = played or (option.figures if option.does_nothing else None)
                yield option
        else:
            yield real_time_option(one, setting)


def serverless_option(
    hosted: MeasuredConfiguration,
    name: PolicyName,
    setting: Setting,
    if_nothing: Figures | None = None,
) -> Option:
    """Play one policy on a serverless configuration.

    Args:
        hosted: The configuration.
        name: Of the policy.
        setting: Traffic, prices, assumptions.
        if_nothing: What came of doing nothing, for a policy that finds nothing to do.
    """
    service, assumed = hosted.times, setting.assumptions
    policy = make_policy(
        name, setting.arrivals, busy_s=service.warm.mean_busy_s, idle_s=assumed.idle_s
    )
    figures = if_nothing if policy.measures.are_none else None
    figures = (
        figures
        or simulate_serverless(
            setting.arrivals,
            service,
            SimulatedScaling(assumed.max_concurrency, assumed.idle_s),
            policy.measures,
            seed=setting.seed,
        ).figures()
    )
    usage = serverless_usage(figures, setting.arrivals.months, stored(hosted, assumed))
    endpoint = BilledEndpoint(memory_mb=hosted.configuration.memory_mb)
    priced, no_cost = _bill_or_reason(endpoint, usage, setting)
    suffix = "" if name == "nothing" else f", {name}"
    return Option(
        name=f"{hosted.name}{suffix}",
        hosted=hosted,
        policy=policy,
        instances=0,
        figures=figures,
        months=setting.arrivals.months,
        bill=priced,
        no_cost=no_cost,
    )


def real_time_option(hosted: MeasuredConfiguration, setting: Setting) -> Option:
    """Play a real-time configuration with as many instances as the busiest hour takes."""
    service, assumed = hosted.times, setting.assumptions
    instances = instances_for(setting.arrivals.peak_per_s(), service.warm, assumed)
    figures = simulate_real_time(
        setting.arrivals, service.warm, instances * assumed.requests_at_once, seed=setting.seed
    ).figures()
    usage = real_time_usage(setting.arrivals.requests_per_month, instances, stored(hosted, assumed))
    endpoint = BilledEndpoint(instance_type=hosted.configuration.instance_type)
    priced, no_cost = _bill_or_reason(endpoint, usage, setting)
    return Option(
        name=f"{hosted.name} x {instances}",
        hosted=hosted,
        policy=None,
        instances=instances,
        figures=figures,
        months=setting.arrivals.months,
        bill=priced,
        no_cost=no_cost,
    )


def instances_for(peak_per_s: float, times: Times, assumed: Assumptions) -> int:
    """Instances that carry the busiest hour with head-room."""
    load = peak_per_s * times.mean_busy_s
    needed = ceil(load / (assumed.requests_at_once * (1 - assumed.headroom)))
    return max(needed, assumed.fewest_instances)


def stored(hosted: MeasuredConfiguration, assumed: Assumptions) -> Stored:
    """What is kept and carried; the photographs' size as measured, or as assumed."""
    return Stored(
        image_gb=assumed.image_gb,
        artifact_gb=assumed.artifact_gb,
        request_bytes=hosted.request_bytes or assumed.request_bytes,
        response_bytes=assumed.response_bytes,
    )


def _bill_or_reason(
    endpoint: BilledEndpoint, usage: Usage, setting: Setting
) -> tuple[Bill | None, str]:
    try:
        return bill(endpoint, usage, setting.sheet, setting.assumptions.region), ""
    except UnknownPrice as err:
        return None, f"{err.what}."

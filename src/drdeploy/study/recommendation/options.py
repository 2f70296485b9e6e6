"""Every way of hosting that is considered: simulated with the traffic, and priced."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.study.recommendation.cost.bill import Bill, BilledEndpoint, bill
from drdeploy.study.recommendation.cost.usage import DataVolumes, real_time_usage, serverless_usage
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
    from drdeploy.study.recommendation.cost.bill import MonthlyUsage
    from drdeploy.study.recommendation.mitigation.policies import Policy, PolicyName
    from drdeploy.study.recommendation.requirements import Assumptions
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary
    from drdeploy.study.recommendation.simulation.service import Times
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals


@dataclass(frozen=True, eq=False)
class Option:
    """A measured configuration, and how it is run.

    Attributes:
        name: Distinct among all options.
        policy: What a serverless endpoint does against cold starts; None for a real-time one.
        instances: Instances of a real-time endpoint; 0 for a serverless one.
        simulated: The outcome of the simulation.
        months: How many months of requests were simulated.
        bill: The month's bill; None where a price is not known, which ``no_cost`` then names.
    """

    name: str
    measured: MeasuredConfiguration
    policy: Policy | None
    instances: int
    simulated: SimulationSummary
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
    def usd(self) -> float:
        """A month's cost; infinite where it is not known, so that it never wins."""
        return self.bill.usd if self.bill else float("inf")

    @property
    def p95_s(self) -> float:
        """Latency within which 95 of 100 requests are answered."""
        return self.simulated.p95_s

    @property
    def does_nothing(self) -> bool:
        """Whether the policy is to do nothing, or finds nothing to do in this traffic."""
        return self.policy is not None and self.policy.actions.is_empty

    @property
    def is_distinct(self) -> bool:
        """Whether it differs from doing nothing; only the comparison of policies shows the rest."""
        return not self.does_nothing or self.kind == "serverless"

    @property
    def simulated_policy(self) -> SimulatedPolicy | None:
        """The option for the comparison of policies; None for a real-time endpoint."""
        if self.policy is None:
            return None
        usd = self.bill.usd if self.bill else None
        return SimulatedPolicy(self.policy, self.simulated, self.months, usd, self.no_cost)


@dataclass(frozen=True)
class SimulationContext:
    """What all options are simulated and priced with."""

    arrivals: Arrivals
    sheet: PriceSheet
    assumptions: Assumptions
    seed: int


def options_of(
    configurations: Sequence[MeasuredConfiguration],
    context: SimulationContext,
    policies: Sequence[PolicyName] = POLICIES,
) -> Iterator[Option]:
    """Yield an option for each serverless configuration and policy, and each real-time one.

    Configurations without the rows that a simulation needs are skipped.
    """
    for measured in configurations:
        if measured.service is None:
            continue
        if not measured.is_serverless:
            yield real_time_option(measured, context)
            continue
        # Policies that find nothing to do have one and the same outcome: it is simulated once.
        if_nothing: SimulationSummary | None = None
        for policy in policies:
            option = serverless_option(measured, policy, context, if_nothing)
            if_nothing = if_nothing or (option.simulated if option.does_nothing else None)
            yield option


def serverless_option(
    measured: MeasuredConfiguration,
    name: PolicyName,
    context: SimulationContext,
    if_nothing: SimulationSummary | None = None,
) -> Option:
    """Simulate and price one policy on a serverless configuration.

    Args:
        measured: The configuration.
        name: The policy against cold starts.
        context: Traffic, prices, assumptions.
        if_nothing: The outcome of doing nothing, if known, for a policy that finds nothing to do.
    """
    service, assumed, arrivals = measured.times, context.assumptions, context.arrivals
    policy = make_policy(name, arrivals, busy_s=service.warm.mean_busy_s, idle_s=assumed.idle_s)
    simulated = if_nothing if policy.actions.is_empty else None
    if simulated is None:
        scaling = SimulatedScaling(assumed.max_concurrency, assumed.idle_s)
        simulated = simulate_serverless(
            arrivals, service, scaling, policy.actions, seed=context.seed
        ).summary()
    return _priced(
        measured,
        context,
        measured.name if name == "nothing" else f"{measured.name}, {name}",
        simulated,
        serverless_usage(simulated, arrivals.months, data_volumes(measured, assumed)),
        policy=policy,
    )


def real_time_option(measured: MeasuredConfiguration, context: SimulationContext) -> Option:
    """Simulate and price a real-time configuration with the instances that its peak takes."""
    service, assumed, arrivals = measured.times, context.assumptions, context.arrivals
    instances = instances_for(arrivals.peak_per_s(), service.warm, assumed)
    workers = instances * assumed.requests_at_once
    simulated = simulate_real_time(arrivals, service.warm, workers, seed=context.seed).summary()
    return _priced(
        measured,
        context,
        f"{measured.name} x {instances}",
        simulated,
        real_time_usage(arrivals.requests_per_month, instances, data_volumes(measured, assumed)),
        instances=instances,
    )


def _priced(
    measured: MeasuredConfiguration,
    context: SimulationContext,
    name: str,
    simulated: SimulationSummary,
    usage: MonthlyUsage,
    *,
    policy: Policy | None = None,
    instances: int = 0,
) -> Option:
    bill_or_none, no_cost = price_usage(measured, usage, context)
    return Option(
        name=name,
        measured=measured,
        policy=policy,
        instances=instances,
        simulated=simulated,
        months=context.arrivals.months,
        bill=bill_or_none,
        no_cost=no_cost,
    )


def instances_for(peak_per_s: float, times: Times, assumed: Assumptions) -> int:
    """Number of instances that carry the busiest hour and keep the assumed headroom."""
    # Little's law: requests under way are arrivals per second times seconds of each.
    load = peak_per_s * times.mean_busy_s
    needed = ceil(load / (assumed.requests_at_once * (1 - assumed.headroom)))
    return max(needed, assumed.fewest_instances)


def data_volumes(measured: MeasuredConfiguration, assumed: Assumptions) -> DataVolumes:
    """What is stored and transferred; the size of a photograph as measured, or else as assumed."""
    return DataVolumes(
        image_gb=assumed.image_gb,
        artifact_gb=assumed.artifact_gb,
        request_bytes=measured.request_bytes or assumed.request_bytes,
        response_bytes=assumed.response_bytes,
    )


def price_usage(
    measured: MeasuredConfiguration, usage: MonthlyUsage, context: SimulationContext
) -> tuple[Bill | None, str]:
    """A month's bill, or else None and a sentence that names the price that is not known."""
    configuration = measured.configuration
    endpoint = BilledEndpoint(configuration.memory_mb, configuration.instance_type)
    try:
        return bill(endpoint, usage, context.sheet, context.assumptions.region), ""
    except UnknownPrice as err:
        return None, f"{err.what}."

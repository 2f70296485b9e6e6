"""Simulate and price every way of hosting."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.sagemaker.api_limits import INVOCATION_TIMEOUT_S
from drdeploy.study.recommendation.bill import (
    Bill,
    BilledEndpoint,
    DataVolumes,
    compute_monthly_real_time_usage,
    compute_monthly_serverless_usage,
    price_monthly_usage,
)
from drdeploy.study.recommendation.hosting_ways import WAYS
from drdeploy.study.recommendation.instance_options import (
    InstanceLoad,
    simulate_ways_to_run_instances,
)
from drdeploy.study.recommendation.mitigation.comparison import SimulatedPolicy
from drdeploy.study.recommendation.mitigation.policies import POLICIES, fit_policy_to_traffic
from drdeploy.study.recommendation.simulation.real_time import simulate_real_time
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.bill import MonthlyUsage
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.hosting_ways import HostingWay, WayName
    from drdeploy.study.recommendation.mitigation.policies import MitigationPolicy, PolicyName
    from drdeploy.study.recommendation.requirements import Assumptions
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary
    from drdeploy.study.recommendation.simulation.service import RowTimes
    from drdeploy.study.recommendation.traffic import Arrivals


@dataclass(frozen=True, eq=False)
class Option:
    """One way to host one measured configuration, with its simulated latency and its cost.

    Attributes:
        name: A name that no other option has.
        policy: The policy of a serverless endpoint against cold starts; None for hosting on
            instances.
        instances: The largest number of instances; 0 for a serverless endpoint.
        simulated: The result of the simulation.
        months: The number of months that the simulation covers.
        bill: The monthly bill, or None if a price is not known.
        no_cost: A sentence that names the unknown price; empty if the bill is known.
        way_name: The name of the way of hosting.
        description: A text that says how many containers or instances run, and when.
        variables: The Terraform variables of instances that do not run around the clock. Empty for
            every other option, whose variables are made later.
    """

    name: str
    measured: MeasuredConfiguration
    policy: MitigationPolicy | None
    instances: int
    simulated: SimulationSummary
    months: float
    bill: Bill | None
    no_cost: str
    way_name: WayName
    description: str
    variables: dict[str, Any]

    @property
    def hosting_way(self) -> HostingWay:
        """The way of hosting, with its limits."""
        return WAYS[self.way_name]

    @property
    def kind(self) -> str:
        """The kind of hosting: ``serverless``, ``serverless, POLICY``, or the name of the way."""
        if self.policy is None:
            return self.way_name
        return "serverless" if self.policy.name == "nothing" else f"serverless, {self.policy.name}"

    @property
    def usd(self) -> float:
        """The cost of a month in USD.

        An unknown cost counts as infinite, so that the option never wins.
        """
        return self.bill.usd if self.bill else float("inf")

    @property
    def p95_s(self) -> float:
        """The latency within which 95 of 100 requests are answered."""
        return self.simulated.p95_s

    @property
    def has_no_cold_start_mitigation(self) -> bool:
        """Whether the policy takes no action in the simulated traffic."""
        return self.policy is not None and self.policy.actions.is_empty

    @property
    def differs_from_doing_nothing(self) -> bool:
        """Whether the option differs from a serverless endpoint without any policy.

        A policy against cold starts may take no action on the given traffic. The option then has
        the same results as a serverless endpoint without a policy, and decisions do not list it.
        """
        return not self.has_no_cold_start_mitigation or self.kind == "serverless"

    @property
    def is_deployable(self) -> bool:
        """Whether this project can set the option up on AWS."""
        return bool(self.hosting_way.deployment) and (
            self.policy is None or self.policy.is_deployable
        )

    @property
    def operated_parts(self) -> tuple[str, ...]:
        """The things that someone must operate besides the endpoint itself, such as a schedule."""
        return (
            self.hosting_way.operated_parts if self.policy is None else self.policy.operated_parts
        )

    @property
    def simulated_policy(self) -> SimulatedPolicy | None:
        """The policy with its simulated result; None for hosting on instances."""
        if self.policy is None:
            return None
        usd = self.bill.usd if self.bill else None
        return SimulatedPolicy(self.policy, self.simulated, self.months, usd, self.no_cost)


@dataclass(frozen=True)
class SimulationContext:
    """The inputs with which all options are simulated and priced."""

    arrivals: Arrivals
    sheet: PriceSheet
    assumptions: Assumptions
    seed: int
    may_wait_s: float | None = None


def simulate_all_options(
    configurations: Sequence[MeasuredConfiguration],
    context: SimulationContext,
    policies: Sequence[PolicyName] = POLICIES,
) -> Iterator[Option]:
    """Simulate all options, and yield them.

    A serverless configuration gives an option for each policy against cold starts. A configuration
    on an instance gives an option for each way to run instances.

    A configuration is skipped if its measurements lack rows that the simulation needs, such as
    those of cold starts.
    """
    for measured in configurations:
        if measured.service is None:
            continue
        if not measured.is_serverless:
            always_on = simulate_real_time_option(measured, context)
            yield always_on
            yield from simulate_other_instance_options(measured, always_on.instances, context)
            continue
        # All policies that take no action have the same outcome, which is simulated only once.
        if_nothing: SimulationSummary | None = None
        for policy in policies:
            if policy == "provisioned-fixed" and not is_demand_varying(measured, context):
                continue
            option = simulate_serverless_option(measured, policy, context, if_nothing)
            if_nothing = if_nothing or (
                option.simulated if option.has_no_cold_start_mitigation else None
            )
            yield option


def simulate_serverless_option(
    measured: MeasuredConfiguration,
    name: PolicyName,
    context: SimulationContext,
    if_nothing: SimulationSummary | None = None,
) -> Option:
    """Simulate and price one policy against cold starts on a serverless configuration.

    ``if_nothing`` is the result of an earlier simulation in which no action was taken, or None. If
    the policy takes no action either, this result is used, and the simulation is not repeated.
    """
    service, assumed, arrivals = measured.service_times, context.assumptions, context.arrivals
    policy = fit_policy_to_traffic(
        name,
        arrivals,
        busy_s=service.warm.mean_busy_s,
        idle_s=assumed.idle_s,
        concurrency_limit=assumed.concurrency_limit,
    )
    simulated = if_nothing if policy.actions.is_empty else None
    if simulated is None:
        scaling = SimulatedScaling(assumed.concurrency_limit, assumed.idle_s)
        simulated = simulate_serverless(
            arrivals, service, scaling, policy.actions, seed=context.seed
        ).make_summary()
    return _make_priced_option(
        measured,
        context,
        measured.name if name == "nothing" else f"{measured.name}, {name}",
        simulated,
        compute_monthly_serverless_usage(
            simulated, arrivals.months, collect_data_volumes(measured, assumed)
        ),
        policy=policy,
        description=policy.description,
    )


def simulate_real_time_option(
    measured: MeasuredConfiguration, context: SimulationContext
) -> Option:
    """Simulate and price a real-time configuration with enough instances for the busiest hour."""
    service, assumed, arrivals = measured.service_times, context.assumptions, context.arrivals
    instances = compute_needed_instance_count(
        arrivals.compute_peak_requests_per_s(), service.warm, assumed
    )
    workers = instances * assumed.requests_at_once
    simulated = simulate_real_time(
        arrivals,
        service.warm,
        workers,
        seed=context.seed,
        answered_within_s=INVOCATION_TIMEOUT_S,
    ).make_summary()
    return _make_priced_option(
        measured,
        context,
        f"{measured.name} x {instances}",
        simulated,
        compute_monthly_real_time_usage(
            arrivals.requests_per_month, instances, collect_data_volumes(measured, assumed)
        ),
        instances=instances,
        way_name="real-time",
        description=f"{instances} instance{'s' * (instances > 1)}, day and night",
    )


def simulate_other_instance_options(
    measured: MeasuredConfiguration, instances: int, context: SimulationContext
) -> Iterator[Option]:
    """Simulate and price the ways to run instances that are not always on.

    Args:
        measured: A configuration that was measured on an instance.
        instances: The number of instances that the busiest hour needs.
        context: The inputs of the simulation.
    """
    load = InstanceLoad(
        arrivals=context.arrivals,
        times=measured.service_times.warm,
        assumed=context.assumptions,
        volumes=collect_data_volumes(measured, context.assumptions),
        instance_type=measured.configuration.instance_type,
        instances=instances,
        may_wait_s=context.may_wait_s,
        seed=context.seed,
    )
    for run in simulate_ways_to_run_instances(load):
        yield _make_priced_option(
            measured,
            context,
            f"{measured.name} x {run.instances}, {run.way.removeprefix('real-time, ')}",
            run.simulated,
            run.usage,
            instances=run.instances,
            way_name=run.way,
            description=run.description,
            variables=run.variables,
        )


def _make_priced_option(
    measured: MeasuredConfiguration,
    context: SimulationContext,
    name: str,
    simulated: SimulationSummary,
    usage: MonthlyUsage,
    *,
    policy: MitigationPolicy | None = None,
    instances: int = 0,
    way_name: WayName = "serverless",
    description: str = "",
    variables: dict[str, Any] | None = None,
) -> Option:
    bill_or_none, no_cost = price_usage_or_name_unknown_price(measured, usage, context, way_name)
    return Option(
        name=name,
        measured=measured,
        policy=policy,
        instances=instances,
        simulated=simulated,
        months=context.arrivals.months,
        bill=bill_or_none,
        no_cost=no_cost,
        way_name=way_name,
        description=description,
        variables=variables or {},
    )


def is_demand_varying(measured: MeasuredConfiguration, context: SimulationContext) -> bool:
    """Whether some hours of the week need more provisioned containers than others."""
    policy = fit_policy_to_traffic(
        "provisioned",
        context.arrivals,
        busy_s=measured.service_times.warm.mean_busy_s,
        idle_s=context.assumptions.idle_s,
        concurrency_limit=context.assumptions.concurrency_limit,
    )
    return len(set(policy.containers_by_hour)) > 1


def compute_needed_instance_count(peak_per_s: float, times: RowTimes, assumed: Assumptions) -> int:
    """Return how many instances the busiest hour needs, including the assumed headroom."""
    # Little's law: the requests in progress are the arrivals per second times the seconds that each
    # takes.
    load = peak_per_s * times.mean_busy_s
    needed = ceil(load / (assumed.requests_at_once * (1 - assumed.headroom)))
    return max(needed, assumed.fewest_instances)


def collect_data_volumes(measured: MeasuredConfiguration, assumed: Assumptions) -> DataVolumes:
    """Return the sizes of stored and transferred data.

    The size of a photograph is the measured size, or the assumed size if none was measured.
    """
    return DataVolumes(
        image_gb=assumed.image_gb,
        artifact_gb=assumed.artifact_gb,
        request_bytes=measured.request_bytes or assumed.request_bytes,
        response_bytes=assumed.response_bytes,
    )


def price_usage_or_name_unknown_price(
    measured: MeasuredConfiguration,
    usage: MonthlyUsage,
    context: SimulationContext,
    way_name: WayName = "real-time",
) -> tuple[Bill | None, str]:
    """Return the monthly bill and an empty text, or None and a sentence on the unknown price."""
    configuration = measured.configuration
    hour: Literal["real-time", "asynchronous", "batch"] = (
        way_name if way_name in {"asynchronous", "batch"} else "real-time"
    )
    endpoint = BilledEndpoint(configuration.memory_mb, configuration.instance_type, hour)
    try:
        return price_monthly_usage(endpoint, usage, context.sheet, context.assumptions.region), ""
    except UnknownPrice as err:
        return None, f"{err.what}."

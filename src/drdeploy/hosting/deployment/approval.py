"""A Terraform plan with its cost, and the interface that asks for its approval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, assert_never

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.sagemaker import AsynchronousConfig, RealTimeConfig, ServerlessConfig
from drdeploy.units import HOURS_PER_MONTH, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.changes import PlannedChanges
    from drdeploy.hosting.sagemaker import DeployableConfig, Price, PriceSheet


@dataclass(frozen=True)
class EndpointCost:
    """The price of one endpoint.

    Attributes:
        name: The endpoint's key in the Terraform variables.
        hourly_usd: The price of an hour, which is paid even if no requests arrive. It is 0 for a
            serverless endpoint without provisioned concurrency.
        busy_second_usd: The price of a second that the endpoint spends on a request; None if the
            endpoint is paid only by the hour.
        source: The publisher and the date of the price.
        scales_to_zero: Whether the endpoint may scale down to no instances. It costs nothing while
            it has no instances.
        has_opening_hours: Whether schedules create the endpoint when it opens and delete it when it
            closes. A closed endpoint costs nothing.
    """

    name: str
    hourly_usd: float
    busy_second_usd: float | None
    source: str
    scales_to_zero: bool = False
    has_opening_hours: bool = False

    @property
    def is_always_on(self) -> bool:
        """Whether the endpoint costs the hourly price day and night."""
        return not (self.scales_to_zero or self.has_opening_hours)

    @property
    def price_sentence(self) -> str:
        """A sentence that tells the user the price before the user approves the plan."""
        if self.scales_to_zero:
            return (
                f"{self.hourly_usd:.4g} USD an hour while instances run; nothing without instances"
            )
        if self.has_opening_hours:
            return (
                f"{self.hourly_usd:.4g} USD an hour while the endpoint is open (it opens now); "
                "nothing while the endpoint is closed"
            )
        monthly = self.hourly_usd * HOURS_PER_MONTH
        always_on = f"{self.hourly_usd:.4g} USD an hour, {monthly:.2f} USD a month, always on"
        if self.busy_second_usd is None:
            return always_on
        idle = always_on if self.hourly_usd else "nothing when idle"
        thousand = 1000 * self.busy_second_usd
        return f"{idle}; {thousand:.4g} USD for a thousand requests of one second"


@dataclass(frozen=True)
class CostEstimate:
    """The prices of all endpoints of a plan.

    Attributes:
        endpoints: The costs of the endpoints whose price is known.
        unknown: For each endpoint whose price is unknown, a sentence that says which price is
            missing.
    """

    endpoints: tuple[EndpointCost, ...]
    unknown: tuple[str, ...] = ()

    @property
    def hourly_usd(self) -> float:
        """The hourly cost of all endpoints that are always on, USD."""
        return sum(one.hourly_usd for one in self.endpoints if one.is_always_on)


def estimate_endpoint_costs(
    changes: PlannedChanges, sheet: PriceSheet, region: str
) -> CostEstimate:
    """Look up the price of each endpoint of a plan.

    An asynchronous endpoint that always keeps at least one instance counts as always on.

    Storage of images, archives and logs is left out, because it costs only cents.
    """
    known, unknown = [], []
    for name, config in changes.configurations.items():
        try:
            fewest = changes.fewest_instances.get(name, 0)
            cost = _look_up_endpoint_cost(name, config, sheet, region, fewest)
            known.append(replace(cost, has_opening_hours=name in changes.with_opening_hours))
        except UnknownPrice as err:
            unknown.append(f"{name}: {err.what}")
    return CostEstimate(tuple(known), tuple(unknown))


def _look_up_endpoint_cost(
    name: str, config: DeployableConfig, sheet: PriceSheet, region: str, fewest_instances: int
) -> EndpointCost:
    match config:
        case ServerlessConfig(memory_mb=memory_mb, provisioned_concurrency=provisioned) if (
            provisioned
        ):
            held = sheet.provisioned_held_second(memory_mb, region)
            second = sheet.provisioned_processing_second(memory_mb, region)
            hourly_usd = provisioned * held.usd * SECONDS_PER_HOUR
            return EndpointCost(name, hourly_usd, second.usd, _format_price_source(held))
        case ServerlessConfig(memory_mb=memory_mb):
            second = sheet.serverless_second(memory_mb, region)
            return EndpointCost(name, 0.0, second.usd, _format_price_source(second))
        case RealTimeConfig(instance_type=instance_type, initial_instance_count=count):
            hour = sheet.instance_hour(instance_type, region)
            return EndpointCost(name, hour.usd * count, None, _format_price_source(hour))
        case AsynchronousConfig(instance_type=instance_type, initial_instance_count=count):
            hour = sheet.asynchronous_hour(instance_type, region)
            usd, source = hour.usd * (fewest_instances or count), _format_price_source(hour)
            return EndpointCost(name, usd, None, source, scales_to_zero=not fewest_instances)
        case _:
            assert_never(config)


def _format_price_source(price: Price) -> str:
    return f"{price.source}, {price.date}"


@dataclass(frozen=True)
class Proposal:
    """A plan that waits for approval, with the cost of the endpoints that it creates or keeps."""

    title: str
    changes: PlannedChanges
    cost: CostEstimate


class Approver(Protocol):
    """The interface that shows the progress of a deployment and asks for approval of its plans."""

    def show_progress(self, text: str) -> None:
        """Show one line about the progress of the deployment."""

    def ask_for_approval(self, proposal: Proposal) -> bool:
        """Show a proposal and return whether it may be applied."""

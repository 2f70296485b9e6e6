"""What the endpoints of a plan cost: by the hour if always on, by the busy second if serverless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.sagemaker import Price, PriceSheet

HOURS_PER_MONTH = 730
"""Hours of a month on AWS's pricing pages."""


@dataclass(frozen=True)
class EndpointCost:
    """The price of one endpoint.

    Attributes:
        name: The endpoint's key.
        hourly_usd: Price of an hour, with or without requests; 0 for one that scales to zero.
        busy_second_usd: Price of a second of answering; None where the hour is paid.
        source: Where the price comes from, and its date.
    """

    name: str
    hourly_usd: float
    busy_second_usd: float | None
    source: str

    @property
    def sentence(self) -> str:
        """The price in words, for whoever has to approve it."""
        if self.busy_second_usd is None:
            monthly = self.hourly_usd * HOURS_PER_MONTH
            return f"{self.hourly_usd:.4g} USD an hour, {monthly:.2f} USD a month, always on"
        thousand = 1000 * self.busy_second_usd
        return f"nothing when idle; {thousand:.4g} USD for a thousand requests of one second"


@dataclass(frozen=True)
class CostEstimate:
    """The prices of all endpoints of a plan.

    Attributes:
        endpoints: Those whose price is known.
        unknown: For each of the others, a sentence that says which price is missing.
    """

    endpoints: tuple[EndpointCost, ...]
    unknown: tuple[str, ...] = ()

    @property
    def hourly_usd(self) -> float:
        """USD per hour of all that is always on, until it is deleted."""
        return sum(one.hourly_usd for one in self.endpoints)


def estimate_cost(
    configurations: Mapping[str, ServerlessConfig | RealTimeConfig],
    sheet: PriceSheet,
    region: str,
) -> CostEstimate:
    """Look up the price of each endpoint.

    Storage of images, archives and logs is left out: it is a matter of cents.
    """
    known, unknown = [], []
    for name, config in configurations.items():
        try:
            known.append(_cost(name, config, sheet, region))
        except UnknownPrice as err:
            unknown.append(f"{name}: {err.what}")
    return CostEstimate(tuple(known), tuple(unknown))


def _cost(
    name: str, config: ServerlessConfig | RealTimeConfig, sheet: PriceSheet, region: str
) -> EndpointCost:
    match config:
        case ServerlessConfig(provisioned_concurrency=provisioned) if provisioned:
            raise UnknownPrice(f"No price is known for provisioned concurrency in {region}")
        case ServerlessConfig(memory_mb=memory_mb):
            second = sheet.serverless_second(memory_mb, region)
            return EndpointCost(name, 0.0, second.usd, _source(second))
        case RealTimeConfig(instance_type=instance_type, initial_instance_count=count):
            hour = sheet.instance_hour(instance_type, region)
            return EndpointCost(name, hour.usd * count, None, _source(hour))
        case _:
            assert_never(config)


def _source(price: Price) -> str:
    return f"{price.source}, {price.date}"

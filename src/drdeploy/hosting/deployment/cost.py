"""What a plan's endpoints cost: by the hour where they are always on, by the request otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.sagemaker import Price, PriceSheet

HOURS_PER_MONTH = 730
"""As AWS counts on its pricing pages."""


@dataclass(frozen=True)
class EndpointCost:
    """One endpoint.

    Attributes:
        hourly_usd: Whether or not anything is asked of it; 0 for one that scales to zero.
        busy_second_usd: While it answers; None where the hour is paid.
        source: Who says so, and as of when.
    """

    name: str
    hourly_usd: float
    busy_second_usd: float | None
    source: str

    @property
    def sentence(self) -> str:
        """For a person who is to agree to it."""
        if self.busy_second_usd is None:
            monthly = self.hourly_usd * HOURS_PER_MONTH
            return f"{self.hourly_usd:.4g} USD an hour, {monthly:.2f} USD a month, always on"
        thousand = 1000 * self.busy_second_usd
        return f"nothing when idle; {thousand:.4g} USD for a thousand requests of one second"


@dataclass(frozen=True)
class CostEstimate:
    """Of all endpoints.

    Attributes:
        endpoints: Those whose price is known.
        unknown: Why a price is not known, one sentence each.
    """

    endpoints: tuple[EndpointCost, ...]
    unknown: tuple[str, ...] = ()

    @property
    def hourly_usd(self) -> float:
        """For as long as they are there."""
        return sum(one.hourly_usd for one in self.endpoints)


def estimate_cost(
    configurations: Mapping[str, ServerlessConfig | RealTimeConfig],
    sheet: PriceSheet,
    region: str,
) -> CostEstimate:
    """Price each configuration; storage of images, archives and logs (cents) is left out."""
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

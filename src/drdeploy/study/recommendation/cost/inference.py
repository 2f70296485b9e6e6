"""What an inference costs: a pure function of measured seconds and a dated price sheet.

The default is the 2023 study's definition (its sections 6.1.2.1 and 6.2.2): price per second times
total latency as the client saw it.  AWS bills a serverless endpoint for the time that its container
works, which is shorter; :attr:`CostBasis.CONTAINER_TIME` prices that.  An instance is billed by
the hour whether requests come or not, so its cost per inference holds only while it is busy all the
time, one request after the other: it is the least that an inference can cost, not the bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from drdeploy.errors import AnalysisError
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    import pandas as pd

    from drdeploy.hosting.sagemaker import Price, PriceSheet

MILLION = 1_000_000


class CostBasis(StrEnum):
    """Which seconds are priced; the value is the column that holds them."""

    TOTAL_LATENCY = "total_latency_s"
    CONTAINER_TIME = "container_latency_s"


@dataclass(frozen=True)
class SecondPrice:
    """What one second of an endpoint costs.

    Attributes:
        usd_per_second: Price of a second at work (serverless) or of one running instance.
        source: The dated price that this comes from.
    """

    usd_per_second: float
    source: Price

    @property
    def usd_per_hour(self) -> float:
        """What an hour of the endpoint costs."""
        return self.usd_per_second * SECONDS_PER_HOUR


def second_price(
    kind: str, memory_mb: int | None, instance_type: str, sheet: PriceSheet
) -> SecondPrice:
    """Look up what a second of an endpoint costs.

    Args:
        kind: ``serverless`` or ``realtime``, as in the measurements.
        memory_mb: Memory of a serverless endpoint.
        instance_type: Instance type of a real-time endpoint.
        sheet: The prices.

    Raises:
        UnknownPrice: The sheet has no price for that size or instance.
        AnalysisError: The kind is unknown, or a serverless endpoint has no memory size.
    """
    match kind:
        case "serverless":
            if memory_mb is None:
                raise AnalysisError(
                    "A serverless row has no memory size",
                    remedy="Fill memory_mb in the measurements",
                )
            price = sheet.serverless_second(memory_mb)
            return SecondPrice(price.usd, price)
        case "realtime":
            price = sheet.instance_hour(instance_type)
            return SecondPrice(price.usd / SECONDS_PER_HOUR, price)
        case _:
            raise AnalysisError(
                f"The endpoint kind {kind!r} has no price",
                remedy="Use serverless or realtime in endpoint_kind",
            )


def cost_usd(
    rows: pd.DataFrame, price: SecondPrice, basis: CostBasis = CostBasis.TOTAL_LATENCY
) -> pd.Series:
    """Cost of each row in USD; rows without the priced time are absent, not free."""
    return (rows[basis.value].dropna() * price.usd_per_second).rename("cost_usd")

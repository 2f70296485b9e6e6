"""Compute the cost of an inference from measured seconds and a dated price sheet.

By default, the cost is the price per second times the total latency at the client, as the study of
2023 defines it (sections 6.1.2.1 and 6.2.2). What AWS really bills depends on the kind of hosting:

- Serverless: AWS bills only the time in which the container works. With
  :attr:`CostBasis.CONTAINER_TIME`, the cost is computed from this time alone.
- Real-time: AWS bills an instance by the hour, with or without requests. The cost of an inference
  assumes that the instance is always busy, so it is the lowest possible cost.
- Asynchronous: the latency includes the time in the queue, which costs nothing. The cost is
  therefore computed from the time in the container instead of the latency.
- Transform jobs: AWS bills the time in which the job's instances work. The cost is computed from
  this time.
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


class CostBasis(StrEnum):
    """The time from which a cost is computed, given by the name of its column."""

    TOTAL_LATENCY = "total_latency_s"
    CONTAINER_TIME = "container_latency_s"


@dataclass(frozen=True)
class SecondPrice:
    """The price of using an endpoint for one second.

    Attributes:
        usd_per_second: The price of a second in which a serverless container works, or of a second
            of one running instance.
        source: The dated price from the price sheet.
    """

    usd_per_second: float
    source: Price

    @property
    def usd_per_hour(self) -> float:
        """The price of using the endpoint for an hour, in USD."""
        return self.usd_per_second * SECONDS_PER_HOUR


def look_up_price_per_second(
    kind: str, memory_mb: int | None, instance_type: str, sheet: PriceSheet
) -> SecondPrice:
    """Look up the price of using an endpoint for one second.

    Args:
        kind: ``serverless``, ``realtime``, ``asynchronous`` or ``batch``, as in the measurements.
        memory_mb: Memory of a serverless endpoint.
        instance_type: Type of the instances of every other kind of endpoint.
        sheet: The price sheet.

    Raises:
        UnknownPrice: The price sheet has no price for the memory size or the instance type.
        AnalysisError: The kind is unknown, or a serverless endpoint has no memory size.
    """
    match kind:
        case "serverless":
            if memory_mb is None:
                raise AnalysisError(
                    "A row of a serverless endpoint has no memory size",
                    remedy="Write the memory size into the column 'memory_mb'",
                )
            price = sheet.serverless_second(memory_mb)
            return SecondPrice(price.usd, price)
        case "realtime":
            price = sheet.instance_hour(instance_type)
            return SecondPrice(price.usd / SECONDS_PER_HOUR, price)
        case "asynchronous":
            price = sheet.asynchronous_hour(instance_type)
            return SecondPrice(price.usd / SECONDS_PER_HOUR, price)
        case "batch":
            price = sheet.batch_hour(instance_type)
            return SecondPrice(price.usd / SECONDS_PER_HOUR, price)
        case _:
            raise AnalysisError(
                f"There are no prices for endpoints of the kind {kind!r}",
                remedy="Write 'serverless', 'realtime', 'asynchronous' or 'batch' into the column "
                "'endpoint_kind'",
            )


def compute_cost_of_each_row_usd(
    rows: pd.DataFrame, price: SecondPrice, basis: CostBasis = CostBasis.TOTAL_LATENCY
) -> pd.Series:
    """Return the cost of each row in USD; rows that lack the billed time are left out."""
    return (rows[basis.value].dropna() * price.usd_per_second).rename("cost_usd")


def compute_cost_of_each_photograph_usd(jobs: pd.DataFrame, price: SecondPrice) -> pd.Series:
    """Return, for each transform job, the cost of one photograph in USD.

    AWS bills each instance from the time at which it starts to work until the end of the job (API
    reference, ``DescribeTransformJob``).
    """
    paid_s = (jobs["total_latency_s"] - jobs["startup_s"]) * jobs["instance_count"]
    return (paid_s / jobs["photograph_count"] * price.usd_per_second).dropna().rename("cost_usd")

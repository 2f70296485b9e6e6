"""A month's bill: every entry is a quantity times a dated price.

AWS bills a serverless endpoint for the time that it works, by the millisecond and by memory, and
for each GB in and out; provisioned concurrency for the time that it is held, and for the time that
it works at a lower rate; an instance by the hour; a registry and a bucket by the GB and month
(pricing pages of SageMaker AI, ECR and S3).  SageMaker lists no price per request; a price sheet
that has one, for a gateway in front of the endpoint for example, is charged all the same.

A quantity of zero needs no price.  Anything else whose price is not known is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.sagemaker import Price, PriceSheet


@dataclass(frozen=True, kw_only=True)
class MonthlyUsage:
    """What an endpoint uses in a month.

    Attributes:
        requests: Answered requests, those that only keep it warm among them.
        on_demand_s: Seconds that serverless containers worked at the price on demand.
        provisioned_duration_s: Seconds that provisioned containers worked.
        provisioned_held_s: Seconds that containers were held provisioned, summed over containers.
        instance_hours: Hours that instances ran, summed over instances.
        data_gb: Data into and out of a serverless endpoint.
        image_gb: Size of the image in the registry.
        artifact_gb: Size of the model's artifact in the bucket.
    """

    requests: float = 0.0
    on_demand_s: float = 0.0
    provisioned_duration_s: float = 0.0
    provisioned_held_s: float = 0.0
    instance_hours: float = 0.0
    data_gb: float = 0.0
    image_gb: float = 0.0
    artifact_gb: float = 0.0


@dataclass(frozen=True)
class BillEntry:
    """A quantity, in the unit of its price, and the price."""

    quantity: float
    price: Price

    @property
    def usd(self) -> float:
        """The quantity times the price, in USD."""
        return self.quantity * self.price.usd


@dataclass(frozen=True)
class Bill:
    """What a month costs."""

    entries: tuple[BillEntry, ...]

    @property
    def usd(self) -> float:
        """The total in USD."""
        return sum(entry.usd for entry in self.entries)

    def usd_of(self, price: Price) -> float:
        """How much of the total depends on one price."""
        return sum(entry.usd for entry in self.entries if entry.price == price)


@dataclass(frozen=True)
class BilledEndpoint:
    """The endpoint that is paid for: serverless by its memory, or real-time by its instance type.

    Attributes:
        memory_mb: Memory of a serverless endpoint; 0 for a real-time one.
        instance_type: Instance type of a real-time endpoint; empty for a serverless one.
    """

    memory_mb: int = 0
    instance_type: str = ""

    def __post_init__(self) -> None:
        if bool(self.memory_mb) == bool(self.instance_type):
            raise AnalysisError("An endpoint has either a memory size or an instance type")


def bill(endpoint: BilledEndpoint, usage: MonthlyUsage, sheet: PriceSheet, region: str) -> Bill:
    """Price a month's usage.

    Raises:
        UnknownPrice: Something was used that the sheet has no price for.
    """
    return Bill(tuple(_entries(endpoint, usage, sheet, region)))


def _entries(
    endpoint: BilledEndpoint, usage: MonthlyUsage, sheet: PriceSheet, region: str
) -> Iterator[BillEntry]:
    size = endpoint.memory_mb
    if usage.on_demand_s:
        yield BillEntry(usage.on_demand_s, sheet.serverless_second(size, region))
    if usage.provisioned_held_s:
        price = sheet.provisioned_held_second(size, region)
        yield BillEntry(usage.provisioned_held_s, price)
    if usage.provisioned_duration_s:
        price = sheet.provisioned_duration_second(size, region)
        yield BillEntry(usage.provisioned_duration_s, price)
    if usage.instance_hours:
        yield BillEntry(usage.instance_hours, sheet.instance_hour(endpoint.instance_type, region))
    if usage.data_gb:
        yield BillEntry(usage.data_gb, sheet.data_processed_gb(region))
    if usage.image_gb:
        yield BillEntry(usage.image_gb, sheet.registry_gb_month(region))
    if usage.artifact_gb:
        yield BillEntry(usage.artifact_gb, sheet.bucket_gb_month(region))
    request = sheet.request(region)
    if usage.requests and request is not None:
        yield BillEntry(usage.requests, request)

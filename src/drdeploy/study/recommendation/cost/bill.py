"""A month's bill: every line is a quantity times a dated price.

AWS bills a serverless endpoint for the time that it works, by the millisecond and by memory, and
for each GB in and out; provisioned concurrency for the time that it is held, and for the time that
it works at a lower rate; an instance by the hour; a registry and a bucket by the GB and month
(pricing pages of SageMaker AI, ECR and S3).  SageMaker lists no price per request: a sheet that has
one, for a gateway in front of the endpoint for example, is charged.

A line without quantity needs no price.  A quantity whose price is not known is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.sagemaker import Price, PriceSheet


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a month takes of an endpoint.

    Attributes:
        requests: Answered, those that only keep it warm among them.
        on_demand_s: Time that serverless containers worked, at the price on demand.
        provisioned_duration_s: Time that provisioned containers worked.
        provisioned_held_s: Time that containers were held provisioned, summed over them.
        instance_hours: Summed over instances.
        data_gb: Into and out of a serverless endpoint.
        image_gb: Stored in the registry.
        artifact_gb: Stored in the bucket.
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
class Line:
    """One line of a bill.

    Attributes:
        quantity: In the price's unit.
    """

    quantity: float
    price: Price

    @property
    def usd(self) -> float:
        """What it comes to."""
        return self.quantity * self.price.usd


@dataclass(frozen=True)
class Bill:
    """A month."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The total."""
        return sum(line.usd for line in self.lines)

    def usd_of(self, price: Price) -> float:
        """What hangs on one price."""
        return sum(line.usd for line in self.lines if line.price == price)


@dataclass(frozen=True)
class BilledEndpoint:
    """What is paid for: one of the two.

    Attributes:
        memory_mb: Of a serverless endpoint, else 0.
        instance_type: Of a real-time endpoint, else empty.
    """

    memory_mb: int = 0
    instance_type: str = ""

    def __post_init__(self) -> None:
        if bool(self.memory_mb) == bool(self.instance_type):
            raise AnalysisError("An endpoint has either a memory size or an instance type")


def bill(endpoint: BilledEndpoint, usage: Usage, sheet: PriceSheet, region: str) -> Bill:
    """Price a month's usage.

    Raises:
        UnknownPrice: Something was used that the sheet has no price for.
    """
    return Bill(tuple(_lines(endpoint, usage, sheet, region)))


def _lines(
    endpoint: BilledEndpoint, usage: Usage, sheet: PriceSheet, region: str
) -> Iterator[Line]:
    size = endpoint.memory_mb
    if usage.on_demand_s:
        yield Line(usage.on_demand_s, sheet.serverless_second(size, region))
    if usage.provisioned_held_s:
        yield Line(usage.provisioned_held_s, sheet.provisioned_held_second(size, region))
    if usage.provisioned_duration_s:
        yield Line(usage.provisioned_duration_s, sheet.provisioned_duration_second(size, region))
    if usage.instance_hours:
        yield Line(usage.instance_hours, sheet.instance_hour(endpoint.instance_type, region))
    if usage.data_gb:
        yield Line(usage.data_gb, sheet.data_processed_gb(region))
    if usage.image_gb:
        yield Line(usage.image_gb, sheet.registry_gb_month(region))
    if usage.artifact_gb:
        yield Line(usage.artifact_gb, sheet.bucket_gb_month(region))
    request = sheet.request(region)
    if usage.requests and request is not None:
        yield Line(usage.requests, request)

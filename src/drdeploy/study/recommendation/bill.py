"""Compute a month's bill from simulated traffic; each entry is a quantity times a price.

The pricing pages of SageMaker AI, ECR and S3 say what AWS bills:

- For a serverless endpoint, AWS bills each millisecond that a container works, and each GB of data
  in and out. The price of a millisecond depends on the memory.
- For provisioned concurrency, AWS bills each second that a container is held ready. AWS also bills
  each second that the container works, at a lower price.
- For an instance, AWS bills each hour, and each GB of data in and out.
- For a registry or a bucket, AWS bills each stored GB in each month.

SageMaker has no price per request. A price sheet may contain one, for example for a gateway in
front of the endpoint. Each request is then billed. A quantity of zero needs no price. A quantity
above zero without a known price is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import AnalysisError
from drdeploy.units import GIB, HOURS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.sagemaker import Price, PriceSheet
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary


@dataclass(frozen=True, kw_only=True)
class MonthlyUsage:
    """The resources that an endpoint uses in a month.

    Attributes:
        requests: The number of answered requests, including keep-warm requests.
        on_demand_s: Seconds in which on-demand serverless containers worked.
        provisioned_duration_s: Seconds in which provisioned containers worked.
        provisioned_held_s: Seconds that containers were held ready, summed over containers.
        instance_hours: Hours that instances ran, summed over instances.
        data_gb: Data into and out of the endpoint, in GB.
        image_gb: Size of the container image in the registry, in GB.
        artifact_gb: Size of the model's artifact in the bucket, in GB.
    """

    requests: float = 0.0
    on_demand_s: float = 0.0
    provisioned_duration_s: float = 0.0
    provisioned_held_s: float = 0.0
    instance_hours: float = 0.0
    data_gb: float = 0.0
    image_gb: float = 0.0
    artifact_gb: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DataVolumes:
    """The data that an endpoint stores, and the data of one request.

    Attributes:
        image_gb: Compressed size of the container image in the registry, in GB.
        artifact_gb: Size of the model's artifact in the bucket, in GB.
        request_bytes: Size of one photograph.
        response_bytes: Size of one answer.
    """

    image_gb: float
    artifact_gb: float
    request_bytes: float
    response_bytes: float

    @property
    def transferred_gb_per_request(self) -> float:
        """The size of one request and its answer together, in GB."""
        return (self.request_bytes + self.response_bytes) / GIB


def compute_monthly_serverless_usage(
    simulated: SimulationSummary, months: float, volumes: DataVolumes
) -> MonthlyUsage:
    """Return the resources that a serverless endpoint uses in a month.

    Args:
        simulated: The result of a simulation.
        months: The number of months that the simulation covers.
        volumes: The data that the endpoint stores and transfers.
    """
    answered = simulated.answered_requests + simulated.keep_warm_requests
    return MonthlyUsage(
        requests=answered / months,
        on_demand_s=simulated.on_demand_s / months,
        provisioned_duration_s=simulated.provisioned_duration_s / months,
        provisioned_held_s=simulated.provisioned_held_s / months,
        data_gb=answered * volumes.transferred_gb_per_request / months,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )


def compute_monthly_real_time_usage(
    requests_per_month: float, instances: int, volumes: DataVolumes
) -> MonthlyUsage:
    """Return the resources that an always-on real-time endpoint uses in a month."""
    return MonthlyUsage(
        requests=requests_per_month,
        instance_hours=instances * HOURS_PER_MONTH,
        data_gb=requests_per_month * volumes.transferred_gb_per_request,
        image_gb=volumes.image_gb,
        artifact_gb=volumes.artifact_gb,
    )


@dataclass(frozen=True)
class BillEntry:
    """One entry of a bill: a price, and a quantity in the price's unit."""

    quantity: float
    price: Price

    @property
    def usd(self) -> float:
        """The cost of the entry in USD."""
        return self.quantity * self.price.usd


@dataclass(frozen=True)
class Bill:
    """The bill of one month."""

    entries: tuple[BillEntry, ...]

    @property
    def usd(self) -> float:
        """The total in USD."""
        return sum(entry.usd for entry in self.entries)

    def usd_due_to_price(self, price: Price) -> float:
        """Return the part of the total, in USD, that the entries with the given price make up."""
        return sum(entry.usd for entry in self.entries if entry.price == price)


@dataclass(frozen=True)
class BilledEndpoint:
    """The endpoint that is billed: serverless with a memory size, or real-time on instances.

    Attributes:
        memory_mb: Memory of a serverless endpoint; 0 for a real-time endpoint.
        instance_type: Instance type of a real-time endpoint; empty for a serverless endpoint.
        hour: Which price of an instance hour applies: that of real-time endpoints, of asynchronous
            endpoints, or of batch jobs.
    """

    memory_mb: int = 0
    instance_type: str = ""
    hour: Literal["real-time", "asynchronous", "batch"] = "real-time"

    def __post_init__(self) -> None:
        if bool(self.memory_mb) == bool(self.instance_type):
            raise AnalysisError("An endpoint must have either a memory size or an instance type")


def price_monthly_usage(
    endpoint: BilledEndpoint, usage: MonthlyUsage, sheet: PriceSheet, region: str
) -> Bill:
    """Price a month's usage.

    Raises:
        UnknownPrice: The price sheet has no price for a resource that was used.
    """
    size_mb, instance_type = endpoint.memory_mb, endpoint.instance_type
    look_up_hour = {
        "real-time": sheet.instance_hour,
        "asynchronous": sheet.asynchronous_hour,
        "batch": sheet.batch_hour,
    }[endpoint.hour]
    used: tuple[tuple[float, Callable[[], Price]], ...] = (
        (usage.on_demand_s, lambda: sheet.serverless_second(size_mb, region)),
        (usage.provisioned_held_s, lambda: sheet.provisioned_held_second(size_mb, region)),
        (
            usage.provisioned_duration_s,
            lambda: sheet.provisioned_processing_second(size_mb, region),
        ),
        (usage.instance_hours, lambda: look_up_hour(instance_type, region)),
        (usage.data_gb, lambda: sheet.data_processed_gb(region)),
        (usage.image_gb, lambda: sheet.registry_gb_month(region)),
        (usage.artifact_gb, lambda: sheet.bucket_gb_month(region)),
    )
    entries = [BillEntry(quantity, look_up()) for quantity, look_up in used if quantity]
    request = sheet.request(region)
    if usage.requests and request is not None:
        entries.append(BillEntry(usage.requests, request))
    return Bill(tuple(entries))

"""Estimate what AWS charges for grading an archive: instances, S3 requests and data transfer.

A price that no sheet has is never guessed. The estimate then says which price is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.units import GB, KB, MB, MILLION, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Price

_READ, _WRITE, _TRANSFER = "S3 read request", "S3 write request", "S3 transfer out"


@dataclass(frozen=True)
class InstancePrices:
    """The prices of an instance type and of S3 in a region.

    Attributes:
        sheet: The price sheet. S3 prices that it lacks come from the packaged sheet.
        instance_type: The instance type.
        region: The AWS region; empty for the region in which the jobs run.
    """

    sheet: PriceSheet
    instance_type: str
    region: str

    def find_price_of_s3(self, item: str) -> Price:
        """Return the price of an S3 request, or of a GB that leaves S3.

        Raises:
            UnknownPrice: Neither the sheet nor the packaged sheet has the price.
        """
        try:
            return self.sheet.other_service(item, self.region)
        except UnknownPrice:
            return PriceSheet.load().other_service(item, self.region)


@dataclass(frozen=True)
class ArchiveCost:
    """What AWS charges for an archive.

    Attributes:
        usd: The sum of all known parts, in USD; None if the largest part is not known.
        sentence: The cost and its parts, as text.
    """

    usd: float | None
    sentence: str


def estimate_reading_cost(
    photographs: int, size_bytes: float | None, prices: InstancePrices
) -> ArchiveCost:
    """Return what S3 charges when the user's own machines read photographs.

    Args:
        photographs: The number of photographs to read.
        size_bytes: Their size in bytes; None if it is not known.
        prices: The prices of S3.
    """
    requests_usd, requests = _price_s3_requests(photographs, 0, prices)
    size = "the photographs" if size_bytes is None else format_size(size_bytes)
    transfer = f"outside the bucket's region, sending {size} out of S3 costs "
    try:
        price = prices.find_price_of_s3(_TRANSFER)
    except UnknownPrice:
        transfer += f"more, but no sheet has a price for {_TRANSFER}"
    else:
        transfer += (
            f"{price.usd} USD a GB more"
            if size_bytes is None
            else f"about {price.usd * size_bytes / GB:.2f} USD more"
        )
    return ArchiveCost(requests_usd, f"{requests}; {transfer}")


def price_of_a_million_reads(prices: InstancePrices) -> float | None:
    """Return what S3 charges for a million read requests, in USD; None if it is not known."""
    return _price_s3_requests(MILLION, 0, prices)[0]


def estimate_transform_cost(
    work_s: float | None,
    photographs: int,
    instance_count: int,
    prices: InstancePrices,
    *,
    is_uploaded: bool,
) -> ArchiveCost:
    """Return what AWS charges for grading with Batch Transform.

    For each photograph, SageMaker reads the photograph and writes the answer, and this machine
    reads the answer. A photograph of a local folder is written to S3 first.

    Args:
        work_s: How long the instances work, in seconds; None if it is not known.
        photographs: The number of photographs to grade.
        instance_count: The number of instances.
        prices: The prices of the instances and of S3.
        is_uploaded: Whether the photographs are uploaded first.
    """
    try:
        hour = prices.sheet.batch_hour(prices.instance_type, prices.region)
    except UnknownPrice as error:
        return ArchiveCost(None, f"the cost is not known: {error.what}. {error.remedy}")
    rate = f"{hour.usd} USD an hour in {hour.region}, {hour.date}"
    if work_s is None:
        return ArchiveCost(None, f"an instance costs {rate}")
    work_usd = instance_count * hour.usd * work_s / SECONDS_PER_HOUR
    requests_usd, requests = _price_s3_requests(
        2 * photographs, photographs * (1 + is_uploaded), prices
    )
    usd = work_usd + (requests_usd or 0.0)
    return ArchiveCost(
        usd, f"about {usd:.2f} USD ({work_usd:.2f} USD for instances at {rate}; {requests})"
    )


def _price_s3_requests(reads: int, writes: int, prices: InstancePrices) -> tuple[float | None, str]:
    """Return the cost of S3 requests in USD (None if it is not known), and a sentence on it."""
    try:
        usd = sum(
            number * prices.find_price_of_s3(item).usd
            for item, number in ((_READ, reads), (_WRITE, writes))
            if number
        )
    except UnknownPrice as error:
        return None, f"S3 requests are not included: {error.what}"
    return usd, f"{usd:.2f} USD for S3 requests in {prices.region}"


def format_size(size_bytes: float) -> str:
    """Return a size as text, in kB, MB or GB."""
    if size_bytes < MB:
        return f"{size_bytes / KB:.0f} kB"
    if size_bytes < GB:
        return f"{size_bytes / MB:.1f} MB"
    return f"{size_bytes / GB:,.1f} GB"

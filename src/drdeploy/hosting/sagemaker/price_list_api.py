"""Today's prices from the AWS Price List API, written as a price sheet.

The API lists products by the thousand.  What a product is can be read from its ``usagetype``, which
begins with a prefix for the region (``USE1-``) and ends with one of these:

* ``Host:ml.m5.xlarge``: an hour of an instance;
* ``ServerlessInf:Mem-2GB``: a second of a serverless container;
* ``ProvisionedConcurrency:...-2GB``: a second of a provisioned container; its ``group`` says
  whether that is the price of keeping it or of processing;
* ``Hst:Data-Bytes-In`` and ``-Out``: a GB into or out of an endpoint; a sheet has one price for
  both, and takes the dearer;
* ``TimedStorage-ByteHrs`` of ECR and S3: a GB stored for a month.

Of a price in steps (free tier, then paid) the first paid step counts.  A product that is not
recognised is left out.  Its price stays unknown, which is an error where it is needed, not a guess.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker.aws_errors import translated_errors
from drdeploy.units import MIB_PER_GIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

API_REGION = "us-east-1"
"""Where the API answers; it knows the prices of every region."""
SERVICES = ("AmazonSageMaker", "AmazonECR", "AmazonS3")
SOURCE = "AWS Price List API"

_HOST = re.compile(r"(?:^|-)Host:(ml\.[a-z0-9-]+\.[a-z0-9]+)$")
_SERVERLESS = re.compile(r"(?:^|-)ServerlessInf:Mem-(\d+)GB$")
_PROVISIONED = re.compile(r"(?:^|-)ProvisionedConcurrency:[A-Za-z]+-(\d+)GB$")
_DATA = re.compile(r"(?:^|-)Hst:Data-Bytes-(?:In|Out)$")
_STORAGE = re.compile(r"(?:^|-)TimedStorage-ByteHrs$")


@dataclass
class CollectedPrices:
    """The prices that were recognised, in US dollars.

    Attributes:
        serverless: Price of a second of a serverless container, by memory in MB.
        held: Price of a second of keeping a provisioned container, by memory in MB.
        at_work: Price of a second of processing by a provisioned container, by memory in MB.
        instances: Price of an hour of an instance, by type.
        data_gb: Prices of a GB into or out of an endpoint.
        registry_gb_month: Prices of a GB of images, stored for a month.
        bucket_gb_month: Prices of a GB of artifacts, stored for a month.
    """

    serverless: dict[int, float] = field(default_factory=dict)
    held: dict[int, float] = field(default_factory=dict)
    at_work: dict[int, float] = field(default_factory=dict)
    instances: dict[str, float] = field(default_factory=dict)
    data_gb: list[float] = field(default_factory=list)
    registry_gb_month: list[float] = field(default_factory=list)
    bucket_gb_month: list[float] = field(default_factory=list)


def fetch_products(client: Any, region: str) -> Iterator[dict[str, Any]]:
    """Yield every product of SageMaker, ECR and S3 in a region, from boto3's ``pricing`` client.

    Raises:
        EndpointError: The API refuses, or does not answer.
    """
    filters = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    with translated_errors("read the price list", f"region {region}"):
        for service in SERVICES:
            paginator = client.get_paginator("get_products")
            for page in paginator.paginate(ServiceCode=service, Filters=filters):
                yield from (json.loads(product) for product in page["PriceList"])


def recognise_prices(products: Iterable[Mapping[str, Any]], region: str) -> CollectedPrices:
    """Return the prices of hosting among a region's products.

    Raises:
        InvalidInput: There is none: the region's name is wrong, or AWS has changed the list.
    """
    collected = CollectedPrices()
    for product in products:
        usd = _on_demand_usd(product)
        if usd is not None:
            _recognise(product, usd, collected)
    if not collected.instances and not collected.serverless:
        raise InvalidInput(
            f"The price list has no price of hosting in {region}",
            where="AWS Price List API",
            remedy="Name a region where SageMaker hosts endpoints, like eu-central-1",
        )
    return collected


def as_toml(collected: CollectedPrices, *, region: str, on: date) -> str:
    """Write a region's prices, read on a certain day, as :meth:`PriceSheet.load` reads them."""
    origin = f'region = "{region}"\ndate = "{on.isoformat()}"\nsource = "{SOURCE}"\n'
    tables: dict[str, dict[str, dict[int, float] | dict[str, float]]] = {
        "serverless_second": {"usd_by_memory_mb": collected.serverless},
        "provisioned_second": {
            "held_usd_by_memory_mb": collected.held,
            "duration_usd_by_memory_mb": collected.at_work,
        },
        "instance_hour": {"usd_by_type": collected.instances},
    }
    singles = {
        "data_processed_gb": collected.data_gb,
        "registry_gb_month": collected.registry_gb_month,
        "bucket_gb_month": collected.bucket_gb_month,
    }
    parts = [f"# Prices in {region}, read from the {SOURCE} on {on.isoformat()}.\n"]
    for name, columns in tables.items():
        if any(columns.values()):
            lines = "".join(f"{column} = {_table(by)}\n" for column, by in columns.items())
            parts.append(f"[[{name}]]\n{origin}{lines}")
    parts += [
        f"[[{name}]]\n{origin}usd = {max(known)!r}\n" for name, known in singles.items() if known
    ]
    return "\n".join(parts)


def _recognise(product: Mapping[str, Any], usd: float, collected: CollectedPrices) -> None:
    attributes = product.get("product", {}).get("attributes", {})
    usage, service = attributes.get("usagetype", ""), attributes.get("servicecode", "")
    group = attributes.get("group", "")
    if match := _HOST.search(usage):
        collected.instances[match[1]] = usd
    elif match := _SERVERLESS.search(usage):
        collected.serverless[int(match[1]) * MIB_PER_GIB] = usd
    elif (match := _PROVISIONED.search(usage)) and group:
        by_memory = collected.at_work if group.endswith("Duration") else collected.held
        by_memory[int(match[1]) * MIB_PER_GIB] = usd
    elif _DATA.search(usage):
        collected.data_gb.append(usd)
    elif _STORAGE.search(usage) and service == "AmazonECR":
        collected.registry_gb_month.append(usd)
    elif _STORAGE.search(usage) and attributes.get("volumeType") == "Standard":
        collected.bucket_gb_month.append(usd)


def _on_demand_usd(product: Mapping[str, Any]) -> float | None:
    """Return the on-demand price of the first step that costs anything; None without one."""
    steps = [
        (float(step.get("beginRange", 0)), float(step["pricePerUnit"]["USD"]))
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for step in term.get("priceDimensions", {}).values()
        if "USD" in step.get("pricePerUnit", {})
    ]
    paid = [(begin, usd) for begin, usd in steps if usd > 0]
    return min(paid)[1] if paid else None


def _table(prices: Mapping[int, float] | Mapping[str, float]) -> str:
    entries = ", ".join(f'"{name}" = {usd!r}' for name, usd in sorted(prices.items()))
    return f"{{ {entries} }}" if entries else "{}"

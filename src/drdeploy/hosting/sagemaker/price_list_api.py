"""Today's prices from the AWS Price List API, written as a sheet of the user's own.

What a product is, its ``usagetype`` says, after a prefix for the region (``USE1-``):
``Host:ml.m5.xlarge``, ``ServerlessInf:Mem-2GB``, ``ProvisionedConcurrency:...-2GB`` (its ``group``
tells containers at work from those that are held), ``Hst:Data-Bytes-In`` and ``-Out`` (the sheet
has one price for both: the dearer), and ``TimedStorage-ByteHrs`` of ECR and S3.  Of a price with
steps the first paid one counts.  What is not recognised is left out: it stays unknown, which is an
error where it is needed, and no guess.
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
"""The API answers here for every region."""
SERVICES = ("AmazonSageMaker", "AmazonECR", "AmazonS3")
SOURCE = "AWS Price List API"

_HOST = re.compile(r"(?:^|-)Host:(ml\.[a-z0-9-]+\.[a-z0-9]+)$")
_SERVERLESS = re.compile(r"(?:^|-)ServerlessInf:Mem-(\d+)GB$")
_PROVISIONED = re.compile(r"(?:^|-)ProvisionedConcurrency:[A-Za-z]+-(\d+)GB$")
_DATA = re.compile(r"(?:^|-)Hst:Data-Bytes-(?:In|Out)$")
_STORAGE = re.compile(r"(?:^|-)TimedStorage-ByteHrs$")


@dataclass
class CollectedPrices:
    """Prices in USD, as far as they were recognised."""

    serverless: dict[int, float] = field(default_factory=dict)
    held: dict[int, float] = field(default_factory=dict)
    at_work: dict[int, float] = field(default_factory=dict)
    instances: dict[str, float] = field(default_factory=dict)
    data_gb: list[float] = field(default_factory=list)
    registry_gb_month: list[float] = field(default_factory=list)
    bucket_gb_month: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many."""
        return sum(map(len, vars(self).values()))


def fetch_products(client: Any, region: str) -> Iterator[dict[str, Any]]:
    """Every product of hosting, registry and bucket in a region.

    Args:
        client: boto3's ``pricing``.
        region: Whose prices.

    Raises:
        EndpointError: The API refuses, or does not answer.
    """
    wanted = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    with translated_errors("read the price list", f"region {region}"):
        for service in SERVICES:
            pages = client.get_paginator("get_products").paginate(
                ServiceCode=service, Filters=wanted
            )
            for page in pages:
                yield from (json.loads(product) for product in page["PriceList"])


def recognise_prices(found: Iterable[Mapping[str, Any]], region: str) -> CollectedPrices:
    """Recognise products.

    Raises:
        InvalidInput: None is a price of hosting: the region's name is wrong, or the list changed.
    """
    collected = CollectedPrices()
    for product in found:
        usd = _usd(product)
        if usd is not None:
            _recognise(product, usd, collected)
    if not collected.instances and not collected.serverless:
        raise InvalidInput(
            f"The price list has no price of hosting in {region}",
            where="AWS Price List API",
            remedy="Name a region that SageMaker hosts in, like eu-central-1",
        )
    return collected


def as_toml(collected: CollectedPrices, *, region: str, on: date) -> str:
    """The sheet, as :meth:`PriceSheet.load` reads it."""
    head = f'region = "{region}"\ndate = "{on.isoformat()}"\nsource = "{SOURCE}"\n'
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
            parts.append(f"[[{name}]]\n{head}{lines}")
    parts += [
        f"[[{name}]]\n{head}usd = {max(known)!r}\n" for name, known in singles.items() if known
    ]
    return "\n".join(parts)


def _recognise(product: Mapping[str, Any], usd: float, collected: CollectedPrices) -> None:
    attributes = product.get("product", {}).get("attributes", {})
    usage, service = attributes.get("usagetype", ""), attributes.get("servicecode", "")
    group = attributes.get("group", "")
    if told := _HOST.search(usage):
        collected.instances[told[1]] = usd
    elif told := _SERVERLESS.search(usage):
        collected.serverless[int(told[1]) * MIB_PER_GIB] = usd
    elif (told := _PROVISIONED.search(usage)) and group:
        by_memory = collected.at_work if group.endswith("Duration") else collected.held
        by_memory[int(told[1]) * MIB_PER_GIB] = usd
    elif _DATA.search(usage):
        collected.data_gb.append(usd)
    elif _STORAGE.search(usage) and service == "AmazonECR":
        collected.registry_gb_month.append(usd)
    elif _STORAGE.search(usage) and attributes.get("volumeType") == "Standard":
        collected.bucket_gb_month.append(usd)


def _usd(product: Mapping[str, Any]) -> float | None:
    """On demand, of the first step that costs anything; None where there is none."""
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

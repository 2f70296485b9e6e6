"""Read today's prices from the AWS Price List API, and write them as a price sheet.

The API lists thousands of products. Each product has a field ``usagetype``, which begins with a
prefix for the region (``USE1-``). The products that hosting needs are recognised by the end of this
field:

- ``Host:ml.m5.xlarge`` stands for an hour of an instance of a real-time endpoint.
- ``AsyncInf:ml.m5.xlarge`` stands for an hour of an instance of an asynchronous endpoint.
- ``Tsform:ml.m5.xlarge`` stands for an hour of an instance of a batch transform job.
- ``ServerlessInf:Mem-2GB`` stands for a second of a serverless container.
- ``ProvisionedConcurrency:...-2GB`` stands for a second of a provisioned container. The product's
  ``group`` says whether the price is for keeping the container or for processing requests.
- ``Data-Bytes-In`` and ``Data-Bytes-Out`` of hosting stand for a GB that is sent into or out of an
  endpoint. A price sheet has one price for both directions, which is the higher of the two prices.
- ``TimedStorage-ByteHrs`` of ECR and S3 stands for a GB stored for a month.

Some prices depend on the quantity: the first units are free, and later units have a price. The
first price above zero is then used. Products that hosting does not need are left out. If AWS lists
no price for a product, the price sheet lacks this price too, and an error is raised only when a
calculation needs it. A needed price that is not in US dollars is an error.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EndpointError, InvalidInput
from drdeploy.files import parse_json
from drdeploy.hosting.sagemaker.aws_errors import translate_aws_errors
from drdeploy.hosting.sagemaker.connection import find_endpoint_url, is_loopback_url
from drdeploy.units import MIB_PER_GIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

API_REGION = "us-east-1"
"""The region in which the API answers.

The API knows the prices of every region.
"""
API_URL = f"https://api.pricing.{API_REGION}.amazonaws.com"
SERVICES = ("AmazonSageMaker", "AmazonECR", "AmazonS3")
SOURCE = "AWS Price List API"

_INSTANCE = re.compile(r"(?:^|-)(Host|AsyncInf|Tsform):(ml\.[a-z0-9-]+\.[a-z0-9]+)$")
_TABLE_OF_INSTANCE = {
    "Host": "instance_hour",
    "AsyncInf": "asynchronous_hour",
    "Tsform": "batch_hour",
}
_SERVERLESS = re.compile(r"(?:^|-)ServerlessInf:Mem-(\d{1,6})GB$")
_PROVISIONED = re.compile(r"(?:^|-)ProvisionedConcurrency:[A-Za-z]+-(\d{1,6})GB$")
_DATA = re.compile(r"(?:^|-)Hst:Data-Bytes-(?:In|Out)$")
_DATA_GROUPS = {"Hosting:IN", "Hosting:OUT"}
_STORAGE = re.compile(r"(?:^|-)TimedStorage-ByteHrs$")

CollectedPrices = dict[tuple[str, str], dict[int | str, float]]
"""Prices in US dollars, as a dictionary of dictionaries. The key of the outer dictionary is the
table and column of a price sheet. The key of an inner dictionary is a memory size in MB, an
instance type or a usage type.
"""

COLUMNS_BY_TABLE = {
    "serverless_second": ("usd_by_memory_mb",),
    "provisioned_second": ("held_usd_by_memory_mb", "duration_usd_by_memory_mb"),
    "instance_hour": ("usd_by_type",),
    "asynchronous_hour": ("usd_by_type",),
    "batch_hour": ("usd_by_type",),
    "data_processed_gb": ("usd",),
    "registry_gb_month": ("usd",),
    "bucket_gb_month": ("usd",),
}


def make_price_list_client() -> Any:
    """Make the boto3 client of the Price List API on AWS.

    A local service in ``AWS_ENDPOINT_URL`` is left out: it has no prices, and must not get the
    user's AWS credentials.
    """
    import boto3

    is_local = is_loopback_url(find_endpoint_url("pricing"))
    return boto3.client(
        "pricing", region_name=API_REGION, endpoint_url=API_URL if is_local else None
    )


def fetch_price_list_products(client: Any, region: str) -> Iterator[dict[str, Any]]:
    """Yield all products of SageMaker, ECR and S3 in a region, from boto3's ``pricing`` client.

    Raises:
        EndpointError: The API refuses the request, or does not answer.
    """
    filters = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    with translate_aws_errors("read the price list", f"region {region}"):
        for service in SERVICES:
            paginator = client.get_paginator("get_products")
            for page in paginator.paginate(ServiceCode=service, Filters=filters):
                yield from (parse_json(product) for product in page["PriceList"])


def collect_hosting_prices(products: Iterable[Mapping[str, Any]], region: str) -> CollectedPrices:
    """Find the prices that hosting needs among a region's products.

    Raises:
        EndpointError: A product does not have the format of AWS's products.
        InvalidInput: A price is not in US dollars, or no price for hosting was found. If no price
            was found, the name of the region is wrong, or AWS has changed its price list.
    """
    collected: CollectedPrices = {
        (table, column): {} for table, columns in COLUMNS_BY_TABLE.items() for column in columns
    }
    foreign: set[str] = set()
    for product in products:
        try:
            usd, place = _read_on_demand_price_usd(product), _find_place_in_price_sheet(product)
            currencies = _list_currencies(product)
        except (ValueError, TypeError, AttributeError, KeyError) as err:
            raise EndpointError(
                "The price list has a product in a format that is not AWS's format "
                f"({type(err).__name__})",
                where="AWS price list",
                remedy="Read the prices from the other source (--from api, --from offer-files), or "
                "name a copy of AWS's offer files with --address",
            ) from err
        if place is not None and "USD" not in currencies:
            foreign |= currencies
        if usd is not None and place is not None:
            table, column, key = place
            known = collected[table, column]
            known[key] = max(usd, known.get(key, 0.0)) if column == "usd" else usd
    if foreign:
        raise InvalidInput(
            f"The AWS price list has prices for {region} in {' and '.join(sorted(foreign))}, but a "
            "price sheet is in US dollars",
            where="AWS price list",
            remedy="Convert the prices to US dollars, and write them to a price sheet of your own",
        )
    hosting = ("instance_hour", "usd_by_type"), ("serverless_second", "usd_by_memory_mb")
    if not any(collected[place] for place in hosting):
        raise InvalidInput(
            f"The AWS price list has no prices for hosting in {region}",
            where="AWS price list",
            remedy="Choose a region where SageMaker hosts endpoints, like eu-central-1",
        )
    return collected


def format_prices_as_toml(
    collected: CollectedPrices, *, region: str, on: date, source: str = SOURCE
) -> str:
    """Return a region's prices of one day as TOML for :meth:`PriceSheet.load`."""
    origin = f'region = "{region}"\ndate = "{on.isoformat()}"\nsource = "{source}"\n'
    parts = [f"# Prices in {region}, read from the {source} on {on.isoformat()}.\n"]
    for table, columns in COLUMNS_BY_TABLE.items():
        prices = {column: collected[table, column] for column in columns}
        if any(prices.values()):
            lines = "".join(
                f"{column} = {_format_column_as_toml(column, by)}\n"
                for column, by in prices.items()
            )
            parts.append(f"[[{table}]]\n{origin}{lines}")
    return "\n".join(parts)


def _find_place_in_price_sheet(product: Mapping[str, Any]) -> tuple[str, str, int | str] | None:
    """Return the table, column and key at which a price sheet lists a product, or None.

    The result is None for a product that hosting does not need.
    """
    attributes = product.get("product", {}).get("attributes", {})
    usage, service = attributes.get("usagetype", ""), attributes.get("servicecode", "")
    group = attributes.get("group", "")
    if match := _INSTANCE.search(usage):
        return _TABLE_OF_INSTANCE[match[1]], "usd_by_type", match[2]
    if match := _SERVERLESS.search(usage):
        return "serverless_second", "usd_by_memory_mb", int(match[1]) * MIB_PER_GIB
    if (match := _PROVISIONED.search(usage)) and group:
        part = "duration" if group.endswith("Duration") else "held"
        return "provisioned_second", f"{part}_usd_by_memory_mb", int(match[1]) * MIB_PER_GIB
    if _DATA.search(usage) or group in _DATA_GROUPS:
        return "data_processed_gb", "usd", usage
    if _STORAGE.search(usage) and service == "AmazonECR":
        return "registry_gb_month", "usd", usage
    if _STORAGE.search(usage) and attributes.get("volumeType") == "Standard":
        return "bucket_gb_month", "usd", usage
    return None


def _read_on_demand_price_usd(product: Mapping[str, Any]) -> float | None:
    """Return a product's on-demand price, or None if it is free.

    If the price depends on the quantity, the first price above zero is returned.
    """
    steps = [
        (float(step.get("beginRange", 0)), _parse_price_usd(step["pricePerUnit"]["USD"]))
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for step in term.get("priceDimensions", {}).values()
        if "USD" in step.get("pricePerUnit", {})
    ]
    paid = [(begin, usd) for begin, usd in steps if usd > 0]
    return min(paid)[1] if paid else None


def _parse_price_usd(text: str) -> float:
    usd = float(text)
    if not math.isfinite(usd):
        raise ValueError("the price is not finite")
    return usd


def _list_currencies(product: Mapping[str, Any]) -> set[str]:
    return {
        currency
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for step in term.get("priceDimensions", {}).values()
        for currency in step.get("pricePerUnit", {})
    }


def _format_column_as_toml(column: str, prices: Mapping[int | str, float]) -> str:
    """Format a column as TOML: a table of prices, or one price.

    The column ``usd`` gets one price, which is the highest of ``prices``. Any other column gets a
    table with all prices.
    """
    if column == "usd":
        return repr(max(prices.values()))
    entries = ", ".join(f'"{name}" = {usd!r}' for name, usd in sorted(prices.items()))
    return f"{{ {entries} }}" if entries else "{}"

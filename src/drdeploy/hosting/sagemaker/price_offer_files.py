"""Read today's prices from the public offer files of AWS, which need no credentials.

AWS publishes one file per service and region ("Getting price list files manually" in the AWS
Billing user guide). A file has two sections. The first holds the products, each under its SKU (an
identifier). The second holds the prices of each SKU, which AWS calls terms. The Price List API
(:mod:`~drdeploy.hosting.sagemaker.price_list_api`) has the same products, but puts a product and
its terms into one document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.errors import EndpointError, InvalidInput
from drdeploy.files import parse_json
from drdeploy.hosting.sagemaker.price_list_api import SERVICES
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

ADDRESS = "https://pricing.us-east-1.amazonaws.com"
ADDRESS_IN_CHINA = "https://pricing.cn-north-1.amazonaws.com.cn"
SOURCE = "AWS price list, public offer files"
TIMEOUT_S = 60.0
FILE_BYTES_MAX = 512 * MIB
"""The largest number of bytes that an offer file may have after unpacking."""
NO_SUCH_FILE = {403, 404}
"""The HTTP statuses that stand for a missing file.

S3 answers 403 for a missing file if the bucket's files may not be listed.
"""


def fetch_offer_file_products(region: str, address: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield all products of SageMaker, ECR and S3 in a region, from AWS's public offer files.

    Args:
        region: The AWS region.
        address: The address from which the files are read; by default AWS's own.

    Raises:
        InvalidInput: AWS has no offer file for the region.
        EndpointError: The address does not answer, or its answer is not an offer file.
    """
    for service in SERVICES:
        yield from _list_products_with_terms(_fetch_offer_file(service, region, address))


def _fetch_offer_file(service: str, region: str, address: str | None) -> dict[str, Any]:
    import requests

    is_china = region.startswith("cn-")
    begin = (address or (ADDRESS_IN_CHINA if is_china else ADDRESS)).rstrip("/")
    partition = "cn" if is_china else "aws"
    url = f"{begin}/offers/v1.0/{partition}/{service}/current/{region}/index.json"
    try:
        answer = requests.get(url, timeout=TIMEOUT_S, stream=True)
        if answer.status_code in NO_SUCH_FILE:
            raise InvalidInput(
                f"There is no offer file of {service} for the region {region}",
                where=url,
                remedy="Choose a region where SageMaker hosts endpoints, like eu-central-1, with "
                "--region" + ("; or correct --address" if address else ""),
            )
        answer.raise_for_status()
        document = parse_json(_read_body_within_limit(answer))
    except (requests.RequestException, ValueError) as err:
        raise EndpointError(
            f"The offer file of {service} cannot be read: {err}",
            where=url,
            remedy="Check "
            + ("--address" if address else "the connection to the internet")
            + " and try again, or read the prices with AWS credentials: --from api",
        ) from err
    if not _is_offer_file(document):
        raise EndpointError(
            f"The file is not an offer file of {service}, because it has no products and terms",
            where=url,
            remedy="Give the address of a copy of AWS's offer files with --address"
            if address
            else "Check that no proxy changes the answer, or read the prices with AWS "
            "credentials: --from api",
        )
    found: dict[str, Any] = document
    return found


def _is_offer_file(document: object) -> bool:
    if not isinstance(document, dict):
        return False
    products, terms = document.get("products"), document.get("terms")
    if not (isinstance(products, dict) and isinstance(terms, dict)):
        return False
    return isinstance(terms.get("OnDemand", {}), dict)


def _read_body_within_limit(answer: requests.Response) -> bytes:
    """Read the body of an answer, and refuse it if it is too large.

    The body is read piece by piece, because a small compressed body may be huge when unpacked.
    """
    body = bytearray()
    for piece in answer.iter_content(MIB):
        body += piece
        if len(body) > FILE_BYTES_MAX:
            raise ValueError(f"it has more than {FILE_BYTES_MAX:,} bytes")
    return bytes(body)


def _list_products_with_terms(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each product with its own terms, in the format of the Price List API."""
    on_demand = document["terms"].get("OnDemand", {})
    for sku, product in document["products"].items():
        yield {"product": product, "terms": {"OnDemand": on_demand.get(sku, {})}}

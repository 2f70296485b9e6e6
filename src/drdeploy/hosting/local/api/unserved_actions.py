"""Refuse the services and actions of AWS that the local service does not offer.

moto answers for more services than this project supports, and some of its answers are invented. If
moto does not know an action, it raises an error or answers with a web page. Instead, this module
refuses such services and actions. The error names the action, and has the form that the client's
protocol demands.
"""

from __future__ import annotations

import logging
import re
import traceback
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_plus

from drdeploy.errors import escape_control_characters
from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api_errors import (
    make_unknown_operation_error,
    make_validation_error,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse

SERVED_SERVICES = {
    "application-autoscaling": "Application Auto Scaling",
    "budgets": "Budgets",
    "ecr": "ECR",
    "iam": "IAM",
    "kms": "KMS",
    "logs": "CloudWatch Logs",
    "monitoring": "CloudWatch",
    "s3": "S3",
    "sagemaker": "SageMaker",
    "scheduler": "EventBridge Scheduler",
    "sns": "SNS",
    "sqs": "SQS",
    "sts": "STS",
}
"""The name of each service that the local service answers for, by signing name."""

S3_SUBRESOURCES_SERVED = frozenset(
    {
        *("accelerate", "acl", "attributes", "cors", "delete", "encryption", "inventory"),
        *("legal-hold", "lifecycle", "list-type", "location", "logging", "notification"),
        *("object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock"),
        *("replication", "restore", "retention", "select", "select-type", "tagging", "uploads"),
        *("versioning", "versions", "website"),
    }
)
"""The subresources of S3, such as ``?tagging``, that moto knows.

moto ignores any other subresource. A request for such a subresource would instead list the bucket
or create an object, and succeed.
"""

RPC_PATH = re.compile(r"/service/\w+/operation/(\w+)")
API_BODY_BYTES_MAX = 16 * MIB
"""The largest number of bytes of a request body, except for S3.

Invocations of an endpoint, and layers of container images, have limits of their own.
"""
REASON_CHARACTERS = 200
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML does not allow (XML 1.0, 2.2)."""

log = logging.getLogger(__name__)


def refuse_unserved_service(service: str, request: ServiceRequest) -> None:
    """Refuse a request for a service that the local service does not answer for.

    Args:
        service: The signing name of the service; empty if the request is not signed.
        request: The request.

    Raises:
        ApiError: The local service does not answer for the AWS service, or for the part of S3 (such
            as ``?analytics``) that the request names.
    """
    if service and service not in SERVED_SERVICES:
        raise make_unknown_operation_error(
            f"{find_name_of_action(request)} of {service}. The local service serves "
            f"{', '.join(sorted(SERVED_SERVICES.values()))}"
        )
    if service == "s3":
        query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
        unserved = (query.keys() & _list_subresources_of_s3()) - S3_SUBRESOURCES_SERVED
        for name in sorted(unserved):
            raise make_unknown_operation_error(f"{request.method} ?{name} of S3")


def refuse_unserved_action(
    service: str, request: ServiceRequest, answer: Callable[[], ServiceResponse]
) -> ServiceResponse:
    """Return moto's answer to a request; refuse the request if moto cannot carry it out.

    Raises:
        ApiError: moto does not serve the action, or cannot carry it out with the values of the
            request.
    """
    name = SERVED_SERVICES.get(service, "AWS")
    if service != "s3":  # curl sends a form's content type even for an object
        _refuse_characters_without_xml(request)
    try:
        answered = answer()
    except (OSError, MemoryError):  # a failure of this machine, not of the request
        raise
    except NotImplementedError as err:
        action = find_name_of_action(request)
        is_whole_action = str(err).endswith("action has not been implemented")
        reason = "" if is_whole_action else f" as asked: {err}".rstrip(".")
        raise make_unknown_operation_error(f"{action} of {name}{reason}") from err
    except Exception as err:
        # moto is not made for threads. An error such as "dictionary changed size during iteration"
        # is not the client's fault, and a client sends a request again after a status of 500.
        is_race = isinstance(err, RuntimeError) and not isinstance(err, RecursionError)
        if is_race or not _is_raised_in_moto(err):
            raise
        # moto raises an error if a value is missing, or a text is not a number. AWS refuses such
        # values. After a status of 500, a client would send the same request again.
        action = f"{find_name_of_action(request)} of {name}"
        # The message may quote a value of the request, and a value may have up to 16 MiB.
        reason = escape_control_characters(f"{type(err).__name__}: {err}"[:REASON_CHARACTERS])
        log.info("%s: moto raised %s", action[:REASON_CHARACTERS], reason)
        raise make_validation_error(
            f"The local service cannot carry out {action} with these values ({reason}). A value "
            "is missing or malformed, or names something that does not exist."
        ) from err
    headers = {header.lower(): value for header, value in answered.header_items()}
    # Flask answers with a web page if a path belongs to no action. In S3, an object may be a web
    # page.
    body = answered.body if isinstance(answered.body, bytes) else b"..."
    is_page = headers.get("content-type", "").startswith("text/html")
    if (
        service != "s3"
        and service
        and answered.status in {404, 405}
        and ((is_page and b"<!doctype html>" in body[:200]) or not body)
    ):
        raise make_unknown_operation_error(f"{find_name_of_action(request)} of {name}")
    return answered


def _is_raised_in_moto(err: Exception) -> bool:
    """Return whether an error comes from moto or from a library that moto called."""
    packages = (
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(err.__traceback__)
    )
    return next((one for one in [*packages][::-1] if one in {"moto", "drdeploy"}), "") == "moto"


def _refuse_characters_without_xml(request: ServiceRequest) -> None:
    """Refuse a form with a character that XML does not allow.

    moto would store the character. The client could then read neither the answer to this request
    nor any later list that contains the character.
    """
    found = NO_XML.search(unquote_plus(read_query_and_form(request)))
    if found:
        raise make_validation_error(
            f"The request has the character {found[0]!r}, which the XML document of the answer "
            "cannot hold."
        )


def read_query_and_form(request: ServiceRequest) -> str:
    """Return the query string of a request, joined with the form in the body if there is a form.

    The whole form is read, because moto reads all of it. If the end of the form were not read here,
    a member at the end would have an effect without having been checked.
    """
    query = request.target.partition("?")[2]
    is_form = "x-www-form-urlencoded" in (request.headers.get("Content-Type") or "")
    # An S3 object may have this content type, because curl sends it, and may have 5 GiB.
    if not is_form or request.length_bytes > API_BODY_BYTES_MAX:
        return query
    request.body.seek(0)
    form = request.body.read().decode("latin-1")
    request.body.seek(0)
    return "&".join(filter(None, (query, form)))


def find_name_of_action(request: ServiceRequest) -> str:
    """Return the name of the action in a request; if there is none, the method and path."""
    target = request.headers.get("X-Amz-Target") or ""
    if target:
        return target.rpartition(".")[2]
    rpc = RPC_PATH.search(request.path)
    if rpc:
        return rpc[1]
    found = re.search(r"(?:^|&)Action=(\w+)", read_query_and_form(request))
    return found[1] if found else f"{request.method} {request.path}"


def find_name_of_runtime_operation(request: ServiceRequest) -> str:
    """Return the name of the operation of SageMaker's runtime that a request asks for.

    If the request is for no operation, return its method and path.
    """
    model = load_service_model("sagemaker-runtime")
    for name in model.operation_names:
        http = model.operation_model(name).http
        pattern = re.sub(r"\{\w+\}", "[^/]+", http["requestUri"])
        if request.method == http["method"] and re.fullmatch(pattern, request.path):
            return str(name)
    return f"{request.method} {request.path}"


@cache
def _list_subresources_of_s3() -> frozenset[str]:
    """Return the names of S3's subresources, such as ``tagging`` in ``?tagging``."""
    model = load_service_model("s3")
    uris = [model.operation_model(name).http["requestUri"] for name in model.operation_names]
    return frozenset(
        name for uri in uris for name in parse_qs(uri.partition("?")[2], keep_blank_values=True)
    )

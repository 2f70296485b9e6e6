"""Filter, sort and page resources for the ``List*`` operations."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.local.api_errors import make_validation_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_MAX_RESULTS = 10
"""SageMaker's default ``MaxResults`` (API reference, ``ListEndpoints``)."""
DEFAULT_MAX_TAGS = 50
"""The default ``MaxResults`` of ``ListTags``: a resource has at most 50 tags, which all fit on one
page."""


def filter_and_page_resources(
    resources: Iterable[Any], request: dict[str, Any]
) -> tuple[list[Any], str | None]:
    """Filter and sort resources; return the requested page and the token of the next page, if any.

    The token of a page names the last resource of the page before, not a position. A client that
    deletes each resource of a page before it asks for the next page therefore misses none.

    Raises:
        ApiError: The request's ``NextToken`` comes from no earlier answer of the service to the
            same request.
    """
    attributes = {"Name": "name", "CreationTime": "created", "Status": "status"}
    sorted_by = attributes[request.get("SortBy", "CreationTime")]
    is_descending = request.get("SortOrder", "Descending") == "Descending"

    def make_sort_key(resource: Any) -> tuple[Any, str]:
        # Resources with equal values, such as equal creation times, are sorted by name.
        value = getattr(resource, sorted_by)
        return (value.timestamp() if isinstance(value, datetime) else value, resource.name)

    keys_and_resources = sorted(
        (
            (make_sort_key(resource), resource)
            for resource in resources
            if _has_requested_name_and_times(resource, request)
        ),
        key=lambda pair: pair[0],
        reverse=is_descending,
    )
    if "NextToken" in request:
        last = _read_page_token(request["NextToken"], sorted_by)
        keys_and_resources = [
            pair
            for pair in keys_and_resources
            if pair[0] != last and (pair[0] < last) == is_descending
        ]
    size = int(request.get("MaxResults", DEFAULT_MAX_RESULTS))
    page = keys_and_resources[:size]
    token = None
    if page and len(keys_and_resources) > size:
        token = _make_page_token(sorted_by, page[-1][0])
    return [resource for _, resource in page], token


def _make_page_token(sorted_by: str, last: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([sorted_by, *last]).encode()).decode()


def _read_page_token(token: str, sorted_by: str) -> tuple[Any, str]:
    """Return the sort key of the last resource of the page before."""
    try:
        attribute, value, name = parse_json(base64.b64decode(token, b"-_", validate=True))
    except (ValueError, TypeError) as err:
        raise make_validation_error("Invalid NextToken") from err
    expected: tuple[type, ...] = (int, float) if sorted_by == "created" else (str,)
    if attribute != sorted_by or not isinstance(value, expected) or not isinstance(name, str):
        raise make_validation_error("Invalid NextToken")
    return value, name


def cut_page_of_list(
    items: Sequence[Any], request: dict[str, Any], *, default_max: int = DEFAULT_MAX_RESULTS
) -> tuple[list[Any], str | None]:
    """Return the page of the items that a request asks for, and the token of the next page, if any.

    Raises:
        ApiError: The request's ``NextToken`` comes from no earlier answer of the service.
    """
    token = request.get("NextToken", "0")
    if not re.fullmatch(r"[0-9]{1,9}", token):
        raise make_validation_error("Invalid NextToken")
    start = int(token)
    end = start + int(request.get("MaxResults", default_max))
    return list(items[start:end]), str(end) if end < len(items) else None


def _has_requested_name_and_times(resource: Any, request: dict[str, Any]) -> bool:
    status = request.get("StatusEquals")
    modified = getattr(resource, "modified", resource.created)
    return (
        request.get("NameContains", "").lower() in resource.name.lower()
        and (status is None or resource.status == status)
        and _is_in_time_range(resource.created, request, "CreationTime")
        and _is_in_time_range(modified, request, "LastModifiedTime")
    )


def _is_in_time_range(moment: datetime, request: dict[str, Any], member: str) -> bool:
    seconds = moment.timestamp()
    after, before = request.get(f"{member}After"), request.get(f"{member}Before")
    return (after is None or seconds >= after) and (before is None or seconds <= before)

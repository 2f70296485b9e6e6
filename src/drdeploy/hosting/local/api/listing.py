"""Filter, sort and page resources for the ``List*`` operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import make_validation_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

DEFAULT_MAX_RESULTS = 10
"""SageMaker's default ``MaxResults`` (API reference, ``ListEndpoints``)."""
DEFAULT_MAX_TAGS = 50
"""The default ``MaxResults`` of ``ListTags``: a resource has at most 50 tags, which all fit on one
page."""


def filter_and_page_resources(
    resources: Iterable[Any], request: dict[str, Any]
) -> tuple[list[Any], str | None]:
    """Filter and sort resources; return the requested page and the token of the next page, if any.

    The token of a page is the position of its first resource.

    Raises:
        ApiError: The request's ``NextToken`` comes from no earlier answer of the service.
    """
    attributes = {"Name": "name", "CreationTime": "created", "Status": "status"}
    sorted_by = attributes[request.get("SortBy", "CreationTime")]
    chosen = sorted(
        (resource for resource in resources if _has_requested_name_and_times(resource, request)),
        # Resources with equal values, such as equal creation times, are sorted by name.
        key=lambda resource: (getattr(resource, sorted_by), resource.name),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    return cut_page_of_list(chosen, request)


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

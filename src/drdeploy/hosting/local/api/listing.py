"""The ``List*`` operations: filter, sort and page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import forbidden_now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

DEFAULT_MAX_RESULTS = 10
"""SageMaker's default ``MaxResults`` (API reference, ``ListEndpoints``)."""


def page(resources: Iterable[Any], request: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Return the page that a request asks for, and the token of the next page, if any.

    The token is simply the position of the next resource.

    Raises:
        ApiError: The request's ``NextToken`` is not one of ours.
    """
    attributes = {"Name": "name", "CreationTime": "created", "Status": "status"}
    sorted_by = attributes[request.get("SortBy", "CreationTime")]
    chosen = sorted(
        (resource for resource in resources if _matches(resource, request)),
        # The name comes second, so that resources of the same moment are always in the same order.
        key=lambda resource: (getattr(resource, sorted_by), resource.name),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise forbidden_now("Invalid NextToken")
    start = int(token)
    end = start + int(request.get("MaxResults", DEFAULT_MAX_RESULTS))
    return chosen[start:end], str(end) if end < len(chosen) else None


def _matches(resource: Any, request: dict[str, Any]) -> bool:
    status = request.get("StatusEquals")
    modified = getattr(resource, "modified", resource.created)
    return (
        request.get("NameContains", "").lower() in resource.name.lower()
        and (status is None or resource.status == status)
        and _is_between(resource.created, request, "CreationTime")
        and _is_between(modified, request, "LastModifiedTime")
    )


def _is_between(moment: datetime, request: dict[str, Any], member: str) -> bool:
    seconds = moment.timestamp()
    after, before = request.get(f"{member}After"), request.get(f"{member}Before")
    return (after is None or seconds >= after) and (before is None or seconds <= before)

"""The ``List*`` operations: filter, sort, page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import forbidden_now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

PAGE_LENGTH = 10
"""SageMaker's default ``MaxResults``."""


def page(records: Iterable[Any], request: dict[str, Any]) -> tuple[list[Any], str | None]:
    """The page that a request asks for, and the token of the next one.

    Raises:
        ApiError: The token is none of ours.
    """
    chosen = sorted(
        (record for record in records if _is_wanted(record, request)),
        key=lambda record: _sort_key(record, request.get("SortBy", "CreationTime")),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    start = _offset(request.get("NextToken"))
    end = start + int(request.get("MaxResults", PAGE_LENGTH))
    return chosen[start:end], str(end) if end < len(chosen) else None


def _is_wanted(record: Any, request: dict[str, Any]) -> bool:
    status = request.get("StatusEquals")
    return (
        request.get("NameContains", "").lower() in record.name.lower()
        and (status is None or record.status == status)
        and _is_between(record.created, request, "CreationTime")
        and _is_between(getattr(record, "modified", record.created), request, "LastModifiedTime")
    )


def _is_between(moment: datetime, request: dict[str, Any], what: str) -> bool:
    seconds = moment.timestamp()
    after, before = request.get(f"{what}After"), request.get(f"{what}Before")
    return (after is None or seconds >= after) and (before is None or seconds <= before)


def _sort_key(record: Any, sort_by: str) -> tuple[Any, ...]:
    keys = {"Name": record.name, "CreationTime": record.created}
    return (getattr(record, "status", "") if sort_by == "Status" else keys[sort_by], record.name)


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    if not token.isdecimal():
        raise forbidden_now("Invalid NextToken")
    return int(token)

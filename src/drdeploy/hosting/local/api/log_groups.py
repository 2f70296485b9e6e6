"""CloudWatch Logs: moto stores groups and streams; this module searches them as AWS does.

By itself, moto returns every line if it does not understand a filter pattern. It ignores prefixes
of stream names, and never deletes lines, even if they are older than the retention time of their
group.
"""

from __future__ import annotations

import json
import re
import time
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.local.api.packed_events import make_stream_class
from drdeploy.hosting.local.monitoring.log_patterns import make_log_matcher
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker.cloudwatch import ENDPOINTS, TRANSFORM_JOBS
from drdeploy.units import MILLISECONDS_PER_S, SECONDS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from drdeploy.hosting.local.endpoints.instance_logs import LogStreamName
    from drdeploy.hosting.local.instances.instance import LogLine

EVENTS_MAX = 10_000
"""The largest number of events in one answer of ``FilterLogEvents``."""
EVENT_TOKEN = re.compile(r"([bf])/([0-9]{1,100})")
"""A ``nextToken`` of ``FilterLogEvents``: the direction (``f`` for forward, ``b`` for backward) and
the id of an event.
"""
LINES_KEPT = 100_000
"""How many of an instance's newest lines are kept, so that a long run does not fill the memory. Up
to a thousand more may be kept, because lines are dropped in blocks.
"""


def replace_log_operations_in_moto() -> None:
    """Make moto answer for CloudWatch Logs with the operations of this module."""
    from moto.logs import models, responses

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (models, "EventMessageFilter", _PatternOfMoto),
        (models, "LogStream", make_stream_class(models.LogStream)),
        (models.LogsBackend, "_find_log_group", _find_group),
        (responses.LogsResponse, "filter_log_events", _filter_log_events),
        *(
            (
                responses.LogsResponse,
                name,
                _refuse_limit_below_one(getattr(responses.LogsResponse, name)),
            )
            for name in ("describe_log_groups", "describe_log_streams", "get_log_events")
        ),
        *(
            (models.LogGroup, name, _refuse_absent_stream(getattr(models.LogGroup, name)))
            for name in ("get_log_events", "delete_log_stream")
        ),
    )
    for owner, name, value in replaced:
        setattr(owner, name, value)


def put_log_lines(name: LogStreamName, lines: Sequence[LogLine]) -> None:
    """Append lines to a log stream, and create the stream and its group if they do not exist."""
    from moto.logs.models import logs_backends

    backend: Any = logs_backends[ACCOUNT][name.region]
    backend.ensure_log_group(name.group)
    backend.ensure_log_stream(name.group, name.stream)
    if lines:
        stream = backend.groups[name.group].streams[name.stream]
        stream.put_log_events(
            [{"timestamp": line.timestamp_ms, "message": line.text} for line in lines]
        )
        stream.events.keep_newest(LINES_KEPT)


def make_group_condition(body: bytes) -> Callable[[str], bool]:
    """Return a function that tells whether a request contains the name of a log group."""
    text = body.decode(errors="replace")
    if f"{ENDPOINTS}/" not in text and TRANSFORM_JOBS not in text:
        return lambda _: False
    return lambda group: group in text


def drop_expired_events(region: str) -> None:
    """Drop the events that are older than the retention of their groups."""
    from moto.logs.models import logs_backends

    now_ms = time.time() * MILLISECONDS_PER_S
    backend: Any = logs_backends[ACCOUNT][region]
    for group in tuple(backend.groups.values()):
        days = group.retention_in_days
        if days:
            oldest = now_ms - int(days) * SECONDS_PER_DAY * MILLISECONDS_PER_S
            for stream in tuple(group.streams.values()):
                stream.events.drop_older_than(oldest)


class _PatternOfMoto:
    """A filter pattern for log lines, with the interface that moto expects of its own patterns."""

    def __init__(self, pattern: str | None) -> None:
        self.matches = _make_matcher_for_moto(pattern)


def _make_matcher_for_moto(pattern: str | None) -> Callable[[str], bool]:
    from moto.logs.exceptions import InvalidParameterException

    try:
        return make_log_matcher(pattern or "")
    except MonitoringError as err:
        raise InvalidParameterException(msg=err.message) from err


def _find_group(backend: Any, log_group_id: Any = None, log_group_name: Any = None) -> Any:
    """Return the log group with the given name or ARN.

    By itself, moto may find the wrong group for an ARN.
    """
    from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException

    if bool(log_group_id) == bool(log_group_name):
        raise InvalidParameterException(
            msg="Give either logGroupName or logGroupIdentifier, not both."
        )
    wanted = str(log_group_name or log_group_id).removesuffix(":*")
    name = wanted.rsplit(":log-group:", maxsplit=1)[-1]
    group = backend.groups.get(name)
    if group is None:
        raise ResourceNotFoundException
    return group


def _refuse_absent_stream(work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method of a log group, so that it raises the right error if a stream is missing.

    By itself, moto says that the group is missing.
    """

    def refuse_absent_stream_or_call_method(
        group: Any, log_stream_name: str, *values: Any, **named: Any
    ) -> Any:
        _check_streams_exist(group, [log_stream_name])
        return work(group, log_stream_name, *values, **named)

    return refuse_absent_stream_or_call_method


def _refuse_limit_below_one(work: Callable[[Any], str]) -> Callable[[Any], str]:
    """Wrap an operation of moto, so that it refuses a ``limit`` below 1, as AWS does.

    By itself, moto refuses only a ``limit`` that is too large.
    """

    def refuse_limit_below_one_or_answer(response: Any) -> str:
        _read_limit(parse_json(response.body))
        return work(response)

    return refuse_limit_below_one_or_answer


def _read_limit(request: Mapping[str, Any]) -> int:
    """Return the ``limit`` of a request, which must be 1 to 10,000; 10,000 if none is stated."""
    from moto.logs.exceptions import InvalidParameterException

    stated = request.get("limit")
    limit = EVENTS_MAX if stated is None else int(stated)
    if not 1 <= limit <= EVENTS_MAX:
        bound = "greater than or equal to 1" if limit < 1 else f"less than or equal to {EVENTS_MAX}"
        raise InvalidParameterException(
            constraint=f"Member must have value {bound}", parameter="limit", value=limit
        )
    return limit


def _check_streams_exist(group: Any, names: Sequence[str]) -> None:
    from moto.logs.exceptions import ResourceNotFoundException

    if any(name not in group.streams for name in names):
        raise ResourceNotFoundException("The specified log stream does not exist.")


def _filter_log_events(response: Any) -> str:
    from moto.logs.exceptions import InvalidParameterException

    request = parse_json(response.body)
    get = request.get
    group = _find_group(response.logs_backend, get("logGroupIdentifier"), get("logGroupName"))
    names, prefix = get("logStreamNames"), get("logStreamNamePrefix")
    if names and prefix:
        raise InvalidParameterException(
            msg="logStreamNames and logStreamNamePrefix are mutually exclusive."
        )
    _check_streams_exist(group, names or [])
    limit = _read_limit(request)
    matches = _make_matcher_for_moto(get("filterPattern"))
    start, end = get("startTime"), get("endTime")
    streams = [
        stream
        for name, stream in tuple(group.streams.items())
        if (not names or name in names) and name.startswith(prefix or "")
    ]
    found = [
        (event, stream.log_stream_name)
        for stream in streams
        for event in tuple(stream.events)
        if (start is None or event.timestamp >= start)
        and (end is None or event.timestamp <= end)
        and matches(event.message)
    ]
    # The token names the last event of the previous page, not a position: events arrive and expire
    # between two requests. It also names the direction, which a further request need not repeat
    # (API reference, ``FilterLogEvents``).
    token = get("nextToken")
    given = None if token is None else EVENT_TOKEN.fullmatch(token)
    if token is not None and given is None:
        raise InvalidParameterException(msg="The specified nextToken is invalid.")
    direction = "b" if get("startFromHead") is False else "f"
    if given:
        direction = given[1]
    found.sort(key=lambda pair: (pair[0].timestamp, pair[0].event_id), reverse=direction == "b")
    if given:
        found = _list_events_after_id(found, int(given[2]))
    page = found[:limit]
    answer: dict[str, Any] = {
        "events": [event.to_filter_dict() | {"logStreamName": name} for event, name in page],
        "searchedLogStreams": [],
    }
    if len(found) > limit:
        answer["nextToken"] = f"{direction}/{page[-1][0].event_id}"
    return json.dumps(answer)


def _list_events_after_id(found: Iterable[Any], event_id: int) -> list[Any]:
    pairs = list(found)
    ids = list(map(attrgetter("event_id"), (event for event, _ in pairs)))
    return pairs[ids.index(event_id) + 1 :] if event_id in ids else pairs

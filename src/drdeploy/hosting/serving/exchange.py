"""One request and its answer, free of any web framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import DrdeployError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
CSV = "text/csv"

RETRY_AFTER_S = 1
"""A full queue of the default length empties in about that time."""


class ClientGone(Exception):
    """The client closed its connection before its request was complete: nobody to answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request as far as it is known before its body is read.

    Attributes:
        headers: By lower-case name.
        received_at: When the head was complete, on the clock of the gateway, seconds.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request.

    Attributes:
        invocation: Its number in this container, from 1; 0 for anything but an invocation.
    """

    head: Head
    body: bytes = b""
    invocation: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer.

    Attributes:
        facts: What the log may say of it.  Never patient data.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)


def json_response(
    value: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """An answer in JSON."""
    return Response(status=status, body=msgspec.json.encode(value), headers=headers)


def refusal(error: DrdeployError) -> Response:
    """What a client is told of an error: a stable code and one sentence."""
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Overloaded):
        headers = (("Retry-After", str(RETRY_AFTER_S)),)
    return _error(int(error.http_status), error.code, error.sentence, headers)


def method_refusal(error: DrdeployError, allowed: tuple[str, ...]) -> Response:
    """405, with the methods that the path does have."""
    return _error(
        int(error.http_status), error.code, error.sentence, (("Allow", ", ".join(allowed)),)
    )


def internal_failure() -> Response:
    """What a client is told of an error that nobody foresaw."""
    return _error(500, "InternalFailure", "The server failed to answer; its log has the details.")


def _error(
    status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    answer = json_response({"error": {"code": code, "message": message}}, status, headers)
    return Response(status=status, body=answer.body, headers=headers, facts={"error_code": code})

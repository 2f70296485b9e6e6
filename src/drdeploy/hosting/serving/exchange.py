"""One request and its response as handlers see them, free of any web framework.

A request exists in two forms: what the HTTP server of a profile reads (httptools' callbacks, or
Starlette's request), and the :class:`Request` that it makes of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import DrdeployError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    Headers = tuple[tuple[str, str], ...]

JSON = "application/json"
CSV = "text/csv"

RETRY_AFTER_S = 1
"""A full queue of the default length empties in about that time."""


class ClientGone(Exception):
    """The client closed its connection before its request was complete, so there is no answer."""


@dataclass(slots=True)
class Request:
    """An HTTP request.

    The server makes it when the head is read.  The gateway fills in the rest, and reads a body
    only if it admits the request.

    Attributes:
        method: In capitals, for example ``POST``.
        path: Of the request target, without its query.
        headers: By lower-case name.
        received_at: When the head was complete, in seconds of the gateway's clock.
        body: The whole body; empty until it has been read.
        invocation: Its number among the container's invocations, from 1; 0 for anything else.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    received_at: float = 0.0
    body: bytes = b""
    invocation: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response.

    Attributes:
        status: HTTP status code.
        body: The whole body.
        content_type: Its media type.
        headers: Further headers; the server adds ``Content-Length``, ``Date`` and ``Connection``.
        facts: Fields for the log line of the request.  Never patient data.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Headers = ()
    facts: Mapping[str, object] = field(default_factory=dict)


def json_response(value: object, facts: Mapping[str, object] | None = None) -> Response:
    """Return a response with status 200 and the value as JSON."""
    return Response(body=msgspec.json.encode(value), facts=facts or {})


def refusal(error: DrdeployError, headers: Headers = ()) -> Response:
    """Return the response to a refused request: a stable error code and one sentence."""
    if isinstance(error, Overloaded):
        headers = (*headers, ("Retry-After", str(RETRY_AFTER_S)))
    return _error_response(error.http_status, error.code, error.sentence, headers)


def internal_failure() -> Response:
    """Return the response to a request that met a bug; only the log says what happened."""
    return _error_response(
        500, "InternalFailure", "The server failed to answer; its log has the details."
    )


def _error_response(status: int, code: str, message: str, headers: Headers = ()) -> Response:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    return Response(status=status, body=body, headers=headers, facts={"error_code": code})

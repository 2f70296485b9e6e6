"""The requests and responses that handlers work with, independent of any web framework.

The lean profile and the classic profile have different HTTP servers. Both turn what they receive
into a :class:`Request`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import DrdeployError, MethodNotAllowed, Overloaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    Headers = tuple[tuple[str, str], ...]

JSON = "application/json"
CSV = "text/csv"

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that the server knows; other methods are refused with 501 (RFC 9110, 15.6.2)."""

ALLOWED = "GET, HEAD, POST"
"""The methods that at least one path accepts; a 405 must name methods (RFC 9110, 15.5.6)."""

RETRY_AFTER_S = 1
"""Seconds after which a client may retry; by then, a full queue of default length is empty."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete, so no answer is sent."""


@dataclass(slots=True)
class Request:
    """An HTTP request.

    The server makes this object when it has read the request line and headers. If the gateway
    admits the request, the gateway reads the body, and fills in ``body`` and ``invocation``.

    Attributes:
        method: The method in capitals, for example ``POST``.
        path: The path of the request target, without the query.
        headers: The values of the headers, by lower-case name.
        received_at: When the headers were complete, in seconds of the gateway's clock.
        body: The whole body; empty until the body has been read.
        invocation: Which invocation of the container this is, counted from 1; 0 for a request that
            is not an invocation.
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
        status: The HTTP status code.
        body: The whole body.
        content_type: The media type of the body.
        headers: Further headers; the server adds ``Content-Length``, ``Date`` and ``Connection``.
        facts: Fields for the log line of the request, which never hold patient data.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Headers = ()
    facts: Mapping[str, object] = field(default_factory=dict)


def make_json_response(value: object, facts: Mapping[str, object] | None = None) -> Response:
    """Return a response with status 200 and the value as JSON."""
    return Response(body=msgspec.json.encode(value), facts=facts or {})


def make_refusal_response(error: DrdeployError, headers: Headers = ()) -> Response:
    """Return the response to a refused request, with a stable error code and one sentence."""
    if isinstance(error, Overloaded):
        headers = (*headers, ("Retry-After", str(RETRY_AFTER_S)))
    elif isinstance(error, MethodNotAllowed) and not headers:
        headers = (("Allow", ALLOWED),)
    return _make_error_response(error.http_status, error.code, error.sentence, headers)


def make_internal_failure_response() -> Response:
    """Return the response after an unexpected error, whose details are only in the log."""
    return _make_error_response(
        500, "InternalFailure", "The server failed to answer; its log has the details."
    )


def _make_error_response(status: int, code: str, message: str, headers: Headers = ()) -> Response:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    return Response(status=status, body=body, headers=headers, facts={"error_code": code})

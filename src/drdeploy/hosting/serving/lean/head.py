"""Read the request line and the header fields of a request (RFC 9112, sections 2 to 6).

Some invalid requests are read differently by different servers, which attackers can use. The parser
therefore refuses invalid lines, white space before a colon, folded lines, a second field of a kind
that may occur only once, and two declarations of the body's length. The parser accepts two
deviations from the standard form, because RFC 9112 allows servers to accept them, and NGINX does. A
line may end with LF alone, and several spaces may separate the parts of the request line. Both
profiles of the server, lean and classic, accept these two deviations, so both profiles answer such
requests in the same way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drdeploy.errors import (
    MalformedRequest,
    MethodNotAllowed,
    UnsupportedHttpFeature,
    UnsupportedHttpVersion,
)
from drdeploy.hosting.serving.exchange import METHODS
from drdeploy.hosting.serving.header_fields import combine_header_fields, is_valid_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HEAD_END = re.compile(rb"\n\r*\n")
NEVER_ALLOWED = frozenset({"CONNECT", "TRACE"})
"""Methods that the server never allows.

CONNECT is for proxies, and the answer to TRACE could show a client's headers to an attacker.
"""

_REQUEST_LINE = re.compile(rb"([A-Z_-]+) +([\x21-\x7e]+) +HTTP/([0-9][0-9.]*) *\r?\n")
_REQUEST_LINE_START = re.compile(rb"[A-Z_-]*(?: +[\x21-\x7e]*(?: [\x20-\x7e]*\r?)?)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r?\n")
_LATER_VERSION = re.compile(rb"[2-9]|1[0-9]")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^?#]*)")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")


class Head(NamedTuple):
    """The parsed request line and header fields of a request.

    Attributes:
        method: The method, which is one of ``METHODS``.
        path: The path without the query, with escapes decoded.
        headers: The values of the headers, by lower-case name.
        body_bytes: The length of the body; None if the body is chunked.
        keeps_alive: Whether the client wants to send another request on this connection.
        expects_continue: Whether the client waits for ``100 Continue`` before it sends the body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body_bytes: int | None
    keeps_alive: bool
    expects_continue: bool


def check_request_start(data: bytes) -> None:
    """Check the beginning of a request, so that invalid requests are refused early.

    Raises:
        MalformedRequest: The given bytes cannot be the beginning of a request line.
    """
    if not (_REQUEST_LINE.match(data) or _REQUEST_LINE_START.fullmatch(data)):
        raise _make_malformed_error("the first line is not a request line")


def parse_head(data: bytes, *, max_fields: int) -> Head:
    """Read the request line and headers, up to and including the empty line.

    Raises:
        RequestRefused: RFC 9112 forbids the request, or this server does not support it.
    """
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise _make_malformed_error("the first line is not a request line")
    method, path, version = line[1].decode(), _parse_path_of_target(line[2]), line[3]
    if _LATER_VERSION.match(version):
        raise UnsupportedHttpVersion("The server supports only HTTP/1.1")
    if not re.fullmatch(rb"1\.[0-9]{1,2}", version):
        raise _make_malformed_error("the request line has no HTTP version")
    headers = combine_header_fields(_parse_header_fields(data, line.end()), at_most=max_fields)
    is_http_1_0 = version == b"1.0"
    if "host" not in headers and not is_http_1_0:  # RFC 9112, section 3.2
        raise _make_malformed_error("the request has no Host header")
    body_bytes = _find_body_length(headers, is_http_1_0=is_http_1_0)
    if method in NEVER_ALLOWED:
        raise MethodNotAllowed("The server accepts only GET, HEAD and POST")
    if method not in METHODS:
        raise UnsupportedHttpFeature("The server does not know the method of the request")
    options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
    return Head(
        method,
        path,
        headers,
        body_bytes,
        # HTTP/1.0 keeps a connection only if both sides say so (RFC 9112, section 9.3); few of its
        # clients do, and it is simpler to close.
        keeps_alive=not is_http_1_0 and "close" not in options,
        # RFC 9110, section 10.1.1: an HTTP/1.0 client would not understand the answer.
        expects_continue=not is_http_1_0 and headers.get("expect", "").lower() == "100-continue",
    )


def _parse_header_fields(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of the header fields, up to the empty line."""
    while data[start : start + 2] != b"\r\n" and data[start : start + 1] != b"\n":
        field = _FIELD.match(data, start)
        if field is None:
            raise _make_malformed_error("a line in the headers is not of the form `name: value`")
        yield field[1], field[2].strip(b" \t")
        start = field.end()


def _parse_path_of_target(target: bytes) -> str:
    """Return the path of a request target, which is a path or a whole URL (section 3.2)."""
    path = target.partition(b"#")[0].partition(b"?")[0]
    if not path.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(path)
        if absolute is None or not is_valid_host(absolute[1].decode()):
            raise _make_malformed_error("the request target is neither a path nor a URL")
        path = absolute[2] or b"/"
    if b"%" in path:
        from urllib.parse import unquote

        if _BAD_ESCAPE.search(path):
            raise _make_malformed_error("the path has an invalid percent escape")
        decoded = unquote(path.decode())
    else:
        decoded = path.decode()
    if "/.." in decoded and _does_path_leave_root(decoded):
        raise _make_malformed_error('the path leads above the root "/"')
    return decoded


def _does_path_leave_root(path: str) -> bool:
    depth = 0
    for segment in path.split("/"):
        if segment == "..":
            depth -= 1
        elif segment not in {"", "."}:
            depth += 1
        if depth < 0:
            return True
    return False


def _find_body_length(headers: Mapping[str, str], *, is_http_1_0: bool) -> int | None:
    """Return the length of the body; None if the body is chunked (RFC 9112, section 6.3)."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if is_http_1_0:
            raise _make_malformed_error("HTTP/1.0 does not allow Transfer-Encoding")
        if coding.lower() != "chunked":
            raise UnsupportedHttpFeature("The server supports only the transfer coding `chunked`")
        if length is not None:
            raise _make_malformed_error("it has both Content-Length and Transfer-Encoding")
        return None
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise _make_malformed_error("Content-Length is not a number")
    return int(length)


def _make_malformed_error(why: str) -> MalformedRequest:
    return MalformedRequest(f"The request is not valid HTTP/1.1: {why}")

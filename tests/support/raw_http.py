"""Bytes to a server and bytes back, as no HTTP client would send them."""

from __future__ import annotations

import json
import re
import socket
from typing import NamedTuple

import httpx

FINAL = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])")


class RawAnswer(NamedTuple):
    """What came back until the server closed the connection, or was silent for too long."""

    data: bytes
    is_closed: bool

    @property
    def statuses(self) -> list[int]:
        """Final statuses, in their order; 100 Continue is none."""
        return [int(status) for status in FINAL.findall(self.data)]

    @property
    def body(self) -> bytes:
        """What stands behind the last head."""
        return self.data.rpartition(b"\r\n\r\n")[2]

    @property
    def error(self) -> dict[str, str]:
        """The error object of a refusal."""
        return json.loads(self.body)["error"]


def connect(url: str, *, timeout_s: float = 20.0) -> socket.socket:
    """A connection to a server."""
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=timeout_s)


def exchange(url: str, *pieces: bytes, timeout_s: float = 20.0) -> RawAnswer:
    """Send bytes over a connection of their own, and read until the server closes it."""
    with connect(url, timeout_s=timeout_s) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except ConnectionError:
            pass  # refused while it was sent: the answer is there already
        return receive(connection)


def receive(connection: socket.socket) -> RawAnswer:
    """Read until the server closes the connection or is silent for its timeout."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except TimeoutError:
        return RawAnswer(received, is_closed=False)
    except ConnectionError:
        pass
    return RawAnswer(received, is_closed=True)


def request(
    line: bytes = b"GET /ping HTTP/1.1", *fields: bytes, body: bytes = b"", host: bytes = b"Host: x"
) -> bytes:
    """A request whose connection closes after the answer."""
    lines = [line, *([host] if host else []), b"Connection: close", *fields, b"", body]
    return b"\r\n".join(lines)


def post(body: bytes, *fields: bytes, line: bytes = b"POST /invocations HTTP/1.1") -> bytes:
    """An invocation; the fields must say how long its body is."""
    return request(line, *fields, body=body)


def length(body: bytes) -> bytes:
    """The field that says how long a body is."""
    return b"Content-Length: %d" % len(body)


CHUNKED = b"Transfer-Encoding: chunked"


def chunked(
    body: bytes, *, size: bytes = b"", end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n"
) -> bytes:
    """A body as one chunk."""
    return (size or b"%x" % len(body)) + end + body + b"\r\n" + last

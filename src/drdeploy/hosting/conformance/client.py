"""Send each request over a connection of its own, and record the answer.

A request without an answer also results in a :class:`ProbeAnswer`, and not in an exception. If a
server closes the connection, the check reports this and then continues.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import TYPE_CHECKING, Self

from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.units import MIB

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    Server = int | Callable[[float], socket.socket]

OVERLOADED = frozenset({429, 503})
"""The HTTP statuses with which a server says that it is overloaded."""
MAX_BYTES = 64 * MIB
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "timed out"),
    (ConnectionRefusedError, "connection refused"),
    (RemoteDisconnected, "connection closed without an answer"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection closed during the request"),
)


@dataclass(frozen=True)
class ProbeAnswer:
    """The answer to a request, or the reason why there was no answer.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        headers: The answer's headers; their names are in lower case.
        body: The answer's whole body.
        connect_s: Seconds until the connection was accepted; infinite if it was not accepted.
        total_s: Seconds from the attempt to connect until the answer's body was read.
        sent_at: When the last byte of the request was sent, on the monotonic clock; infinite if it
            was not sent.
        ended_at: When the answer's body was read or the request failed, on the monotonic clock.
        failure: Why there was no answer; empty after an answer.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    connect_s: float = float("inf")
    total_s: float = 0.0
    sent_at: float = float("inf")
    ended_at: float = 0.0
    failure: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether the status is 4xx, which says that the request is at fault."""
        return 400 <= self.status < 500

    def __str__(self) -> str:
        what = f"answered {self.status}" if self.status else f"no answer ({self.failure})"
        return f"{what} in {self.total_s:.3f} s"


class ProbeExchange:
    """A request that is sent in parts, and its answer.

    Use the client in a ``with`` statement, which closes the connection.

    Args:
        server: A loopback port, or a function that takes a timeout in seconds and connects.
        timeout_s: The longest time for connecting, for sending and for reading.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        port = server if isinstance(server, int) else 0
        self._connection = HTTPConnection(LOOPBACK, port, timeout=timeout_s)
        self._connect = None if isinstance(server, int) else server
        self._timeout_s = timeout_s
        self._started = time.monotonic()
        self._connect_s = float("inf")
        self._sent_at = float("inf")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def connect_and_send_headers(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Connect, and send the request line and headers."""
        with self._record_first_failure():
            if self._connect is None:
                self._connection.connect()
            else:
                self._connection.sock = self._connect(self._timeout_s)
            self._connect_s = time.monotonic() - self._started
            self._connection.putrequest(method, path)
            for name, value in headers.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()

    def send_body_part(self, data: bytes) -> None:
        """Send a part of the body."""
        # A server may answer and close the connection before it has read the body. Sending then
        # fails, but the answer can still be read.
        with self._record_first_failure():
            if data and self._connection.sock is not None:
                self._connection.sock.sendall(data)
            self._sent_at = time.monotonic()

    def read_answer(self) -> ProbeAnswer:
        """Read the answer, which may arrive before the server has read the whole request body."""
        try:
            response = self._connection.getresponse()
            body = response.read(MAX_BYTES)
        except (OSError, HTTPException) as err:
            return self._make_probe_answer(0, {}, b"", _describe_failure(self._failure or err))
        headers = {name.lower(): value for name, value in response.getheaders()}
        return self._make_probe_answer(response.status, headers, body)

    @contextlib.contextmanager
    def _record_first_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException) as err:
            self._failure = self._failure or err

    def _make_probe_answer(
        self, status: int, headers: Mapping[str, str], body: bytes, failure: str = ""
    ) -> ProbeAnswer:
        now = time.monotonic()
        return ProbeAnswer(
            status,
            headers,
            body,
            connect_s=self._connect_s,
            total_s=now - self._started,
            sent_at=self._sent_at,
            ended_at=now,
            failure=failure,
        )


def _describe_failure(err: Exception) -> str:
    """Return in a few words why there was no answer."""
    for kind, words in _FAILURES:
        if isinstance(err, kind):
            return words
    return type(err).__name__


def send_request_and_read_answer(
    server: Server,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float,
) -> ProbeAnswer:
    """Send a request in one piece, and read the answer.

    The headers ``Host``, ``Accept-Encoding`` and ``Content-Length`` are added. Connecting, sending
    and reading may take ``timeout_s`` seconds each.
    """
    length = {"Content-Length": str(len(body))} if method == "POST" else {}
    with ProbeExchange(server, timeout_s) as exchange:
        exchange.connect_and_send_headers(method, path, {**length, **(headers or {})})
        exchange.send_body_part(body)
        return exchange.read_answer()

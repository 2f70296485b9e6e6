"""Sends one request over a connection of its own and records all about its answer.

Whatever happens becomes a :class:`ProbeAnswer`: here a server that hangs up is a finding, not an
error.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Self

from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OVERLOADED = frozenset({429, 503})
"""Statuses by which a server says that it is overloaded."""
MAX_BYTES = 64 * MIB


@dataclass(frozen=True)
class ProbeAnswer:
    """The answer to a request, or what came instead of one.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        headers: By lower-case name.
        body: The whole body.
        connect_s: Seconds until the connection was accepted; infinite if it was not.
        total_s: Seconds from before the connection until the body was read.
        sent_at: When all of the request was sent, on the monotonic clock; infinite if never.
        ended_at: When the body was read, or the attempt failed, on the same clock.
        failure: Why there was no answer.
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
        """Whether the status is 4xx: the server says that the request is at fault."""
        return 400 <= self.status < 500

    def __str__(self) -> str:
        what = f"answered {self.status}" if self.status else f"no answer ({self.failure})"
        return f"{what} in {self.total_s:.3f} s"


class Exchange:
    """A request that can be sent in parts; ``with`` closes its connection."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=timeout_s)
        self._started = time.monotonic()
        self._connect_s = float("inf")
        self._sent_at = float("inf")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def begin(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Connect and send the request's head."""
        with self._keeping_first_failure():
            self._connection.connect()
            self._connect_s = time.monotonic() - self._started
            self._connection.putrequest(method, path)
            for name, value in headers.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()

    def send(self, data: bytes) -> None:
        """Send a part of the body."""
        # A server may answer and close before it has read the body, which fails the send; the
        # answer can be read nevertheless.
        with self._keeping_first_failure():
            if data and self._connection.sock is not None:
                self._connection.sock.sendall(data)
            self._sent_at = time.monotonic()

    def answer(self) -> ProbeAnswer:
        """Read the answer, which may be there even if the server did not take the whole body."""
        try:
            response = self._connection.getresponse()
            body = response.read(MAX_BYTES)
        except (OSError, HTTPException) as err:
            return self._answered(0, {}, b"", type(self._failure or err).__name__)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return self._answered(response.status, headers, body)

    @contextlib.contextmanager
    def _keeping_first_failure(self) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException) as err:
            self._failure = self._failure or err

    def _answered(
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


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    timeout_s: float,
) -> ProbeAnswer:
    """Send a whole request to a port of this machine and read the answer.

    Args:
        port: On the loopback.
        method: ``GET`` or ``POST``.
        path: With a leading slash.
        body: Sent with its length.
        headers: Beside ``Host``, ``Accept-Encoding`` and ``Content-Length``.
        timeout_s: For each of connecting, sending and reading.
    """
    length = {"Content-Length": str(len(body))} if method == "POST" else {}
    with Exchange(port, timeout_s) as exchange:
        exchange.begin(method, path, {**length, **(headers or {})})
        exchange.send(body)
        return exchange.answer()

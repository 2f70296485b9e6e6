"""One request and its answer on a connection: the two ends of ASGI."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.units import KIB

if TYPE_CHECKING:
    from drdeploy.hosting.serving.lean.protocol import Connection

HIGH_WATER_BYTES = 256 * KIB
"""Body bytes that may wait for the application before the socket is no longer read."""


@dataclass(frozen=True, slots=True)
class RequestLine:
    """What the parser knows when the headers are complete."""

    method: str
    path: str
    query: bytes
    http_version: str
    headers: tuple[tuple[bytes, bytes], ...]
    keeps_alive: bool
    expects_continue: bool


class Cycle:
    """A request that arrives while it is answered."""

    def __init__(self, connection: Connection, line: RequestLine) -> None:
        self.keeps_alive = line.keeps_alive
        self.is_received = False
        self.is_answered = False
        self._connection = connection
        self._line = line
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._awaits_continue = line.expects_continue
        self._is_gone = False
        self._changed = asyncio.Event()
        self._status = 200
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def scope(self) -> dict[str, Any]:
        """The ASGI connection scope."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._line.http_version,
            "method": self._line.method,
            "scheme": "http",
            "path": self._line.path,
            "raw_path": self._line.path.encode("latin-1"),
            "query_string": self._line.query,
            "root_path": "",
            "headers": list(self._line.headers),
            "client": None,
            "server": None,
        }

    @property
    def is_full(self) -> bool:
        """Whether the connection should stop reading for a while."""
        return self._buffered_bytes > HIGH_WATER_BYTES and not self.is_answered

    def feed(self, chunk: bytes) -> None:
        """More of the body arrived."""
        self._awaits_continue = False
        if self.is_answered:
            return
        self._chunks.append(chunk)
        self._buffered_bytes += len(chunk)
        self._changed.set()

    def complete(self) -> None:
        """The body is complete."""
        self.is_received = True
        self._awaits_continue = False
        self._changed.set()

    def disconnect(self) -> None:
        """The client is gone."""
        self._is_gone = True
        self._changed.set()

    async def receive(self) -> dict[str, Any]:
        """ASGI: the next part of the body."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._connection.say_continue()
        while not (self._chunks or self.is_received or self._is_gone):
            self._changed.clear()
            await self._changed.wait()
        if self._is_gone:
            return {"type": "http.disconnect"}
        body = self._chunks.popleft() if self._chunks else b""
        self._buffered_bytes -= len(body)
        self._connection.go_on_reading()
        has_more = bool(self._chunks) or not self.is_received
        return {"type": "http.request", "body": body, "more_body": has_more}

    async def send(self, event: dict[str, Any]) -> None:
        """ASGI: the answer, which our application always sends in one piece."""
        if event["type"] == "http.response.start":
            self._status = event["status"]
            self._headers = list(event["headers"])
        elif not self._is_gone:
            self.answer(self._status, self._headers, event.get("body", b""))

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Write the answer and let the connection go on."""
        self.is_answered = True
        # What is not received by now is not wanted: the connection cannot be used again.
        self.keeps_alive = self.keeps_alive and self.is_received
        self._chunks.clear()
        self._buffered_bytes = 0
        self._connection.write_answer(self, status, headers, body)

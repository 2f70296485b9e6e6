"""A request whose body is still arriving, or which is still being answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from drdeploy.hosting.serving.exchange import ClientGone
from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drdeploy.hosting.serving.exchange import Request

HIGH_WATER_BYTES = 256 * KIB
"""How many bytes of a body may wait in memory before reading from the socket is paused."""


class BodySource(Protocol):
    """The methods of a connection that a request calls while its body is still arriving."""

    def send_continue(self) -> None:
        """Tell the client to send the body."""

    def resume_reading(self) -> None:
        """Resume reading from the socket, unless reading is paused for another reason."""


class InFlightRequest:
    """One request of a connection, from its headers to its answer.

    Attributes:
        request: The request that the gateway answers.
        keeps_alive: Whether the connection can be used for another request after the answer.
        is_received: Whether the whole body has arrived.
    """

    def __init__(
        self, source: BodySource, request: Request, *, keeps_alive: bool, expects_continue: bool
    ) -> None:
        self.request = request
        self.keeps_alive = keeps_alive
        self.is_received = False
        self._source = source
        self._expects_continue = expects_continue
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._is_answered = False
        self._is_gone = False
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether the connection should stop reading until some of the body is consumed."""
        return self._buffered_bytes > HIGH_WATER_BYTES and not self._is_answered

    def add_body_part(self, chunk: bytes) -> None:
        """Add a part of the body that has arrived."""
        self._expects_continue = False
        if self._is_answered:
            return
        self._chunks.append(chunk)
        self._buffered_bytes += len(chunk)
        self._changed.set()

    def mark_body_complete(self) -> None:
        """Mark the end of the body."""
        self.is_received = True
        self._expects_continue = False
        self._changed.set()

    def mark_client_gone(self) -> None:
        """Make the reader of the body fail, because the client has disconnected."""
        self._is_gone = True
        self._changed.set()

    def finish_and_discard_body(self) -> None:
        """Discard the rest of the body, because the request has been answered."""
        self._is_answered = True
        # A body that is still arriving stands before the next request: the connection must close.
        self.keeps_alive = self.keeps_alive and self.is_received
        self._chunks.clear()
        self._buffered_bytes = 0

    async def read_body_parts(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body as they arrive.

        Raises:
            ClientGone: The client closed the connection before the end of the body.
        """
        if self._expects_continue:
            # RFC 9110, section 10.1.1: such a client sends its body only when it is told to.
            self._expects_continue = False
            self._source.send_continue()
        while not self._is_gone:
            if self._chunks:
                arrived = b"".join(self._chunks)
                self._chunks.clear()
                self._buffered_bytes = 0
                self._source.resume_reading()
                yield arrived
            elif self.is_received:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
        raise ClientGone

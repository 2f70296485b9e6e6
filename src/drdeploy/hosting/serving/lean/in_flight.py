"""A request while it is in flight: its body arrives, and it may be answered before the end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from drdeploy.hosting.serving.exchange import ClientGone
from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drdeploy.hosting.serving.exchange import Request

HIGH_WATER_BYTES = 256 * KIB
"""Body bytes that may wait to be read before the socket is no longer read."""


class BodySource(Protocol):
    """What a request asks of the connection that its body arrives on."""

    def send_continue(self) -> None:
        """Tell the client to send the body."""

    def resume_reading(self) -> None:
        """Read the socket again, unless reading is paused for another reason."""


class InFlightRequest:
    """One request of a connection, from the end of its head until it is answered.

    Attributes:
        request: What the gateway answers.
        keeps_alive: Whether the connection can be used for another request afterwards.
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
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._is_answered = False
        self._is_gone = False
        self._changed = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """Whether the connection should stop reading until some of the body is taken."""
        return self._buffered_bytes > HIGH_WATER_BYTES and not self._is_answered

    def feed(self, chunk: bytes) -> None:
        """Take in a chunk of the body that arrived."""
        self._expects_continue = False
        if self._is_answered:
            return
        self._chunks.append(chunk)
        self._buffered_bytes += len(chunk)
        self._changed.set()

    def feed_end(self) -> None:
        """Take in the end of the body."""
        self.is_received = True
        self._expects_continue = False
        self._changed.set()

    def disconnect(self) -> None:
        """Let the reader of the body find out that the client is gone."""
        self._is_gone = True
        self._changed.set()

    def end(self) -> None:
        """Drop what nobody will read, now that the request is answered."""
        self._is_answered = True
        # A body that is still arriving stands before the next request: the connection must close.
        self.keeps_alive = self.keeps_alive and self.is_received
        self._chunks.clear()
        self._buffered_bytes = 0

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body's chunks as they arrive.

        Raises:
            ClientGone: The client closed the connection before the end of the body.
        """
        if self._expects_continue:
            # RFC 9110, section 10.1.1: such a client sends its body only when it is told to.
            self._expects_continue = False
            self._source.send_continue()
        while not self._is_gone:
            if self._chunks:
                chunk = self._chunks.popleft()
                self._buffered_bytes -= len(chunk)
                self._source.resume_reading()
                yield chunk
            elif self.is_received:
                return
            else:
                self._changed.clear()
                await self._changed.wait()
        raise ClientGone

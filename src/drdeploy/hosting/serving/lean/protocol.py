"""HTTP/1.1 for one connection: bytes become ASGI events, ASGI events become bytes.

httptools (Node's llhttp) parses.  What is here is what a server owes its process and no parser
gives: bounds on headers and buffers, a deadline for the request, one request at a time, a close
that lets the client read a refusal, and a drain.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from drdeploy.errors import HeadersTooLarge, MalformedRequest, RequestRefused, RequestTimeout
from drdeploy.hosting.serving.exchange import internal_failure, refusal
from drdeploy.hosting.serving.lean.cycle import Cycle, RequestLine

if TYPE_CHECKING:
    from drdeploy.hosting.serving.lean.server import LeanServer

LINGER_S = 2.0
"""How long a client may go on sending what was refused, so that it reads the refusal."""

MAX_WAITING = 16
"""Requests sent ahead on one connection; hardly any client sends one."""

_REASONS = {int(status): status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: LeanServer) -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser = HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._arriving: Cycle | None = None
        self._current: Cycle | None = None
        self._waiting: deque[Cycle] = deque()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._is_in_headers = False
        self._is_paused = False
        self._is_unread = False
        self._barren_bytes = 0
        self._linger_bytes: int | None = None
        self._refusal: RequestRefused | None = None

    # -- asyncio.Protocol --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        self._set_timer(self._server.settings.keep_alive_s, self._close_idle)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._linger_bytes is not None:
            self._discard(data)
            return
        if self._arriving is None and not self._is_in_headers:
            self._begin_headers()
        if self._is_in_headers:
            self._header_bytes += len(data)
        # Counted by reads: what follows a head or a body within one read (256 KB at most, and
        # never kept) is not.
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._ignore_upgrade()
        except HttpParserError:
            self._refusal = self._refusal or MalformedRequest("The request is no valid HTTP/1.1")
        limit = self._server.settings.max_header_bytes
        is_in_trailers = self._arriving is not None and self._barren_bytes > limit
        if is_in_trailers or (self._is_in_headers and self._header_bytes > limit):
            self._refusal = _too_long()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._arriving is not None and self._arriving.is_full:
            self._pause_reading()

    def pause_writing(self) -> None:
        """The client does not read its answers: it gets no more of them."""
        self._is_unread = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """It has read them."""
        self._is_unread = False
        self.go_on_reading()

    def eof_received(self) -> bool:
        """The client sends no more; it may still wait for its answer."""
        return self._current is not None and self._current.is_received

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        del exc
        self._cancel_timer()
        for cycle in (self._current, self._arriving, *self._waiting):
            if cycle is not None:
                cycle.disconnect()
        self._current = None
        self._waiting.clear()
        self._server.forget(self)

    # -- httptools ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request starts."""
        if not self._is_in_headers:
            self._begin_headers()
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """All that the application needs to begin."""
        self._is_in_headers = False
        self._barren_bytes = 0
        self._cancel_timer()
        length = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if length > self._server.settings.max_header_bytes:
            self._refusal = _too_long()
            raise self._refusal
        cycle = Cycle(self, self._request_line())
        self._arriving = cycle
        if self._current is None:
            self._start(cycle)
        elif len(self._waiting) >= MAX_WAITING:
            self._refusal = MalformedRequest("Too many requests were sent ahead")
            raise self._refusal
        else:
            self._waiting.append(cycle)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._barren_bytes = 0
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if self._arriving is not None:
            self._arriving.complete()
        self._arriving = None

    # -- for the cycle -----------------------------------------------------------------

    def say_continue(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def go_on_reading(self) -> None:
        """Read again, if reading was paused and there is room."""
        is_full = self._arriving is not None and self._arriving.is_full
        if self._is_paused and not is_full and not self._is_unread:
            self._is_paused = False
            self._transport.resume_reading()

    def write_answer(
        self, cycle: Cycle, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Write a whole answer in one piece, then close or turn to the next request."""
        keeps_alive = cycle.keeps_alive and not self._server.is_draining
        self._transport.write(_answer_bytes(status, headers, body, keeps_alive=keeps_alive))
        self._current = None
        if not keeps_alive:
            self._close_after(cycle)
        elif self._waiting:
            self._start(self._waiting.popleft())
        else:
            self.go_on_reading()
            self._set_timer(self._server.settings.keep_alive_s, self._close_idle)

    # -- for the server ----------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._current is not None

    def drain(self) -> None:
        """Close now if idle, else after the answer."""
        if not self.is_busy and self._linger_bytes is None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # -- inside ------------------------------------------------------------------------

    def _start(self, cycle: Cycle) -> None:
        self._current = cycle
        self._server.start(self._run(cycle))

    async def _run(self, cycle: Cycle) -> None:
        try:
            await self._server.application(cycle.scope, cycle.receive, cycle.send)
        except Exception as err:  # noqa: BLE001 - one request must not end the worker
            self._server.log.failure("application failed", err)
        if not cycle.is_answered and self._current is cycle:
            response = internal_failure()
            cycle.answer(response.status, [(b"content-type", b"application/json")], response.body)

    def _request_line(self) -> RequestLine:
        target, _, query = self._url.partition(b"?")
        if not target.startswith(b"/"):
            target = _path_of(target)
        version = self._parser.get_http_version()
        return RequestLine(
            method=self._parser.get_method().decode("latin-1"),
            path=target.decode("latin-1"),
            query=query,
            http_version=version,
            headers=tuple(self._headers),
            keeps_alive=version == "1.1" and self._parser.should_keep_alive(),
            expects_continue=any(
                name == b"expect" and value.lower() == b"100-continue"
                for name, value in self._headers
            ),
        )

    def _ignore_upgrade(self) -> None:
        """Answer as if it were not asked for (RFC 9110, 7.8); the parser is of no use any more."""
        for cycle in (self._current, *self._waiting):
            if cycle is not None:
                cycle.keeps_alive = False
        self._pause_reading()

    def _begin_headers(self) -> None:
        self._is_in_headers = True
        self._header_bytes = 0
        self._set_timer(self._server.settings.read_timeout_s, self._refuse_slow)

    def _refuse_slow(self) -> None:
        self._refuse(RequestTimeout("The request took too long to arrive"))

    def _refuse(self, error: RequestRefused) -> None:
        """Answer what could not be parsed, unless an earlier request is still to be answered."""
        self._refusal = None
        broken, self._arriving = self._arriving, None
        if self._current is not None and self._current is not broken:
            self._current.keeps_alive = False
            self._waiting.clear()
            self._pause_reading()
            return
        if broken is not None:
            broken.disconnect()
        self._current = None
        response = refusal(error)
        head = [(b"content-type", response.content_type.encode("latin-1"))]
        self._transport.write(
            _answer_bytes(response.status, head, response.body, keeps_alive=False)
        )
        self._linger()

    def _close_after(self, cycle: Cycle) -> None:
        if cycle.is_received:
            self._transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Closing with unread bytes would reset the connection and lose the answer."""
        self._linger_bytes = self._server.settings.max_payload_bytes
        self._waiting.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._is_paused = False
        self._transport.resume_reading()
        self._set_timer(LINGER_S, self._transport.abort)

    def _discard(self, data: bytes) -> None:
        self._linger_bytes = (self._linger_bytes or 0) - len(data)
        if self._linger_bytes <= 0:
            self._transport.abort()

    def _pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _close_idle(self) -> None:
        """Also ends a client that does not read its answer."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _set_timer(self, delay_s: float, action: object) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, action)  # type: ignore[arg-type]

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer_bytes(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, keeps_alive: bool
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}".encode("latin-1"),
        time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode("latin-1"),
        *(name + b": " + value for name, value in headers if name != b"content-length"),
        b"content-length: " + str(len(body)).encode("latin-1"),
    ]
    if not keeps_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", body])


def _path_of(target: bytes) -> bytes:
    """The path of a request target in absolute form."""
    try:
        path: bytes | None = parse_url(target).path
    except HttpParserError:
        path = None
    return path or b"*"


def _too_long() -> HeadersTooLarge:
    return HeadersTooLarge("The request line and headers are too long")

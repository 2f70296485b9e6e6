"""HTTP/1.1 on one connection: bytes become requests, responses become bytes.

httptools (Node's llhttp) parses and knows the grammar of RFC 9112.  What is here is what a server
owes its own process, and no parser gives: bounds on heads and buffers, a deadline for a request,
one request at a time, a close that lets the client read a refusal, and a drain.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

from drdeploy.errors import HeadersTooLarge, MalformedRequest, RequestRefused, RequestTimeout
from drdeploy.hosting.serving.exchange import (
    ClientGone,
    Request,
    Response,
    internal_failure,
    refusal,
)
from drdeploy.hosting.serving.lean.in_flight import InFlightRequest

if TYPE_CHECKING:
    from drdeploy.hosting.serving.lean.server import LeanServer

LINGER_S = 2.0
"""How long a client may go on sending a body that was refused, so that it reads the refusal."""

MAX_PIPELINED = 16
"""Requests that may wait behind the one being answered; hardly any client sends one ahead."""

_REASONS = {int(status): status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One client's connection.

    Its state is in five attributes: ``_arriving`` is the request whose body is being parsed,
    ``_current`` the one being answered (often the same), ``_pipelined`` those that wait for it,
    ``_refusal`` an error that a callback of the parser found, and ``_linger_bytes`` is a number
    once the connection only waits for the client to close.
    """

    def __init__(self, server: LeanServer) -> None:
        self._server = server
        self._loop = server.loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser = HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._arriving: InFlightRequest | None = None
        self._current: InFlightRequest | None = None
        self._pipelined: deque[InFlightRequest] = deque()
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._is_in_head = False
        self._read_in_head_bytes = 0
        self._read_without_body_bytes = 0
        self._is_paused = False
        self._is_client_not_reading = False
        self._linger_bytes: int | None = None
        self._refusal: RequestRefused | None = None

    # -- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: a client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        self._set_timer(self._server.settings.keep_alive_s, self._close_idle)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and refuse what cannot be parsed or is too long."""
        if self._linger_bytes is not None:
            self._linger_bytes -= len(data)
            if self._linger_bytes <= 0:
                self._transport.abort()
            return
        if self._arriving is None and not self._is_in_head:
            self._begin_head()
        # The parser reports a header when it is complete, so it would take in one without end.
        # What is read between two of its reports is therefore counted here, by whole reads: what
        # shares a read (256 KB at most, and never kept) with the end of a head is not counted.
        if self._is_in_head:
            self._read_in_head_bytes += len(data)
        self._read_without_body_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._ignore_upgrade()
        except HttpParserError:
            # Also raised when a callback raised: then the callback has said what is wrong.
            self._refusal = self._refusal or MalformedRequest("The request is not valid HTTP/1.1")
        limit = self._server.settings.max_header_bytes
        # Between the chunks of a body there are extensions, and trailers behind it (RFC 9112,
        # sections 7.1.1 and 7.1.2), which llhttp does not bound either.
        has_endless_trailers = self._arriving is not None and self._read_without_body_bytes > limit
        if has_endless_trailers or (self._is_in_head and self._read_in_head_bytes > limit):
            self._refusal = _too_long()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._arriving is not None and self._arriving.is_full:
            self._pause_reading()

    def pause_writing(self) -> None:
        """Read no more requests of a client that does not read its responses.

        Otherwise they would pile up in the transport's buffer without bound.
        """
        self._is_client_not_reading = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Read requests again: the client has read its responses."""
        self._is_client_not_reading = False
        self.resume_reading()

    def eof_received(self) -> bool:
        """Keep the connection open for a response that is due, though the client sends no more."""
        return self._current is not None and self._current.is_received

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the connection is closed, by either side."""
        del exc
        self._cancel_timer()
        for in_flight in (self._current, self._arriving, *self._pipelined):
            if in_flight is not None:
                in_flight.disconnect()
        self._current = None
        self._pipelined.clear()
        self._server.forget(self)

    # -- called by httptools ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._is_in_head:
            self._begin_head()
        self._target = b""
        self._headers = {}
        self._head_bytes = 0

    def on_url(self, target: bytes) -> None:
        """Take in a part of the request target."""
        self._target += target
        self._head_bytes += len(target)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a whole header field, or a trailer field, which is ignored."""
        self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")
        self._head_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        """Start to answer the request, or let it wait behind the one being answered."""
        self._is_in_head = False
        self._read_without_body_bytes = 0
        self._cancel_timer()
        if self._head_bytes > self._server.settings.max_header_bytes:
            self._refusal = _too_long()
            raise self._refusal
        in_flight = self._in_flight()
        self._arriving = in_flight
        if self._current is None:
            self._start(in_flight)
        elif len(self._pipelined) >= MAX_PIPELINED:
            self._refusal = MalformedRequest("Too many requests were sent ahead")
            raise self._refusal
        else:
            # RFC 9112, section 9.3.2: pipelined requests are answered in their order.
            self._pipelined.append(in_flight)

    def on_body(self, body: bytes) -> None:
        """Take in a part of the body."""
        self._read_without_body_bytes = 0
        if self._arriving is not None:
            self._arriving.feed(body)

    def on_message_complete(self) -> None:
        """Take in the end of the body."""
        if self._arriving is not None:
            self._arriving.feed_end()
        self._arriving = None

    # -- called by the request in flight ----------------------------------------------------

    def send_continue(self) -> None:
        """Send ``100 Continue``, for which a client may wait with its body."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def resume_reading(self) -> None:
        """Read the socket again, if that was paused and there is room."""
        is_full = self._arriving is not None and self._arriving.is_full
        if self._is_paused and not is_full and not self._is_client_not_reading:
            self._is_paused = False
            self._transport.resume_reading()

    # -- called by the server ---------------------------------------------------------------

    def drain(self) -> None:
        """Close now if nothing is being answered, else after the response."""
        if self._current is None and self._linger_bytes is None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # -- answering --------------------------------------------------------------------------

    def _in_flight(self) -> InFlightRequest:
        path = self._target.partition(b"?")[0]
        if not path.startswith(b"/"):
            path = _path_of(path)
        headers = self._headers
        self._headers = {}  # for trailers: they must not become headers of this request
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path.decode("latin-1"),
            headers=headers,
            received_at=self._server.gateway.clock(),
        )
        # HTTP/1.0 keeps a connection only if both sides say so (RFC 9112, section 9.3); few of its
        # clients do, and it is simpler to close.
        is_http_1_1 = self._parser.get_http_version() == "1.1"
        return InFlightRequest(
            self,
            request,
            keeps_alive=is_http_1_1 and self._parser.should_keep_alive(),
            expects_continue=headers.get("expect", "").lower() == "100-continue",
        )

    def _start(self, in_flight: InFlightRequest) -> None:
        self._current = in_flight
        self._server.start(self._answer(in_flight))

    async def _answer(self, in_flight: InFlightRequest) -> None:
        try:
            response = await self._server.gateway.answer(in_flight.request, in_flight.body())
        except ClientGone:
            return
        except Exception as err:  # noqa: BLE001 - one request must not end the worker
            self._server.log.failure("gateway failed", err)
            response = internal_failure()
        if self._current is in_flight:  # else the client is gone, or was refused meanwhile
            self._write(in_flight, response)

    def _write(self, in_flight: InFlightRequest, response: Response) -> None:
        """Write a response in one piece, then close or turn to the next request."""
        in_flight.end()
        keeps_alive = in_flight.keeps_alive and not self._server.is_draining
        self._transport.write(_encoded(response, keeps_alive=keeps_alive))
        self._current = None
        if keeps_alive and self._pipelined:
            self._start(self._pipelined.popleft())
        elif keeps_alive:
            self.resume_reading()
            self._set_timer(self._server.settings.keep_alive_s, self._close_idle)
        elif in_flight.is_received:
            self._transport.close()
        else:
            self._linger()

    def _ignore_upgrade(self) -> None:
        """Answer as if no upgrade had been asked for, which a server may (RFC 9110, section 7.8).

        The parser stops at an upgrade, so that the connection closes after the response.
        """
        for in_flight in (self._current, *self._pipelined):
            if in_flight is not None:
                in_flight.keeps_alive = False
        self._pause_reading()

    # -- refusing and closing ---------------------------------------------------------------

    def _begin_head(self) -> None:
        self._is_in_head = True
        self._read_in_head_bytes = 0
        self._set_timer(self._server.settings.read_timeout_s, self._refuse_slow)

    def _refuse_slow(self) -> None:
        self._refuse(RequestTimeout("The request took too long to arrive"))

    def _refuse(self, error: RequestRefused) -> None:
        """Answer what cannot be parsed, unless an earlier request is still to be answered."""
        self._refusal = None
        broken, self._arriving = self._arriving, None
        if self._current is not None and self._current is not broken:
            self._current.keeps_alive = False
            self._pipelined.clear()
            self._pause_reading()
            return
        if broken is not None:
            broken.disconnect()
        self._current = None
        self._transport.write(_encoded(refusal(error), keeps_alive=False))
        self._linger()

    def _linger(self) -> None:
        """Close in stages (RFC 9112, section 9.6): close for writing, discard, close.

        Closing at once, with bytes of the client unread, makes the kernel reset the connection,
        and then the client may never see the response that it was sent.
        """
        self._linger_bytes = self._server.settings.max_payload_bytes
        self._pipelined.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._is_paused = False
        self._transport.resume_reading()
        self._set_timer(LINGER_S, self._transport.abort)

    def _pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _close_idle(self) -> None:
        """Close a connection without a request, also one whose client reads no response."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # close() would wait for the client to read
        else:
            self._transport.close()

    def _set_timer(self, delay_s: float, action: object) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, action)  # type: ignore[arg-type]

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _encoded(response: Response, *, keeps_alive: bool) -> bytes:
    """Return a response's bytes as they go over the wire."""
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}",
        time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        f"content-type: {response.content_type}",
        f"content-length: {len(response.body)}",
        *(f"{name.lower()}: {value}" for name, value in response.headers),
    ]
    if not keeps_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def _path_of(target: bytes) -> bytes:
    """Return the path of a target in absolute form, which RFC 9112 (3.2.2) has servers accept."""
    try:
        path: bytes | None = parse_url(target).path
    except HttpParserError:
        path = None
    return path or b"*"


def _too_long() -> HeadersTooLarge:
    return HeadersTooLarge("The request line and headers are too long")

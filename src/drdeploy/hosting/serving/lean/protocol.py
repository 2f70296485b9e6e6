"""HTTP/1.1 on one connection: turn received bytes into requests, and responses into bytes.

``head`` and ``body`` parse the grammar of RFC 9112. This module handles one request at a time, and
sets deadlines for clients that send or read slowly. If the module refuses a request, it closes the
connection in such a way that the client can still read the refusal.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from drdeploy.errors import (
    DrdeployError,
    HeadersTooLarge,
    Overloaded,
    RequestRefused,
    RequestTimeout,
)
from drdeploy.hosting.serving.exchange import (
    ClientGone,
    Request,
    Response,
    make_internal_failure_response,
)
from drdeploy.hosting.serving.lean.body import ChunkedBody, SizedBody
from drdeploy.hosting.serving.lean.head import HEAD_END, check_request_start, parse_head
from drdeploy.hosting.serving.lean.in_flight import InFlightRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.serving.lean.body import BodyReader
    from drdeploy.hosting.serving.lean.server import LeanServer

_REASONS = {int(status): status.phrase for status in HTTPStatus}


class HttpConnection(asyncio.Protocol):
    """One client's connection.

    The state of the connection is in four attributes. ``_unread`` holds bytes that were received
    but not yet used: the beginning of a request's headers, or a request that the client sent before
    it got the answer to an earlier one. ``_current`` is the request being answered. ``_body`` reads
    the rest of the current request's body. ``_linger_bytes`` is None until the last answer is sent.
    From then on, the server only waits until the client closes the connection, and
    ``_linger_bytes`` is the number of bytes that the client may still send.
    """

    def __init__(self, server: LeanServer) -> None:
        self._server = server
        self._budgets = server.budgets
        self._loop = server.loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._timer: asyncio.TimerHandle | None = None
        self._unread = b""
        self._current: InFlightRequest | None = None
        self._body: BodyReader | None = None
        self._is_paused = False
        self._is_unsent = False
        self._linger_bytes: int | None = None
        self._is_head_request = False

    # -- called by asyncio ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the connection of a client."""
        self._transport = cast("asyncio.Transport", transport)
        # Nothing of an answer may wait unnoticed: `pause_writing` is called for the first byte.
        self._transport.set_write_buffer_limits(high=0)
        if self._server.add_connection(self):
            self._set_deadline_timer(self._budgets.head_s, self._close_silent_connection)
        else:
            self._send_refusal_and_close(
                Overloaded("All connections are taken", remedy="Try again in a moment")
            )

    def data_received(self, data: bytes) -> None:
        """Take received bytes as headers or a part of a body; refuse invalid or too long input."""
        if self._linger_bytes is not None:
            self._linger_bytes -= len(data)
            if self._linger_bytes <= 0:
                self._transport.abort()
            return
        try:
            self._read_request_bytes(data)
        except RequestRefused as err:
            self._send_refusal_and_close(err)

    def pause_writing(self) -> None:
        """Set a deadline for a client that does not read its answer, and pause reading requests.

        Without the deadline, answers would pile up in the transport's buffer without limit.
        """
        self._is_unsent = True
        self._pause_reading()
        if self._linger_bytes is None:
            self._set_deadline_timer(self._budgets.answer_s, self.close_at_once)

    def resume_writing(self) -> None:
        """Resume reading requests after the client has read its answer."""
        self._is_unsent = False
        if self._linger_bytes is None and not self._transport.is_closing():
            self._cancel_timer()
            if self._current is None:
                self._read_next_request()
            else:
                self.resume_reading()

    def eof_received(self) -> bool:
        """Handle the end of the client's data; keep the connection if a response is still due."""
        return self._current is not None and self._current.is_received

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up: the client or the server has closed the connection."""
        del exc
        self._cancel_timer()
        if self._current is not None:
            self._current.mark_client_gone()
        self._current = self._body = None
        self._server.remove_connection(self)

    # -- reading ----------------------------------------------------------------------------

    def _read_request_bytes(self, data: bytes) -> None:
        if self._current is None:
            if not self._unread:
                data = data.lstrip(b"\r\n")  # RFC 9112, section 2.2: empty lines before a request
                if not data:
                    return
                self._server.idle.pop(self, None)
                self._set_deadline_timer(self._budgets.head_s, self._refuse_slow_request)
            data = self._begin_request_if_head_complete(self._unread + data)
        if self._body is not None and self._current is not None:
            if data:
                data = self._body.take_body_and_return_rest(data, self._current.add_body_part)
            if self._body.is_complete:
                self._body = None
                self._current.mark_body_complete()
            elif self._current.is_full:
                self._pause_reading()
        if self._current is not None and data:
            self._keep_early_bytes(data)

    def _begin_request_if_head_complete(self, data: bytes) -> bytes:
        """Begin a request if its headers are complete, and return the bytes after the headers."""
        self._unread = b""
        # Known even if the rest of the request is refused: no answer to HEAD has a body (RFC 9110,
        # section 9.3.2), and a proxy would take one for the start of the next answer.
        self._is_head_request = data.startswith(b"HEAD ")
        found = HEAD_END.search(data)
        if (found.end() if found else len(data)) > self._budgets.head_bytes:
            raise HeadersTooLarge("The request line and headers are too long")
        if found is None:
            check_request_start(data)
            self._unread = data
            return b""
        head = parse_head(data[: found.end()], max_fields=self._budgets.header_fields)
        self._cancel_timer()
        request = Request(
            method=head.method,
            path=head.path,
            headers=head.headers,
            received_at=self._server.gateway.clock(),
        )
        self._current = InFlightRequest(
            self, request, keeps_alive=head.keeps_alive, expects_continue=head.expects_continue
        )
        self._body = (
            ChunkedBody(self._budgets) if head.body_bytes is None else SizedBody(head.body_bytes)
        )
        self._server.start_request_task(self._answer_request(self._current))
        return data[found.end() :]

    def _keep_early_bytes(self, data: bytes) -> None:
        """Keep bytes that arrive before the current answer is sent, and stop reading."""
        self._pause_reading()
        self._unread += data
        is_too_much = (
            len(self._unread) > self._budgets.ahead_bytes
            or len(HEAD_END.findall(self._unread)) > self._budgets.ahead_requests
        )
        if is_too_much and self._current is not None:
            self._unread = b""
            self._current.keeps_alive = False

    # -- called by the request in flight ----------------------------------------------------

    def send_continue(self) -> None:
        """Send ``100 Continue``, because a client may wait for it before sending the body."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def resume_reading(self) -> None:
        """Resume reading from the socket, if reading was paused and the buffer has room."""
        is_full = self._current is not None and (self._body is None or self._current.is_full)
        if self._is_paused and not is_full and not self._is_unsent:
            self._is_paused = False
            self._transport.resume_reading()

    # -- called by the server ---------------------------------------------------------------

    def close_when_answered(self) -> None:
        """Close the connection now if no request is being answered, else after the response."""
        if self._current is None and self._linger_bytes is None:
            self._close_connection()

    def close_idle_connection(self) -> None:
        """Close an idle connection."""
        self._close_connection()

    def close_at_once(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # -- answering --------------------------------------------------------------------------

    async def _answer_request(self, in_flight: InFlightRequest) -> None:
        try:
            response = await self._server.gateway.answer_request(
                in_flight.request, in_flight.read_body_parts()
            )
        except ClientGone:
            return
        except Exception as err:  # noqa: BLE001 - one request must not end the worker
            self._server.log.write_failure("gateway failed", err)
            response = make_internal_failure_response()
        if self._current is in_flight:  # else the client is gone, or was refused meanwhile
            self._write_response(in_flight, response)

    def _write_response(self, in_flight: InFlightRequest, response: Response) -> None:
        """Write a response in one piece, then close the connection or start the next request."""
        in_flight.finish_and_discard_body()
        keeps_alive = in_flight.keeps_alive and not self._server.is_draining
        self._current = self._body = None
        self._transport.write(
            _encode_response(response, keeps_alive=keeps_alive, has_body=not self._is_head_request)
        )
        if keeps_alive:
            if not self._is_unsent:
                self._read_next_request()
        elif in_flight.is_received:
            self._close_connection()
        else:
            self._close_in_stages()

    def _read_next_request(self) -> None:
        """Read the next request, which may already have arrived."""
        self._server.idle[self] = None
        self._set_deadline_timer(self._budgets.idle_s, self._close_silent_connection)
        ahead, self._unread = self._unread, b""
        if ahead:
            self.data_received(ahead)
        self.resume_reading()

    # -- refusing and closing ---------------------------------------------------------------

    def _refuse_slow_request(self) -> None:
        self._send_refusal_and_close(RequestTimeout("The request took too long to arrive"))

    def _send_refusal_and_close(self, error: DrdeployError) -> None:
        """Send a refusal, and close the connection after the client has read the refusal."""
        response = self._server.gateway.count_and_refuse_request(error)
        if self._current is not None:
            self._current.mark_client_gone()
            self._current = self._body = None
        self._transport.write(
            _encode_response(response, keeps_alive=False, has_body=not self._is_head_request)
        )
        self._close_in_stages()

    def _close_in_stages(self) -> None:
        """Close the sending half of the connection first, and the rest later (RFC 9112, 9.6).

        If the whole connection were closed while bytes of the client are still unread, the kernel
        would reset the connection. After a reset, the client might never see the response.
        """
        self._unread = b""
        self._server.idle.pop(self, None)
        self._linger_bytes = self._budgets.body_bytes
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._is_paused = False
        self._transport.resume_reading()
        self._set_deadline_timer(self._budgets.linger_s, self.close_at_once)

    def _close_connection(self) -> None:
        """Close the connection after the client has read the answer, or at a deadline."""
        self._transport.close()
        if self._is_unsent:
            self._set_deadline_timer(self._budgets.answer_s, self.close_at_once)

    def _close_silent_connection(self) -> None:
        self._close_connection()

    def _pause_reading(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _set_deadline_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _encode_response(response: Response, *, keeps_alive: bool, has_body: bool) -> bytes:
    """Encode a response as the bytes to send; a response to HEAD has only headers."""
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}",
        time.strftime("date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        f"content-type: {response.content_type}",
        f"content-length: {len(response.body)}",
        *(f"{name.lower()}: {value}" for name, value in response.headers),
    ]
    if not keeps_alive:
        lines.append("connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + response.body if has_body else head

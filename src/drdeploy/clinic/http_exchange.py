"""Exchange patients' data with a server over HTTP, within limits of time and size."""

from __future__ import annotations

import ipaddress
import socket
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from drdeploy.errors import ClinicError, InvalidInput
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse

TIMEOUT_S = 30.0
"""Seconds for which a connection may be silent."""
EXCHANGE_S = 600.0
"""Seconds that an exchange may take in total. The time is enough for 256 MiB at 450 kB/s."""
TRY_AGAIN = "Check the address, and run the same command again later; nothing is created twice"
MAX_ANSWER_BYTES = 4 * MIB


def check_server_url(url: str, *, option: str) -> None:
    """Check that patients' data may be exchanged with the server at an address.

    Args:
        url: The server's base address.
        option: The option or argument that names the server.

    Raises:
        InvalidInput: The URL is not https, and the server is not on this machine. The error is also
            raised if the URL has a user name, a query or a fragment, or if no request can be sent
            to it.
    """
    try:
        parts = urlsplit(url)
        is_safe = bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(url))
        )
        is_plain = parts.username is None and not parts.query and not parts.fragment
    except ValueError:
        is_safe = is_plain = False
    if not is_safe:
        raise InvalidInput(
            "The data identify patients, so they are exchanged only over https, or with a server "
            "on this machine",
            where=option,
            remedy="Give the server's base address, for example https://records.example.org/api",
        )
    if not is_plain:
        raise InvalidInput(
            "The address must have no user name, no query and no fragment",
            where=option,
            remedy="Give only the server's base address",
        )
    if not _can_be_requested(url):
        raise InvalidInput(
            "The address has a port, a host name or characters that no address may have",
            where=option,
            remedy="Correct the address; in its path, write a space as %20, and any letter outside "
            "ASCII as its bytes in UTF-8, for example ä as %C3%A4",
        )


def _can_be_requested(url: str) -> bool:
    """Return whether the library can send a request to an address."""
    parts = urlsplit(url)
    try:
        port, _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:  # also of an encoding
        return False
    return port != 0 and parts.path.isascii() and url.isprintable() and " " not in url


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _KeepEveryStatus(urllib.request.HTTPErrorProcessor):
    """Returns every answer, whatever its status: raises no error, and follows no redirect."""

    def http_response(
        self,
        request: urllib.request.Request,  # noqa: ARG002 - urllib gives it
        response: HTTPResponse,
    ) -> HTTPResponse:
        return response

    https_response = http_response


class ExchangeTimeLimit:
    """Closes the connection if a request and its answer take too long together.

    The timeout of the socket is not enough: it applies only if the server is silent for
    :data:`TIMEOUT_S`. A server that sends a byte now and then could keep the caller waiting
    forever.
    """

    def __init__(self, limit_s: float) -> None:
        self.has_passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(limit_s, self._end_connection)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._socket is not None:
            self._socket.close()

    def watch(self, connection: socket.socket) -> None:
        """Apply the limit to a connection that has just been opened, before any TLS handshake."""
        # TLS takes the descriptor away from the socket that is given here, so it is duplicated.
        self._socket = connection.dup()
        if self.has_passed:
            self._end_connection()

    def _end_connection(self) -> None:
        self.has_passed = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def make_handlers(self) -> list[urllib.request.BaseHandler]:
        """Return handlers for urllib; this limit watches each connection that they open."""
        limit = self

        class WatchedConnection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                limit.watch(self.sock)

        class WatchedTlsConnection(HTTPSConnection, WatchedConnection):
            """Makes the handshake after ``WatchedConnection.connect``, so the limit applies."""

        class PlainHandler(urllib.request.HTTPHandler):
            def http_open(self, req: urllib.request.Request) -> Any:
                return self.do_open(WatchedConnection, req)

        class TlsHandler(urllib.request.HTTPSHandler):
            def https_open(self, req: urllib.request.Request) -> Any:
                return self.do_open(WatchedTlsConnection, req)

        return [PlainHandler(), TlsHandler()]


class UnusableAnswer(ClinicError):
    """A server's answer is larger than is allowed, or is cut off; other answers may be whole."""


@dataclass(frozen=True)
class ServerAnswer:
    """The answer of a server to a request.

    Attributes:
        status: The HTTP status.
        content_type: The media type of the body.
        body: The body, which may quote patients' data.
    """

    status: int
    content_type: str
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the server carried out the request."""
        return 200 <= self.status < 300


def send_http_request(
    method: str,
    url: str,
    *,
    server: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    limit_s: float = EXCHANGE_S,
) -> ServerAnswer:
    """Send a request, and return the answer, whatever its status is.

    Args:
        method: The HTTP method.
        url: The whole address.
        server: What messages call the server: ``FHIR server`` or ``archive``.
        headers: The headers of the request.
        body: The body of the request.
        max_answer_bytes: The largest body that is read.
        limit_s: Seconds that the exchange may take.

    Raises:
        UnusableAnswer: The answer is too large, or is cut off.
        ClinicError: The server cannot be reached, or its answer is too slow.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
    limit = ExchangeTimeLimit(limit_s)
    handlers = [_KeepEveryStatus(), *limit.make_handlers()]
    if _is_loopback(url):  # this is plain http, so it must not go through a proxy
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        with limit, opener.open(request, timeout=TIMEOUT_S) as response:
            content = response.read(max_answer_bytes + 1)
            # With a number of bytes, the library returns less than the server announced, without an
            # error. A cut-off list of failures would look like a list without failures.
            if response.length and len(content) <= max_answer_bytes:
                raise IncompleteRead(content, response.length)
            status, kind = response.status, response.headers.get("Content-Type") or ""
    except (OSError, HTTPException) as err:
        # The text of an HTTPException quotes what the server sent.
        is_quoting = isinstance(err, HTTPException) and not isinstance(err, OSError)
        cause = getattr(err, "reason", None) or err
        reason = "its answer is not HTTP" if is_quoting else getattr(cause, "strerror", "") or cause
        error_class = ClinicError
        if isinstance(err, IncompleteRead):
            error_class, reason = UnusableAnswer, "its answer ends too early"
        if limit.has_passed:
            error_class, reason = ClinicError, f"it took more than {limit_s:g} seconds"
        raise error_class(
            f"The exchange with the {server} failed: {reason}",
            where=remove_path_from_url(url),
            remedy=TRY_AGAIN,
        ) from err
    if limit.has_passed:  # a body without a length looks complete when its connection ends
        raise ClinicError(
            f"The exchange with the {server} failed: it took more than {limit_s:g} seconds",
            where=remove_path_from_url(url),
            remedy=TRY_AGAIN,
        )
    if len(content) > max_answer_bytes:
        raise UnusableAnswer(
            f"The {server} answers with more than {max_answer_bytes} bytes",
            where=remove_path_from_url(url),
        )
    return ServerAnswer(status, kind, content)


def remove_path_from_url(url: str) -> str:
    """Return an address without its path, which may hold a patient's identifiers."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

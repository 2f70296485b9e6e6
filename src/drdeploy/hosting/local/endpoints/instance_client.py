"""An HTTP client for one instance; the client reuses its connections."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING

from drdeploy.units import KIB

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping

REUSE_WITHIN_S = 1.0
"""Seconds after which an idle connection is not reused. Model servers close idle connections after
2 s or more. A request that is sent while the server closes the connection is lost. A lost request
must not be repeated, because the model may have received it."""


PART_BYTES = 64 * KIB
"""The largest size in bytes of one part of a streamed answer."""


class InstanceConnectionLost(Exception):
    """The instance refused the connection, closed it, or sent an answer that is not HTTP."""


class InstanceTimeout(Exception):
    """The instance did not answer in time."""


class InstanceAnswerTooLarge(Exception):
    """The body of the instance's answer exceeds the limit."""


@dataclass(frozen=True)
class InstanceAnswer:
    """An instance's answer.

    Attributes:
        status: The HTTP status.
        headers: The values of the headers, by lower-case name.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class InstanceStream:
    """An answer whose body is read part by part, by one thread.

    Args:
        connection: The connection to the instance.
        response: The response, whose body has not been read.
        timeout_s: Seconds that every read from the socket may take.
        deadline: The time on the monotonic clock at which the whole body must be there. Only
            :meth:`read_to_end` checks this.
        keep: A function that stores the connection for another request. It is called only if the
            connection can be reused.

    Attributes:
        status: The HTTP status.
        headers: The values of the headers, by lower-case name.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        response: HTTPResponse,
        timeout_s: float,
        deadline: float,
        keep: Callable[[HTTPConnection], None],
    ) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._connection = connection
        self._response = response
        self._timeout_s = timeout_s
        self._deadline = deadline
        self._keep = keep
        self._is_complete = False

    def read_part(self) -> bytes:
        """Wait for the next bytes of the body, and return them; empty at the end of the body.

        Raises:
            InstanceTimeout: No byte arrived in time.
            InstanceConnectionLost: The connection was closed before the end of the body.
        """
        with _explain_connection_failures(self._connection, self._timeout_s):
            part = self._response.read1(PART_BYTES)
            if not part and self._response.length:
                raise IncompleteRead(b"", self._response.length)
        self._is_complete = not part
        return part

    def read_to_end(self, max_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            InstanceTimeout: The whole answer took too long.
            InstanceAnswerTooLarge: The body has more than ``max_bytes``.
            InstanceConnectionLost: The connection was closed before the end of the body.
        """
        parts: list[bytes] = []
        length = 0
        while part := self.read_part():
            parts.append(part)
            length += len(part)
            if length > max_bytes:
                self._is_complete = False
                raise InstanceAnswerTooLarge(f"the answer has more than {max_bytes} bytes")
            with _explain_connection_failures(self._connection, self._timeout_s):
                if time.monotonic() > self._deadline:  # even if each read was in time
                    raise TimeoutError
        return b"".join(parts)

    def close(self) -> None:
        """Keep the connection for another request if the whole body was read, else close it."""
        self._response.close()
        if self._is_complete and not self._response.will_close:
            self._keep(self._connection)
        else:
            self._connection.close()


@contextlib.contextmanager
def _explain_connection_failures(connection: HTTPConnection, timeout_s: float) -> Iterator[None]:
    """If the ``with`` block fails, close the connection, and raise an error that says why."""
    try:
        yield
    except TimeoutError as err:
        connection.close()
        raise InstanceTimeout(f"the container gave no answer within {timeout_s:g} s") from err
    except (OSError, HTTPException) as err:
        connection.close()
        raise InstanceConnectionLost(
            f"the connection failed with {type(err).__name__}: {err}"
        ) from err


class InstanceClient:
    """An HTTP client for one instance; safe to use from several threads.

    Args:
        connect: Opens a connection to the instance, within a timeout in seconds. Raises OSError if
            that fails.
    """

    def __init__(self, connect: Callable[[float], socket.socket]) -> None:
        self._connect = connect
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def send_request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        max_bytes: int,
    ) -> InstanceAnswer:
        """Send a request and return the answer.

        Args:
            method: ``GET`` or ``POST``.
            path: The path, for example ``/invocations``.
            body: The request's body; chunks are sent with chunked encoding (RFC 9112, 7.1).
            headers: The request's headers.
            timeout_s: The limit in seconds for connecting, for each read from the socket, and for
                the whole answer.
            max_bytes: The largest number of bytes that the answer's body may have.

        Raises:
            InstanceTimeout: The answer took longer than ``timeout_s``.
            InstanceAnswerTooLarge: The body of the answer exceeds ``max_bytes``.
            InstanceConnectionLost: The connection was refused or closed, or the answer was not
                HTTP.
        """
        stream = self.open_stream(method, path, body, headers, timeout_s=timeout_s)
        try:
            data = stream.read_to_end(max_bytes)
        finally:
            stream.close()
        return InstanceAnswer(stream.status, stream.headers, data)

    def open_stream(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
    ) -> InstanceStream:
        """Send a request and return the answer as soon as it begins.

        Args:
            method: ``GET`` or ``POST``.
            path: The path, for example ``/invocations``.
            body: The request's body; chunks are sent with chunked encoding (RFC 9112, 7.1).
            headers: The request's headers.
            timeout_s: The limit in seconds for connecting, and for each read from the socket.

        Raises:
            InstanceTimeout: A read took longer than ``timeout_s``.
            InstanceConnectionLost: The connection was refused or closed, or the answer was not
                HTTP.
        """
        deadline = time.monotonic() + timeout_s
        connection = self._reuse_or_open_connection(timeout_s)
        with _explain_connection_failures(connection, timeout_s):
            if connection.sock is None:
                connection.sock = self._connect(timeout_s)
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
        return InstanceStream(connection, response, timeout_s, deadline, self._keep_connection)

    def close_idle_connections(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _keep_connection(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._idle.append((connection, time.monotonic()))

    def _reuse_or_open_connection(self, timeout_s: float) -> HTTPConnection:
        """Return an idle connection that can be reused, else a new one."""
        oldest = time.monotonic() - REUSE_WITHIN_S
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if since >= oldest and not _is_closed_by_peer(connection):
                    with contextlib.suppress(OSError):
                        connection.sock.settimeout(timeout_s)
                    return connection
                connection.close()
        return HTTPConnection("localhost", timeout=timeout_s)


def _is_closed_by_peer(connection: HTTPConnection) -> bool:
    if connection.sock is None:
        return True
    # An idle connection becomes readable only when the other end closes it.
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))

"""An HTTP client of one instance, with connections that are kept and reused."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from drdeploy.hosting.engine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

REUSE_WITHIN_S = 1.0
"""A connection idle for longer is not reused: model servers close theirs after 2 s or more, and a
request sent while the server closes is lost.  Nor can it be repeated: the model may have had it."""


class InstanceConnectionLost(Exception):
    """The instance refused or closed the connection, or did not answer in HTTP."""


class InstanceTimeout(Exception):
    """The instance did not answer in time."""


class InstanceAnswerTooLarge(Exception):
    """The body of the instance's answer exceeds the limit."""


@dataclass(frozen=True)
class InstanceAnswer:
    """An instance's answer.

    Attributes:
        status: HTTP status.
        headers: By name in lower case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class InstanceClient:
    """An HTTP client of one loopback port; safe to use from several threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float,
        max_bytes: int,
    ) -> InstanceAnswer:
        """Send a request and return the answer.

        Args:
            method: ``GET`` or ``POST``.
            path: For example ``/invocations``.
            body: The request's body.
            headers: The request's headers.
            timeout_s: Seconds that connecting and every read from the socket may take.
            max_bytes: Largest body of the answer.

        Raises:
            InstanceTimeout: A read took longer than ``timeout_s``.
            InstanceAnswerTooLarge: The body exceeds ``max_bytes``.
            InstanceConnectionLost: There was no answer for any other reason.
        """
        connection = self._connection(timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            data = response.read(max_bytes + 1)
        except TimeoutError as err:
            connection.close()
            raise InstanceTimeout(f"no answer within {timeout_s:g} s") from err
        except (OSError, HTTPException) as err:
            connection.close()
            raise InstanceConnectionLost(f"{type(err).__name__}: {err}") from err
        if len(data) > max_bytes:
            connection.close()
            raise InstanceAnswerTooLarge(f"more than {max_bytes} bytes")
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append((connection, time.monotonic()))
        received = {name.lower(): value for name, value in response.getheaders()}
        return InstanceAnswer(response.status, received, data)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _connection(self, timeout_s: float) -> HTTPConnection:
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
        return HTTPConnection(LOOPBACK, self._port, timeout=timeout_s)


def _is_closed_by_peer(connection: HTTPConnection) -> bool:
    if connection.sock is None:
        return True
    # An idle connection has nothing to read, except that the other end has closed it.
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))

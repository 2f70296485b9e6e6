"""Speak HTTP to one instance, over connections that are kept."""

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
    from collections.abc import Callable, Mapping

REUSE_WITHIN_S = 1.0
"""Model servers close idle connections after 2 s and more: an older one is not trusted."""


class InstanceConnectionLost(Exception):
    """The instance closed the connection, refused it, or answered no HTTP."""


class InstanceTimeout(Exception):
    """The instance did not answer in time."""


class InstanceAnswerTooLarge(Exception):
    """The instance's answer is over the limit."""


@dataclass(frozen=True)
class InstanceAnswer:
    """What came back: status, headers (names in lower case), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class InstanceClient:
    """Connections to one port; safe to use from several threads."""

    def __init__(self, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
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
        """Send a request and read the answer whole.

        Raises:
            ChannelTimeout: No answer within ``timeout_s``.
            AnswerTooLarge: Its body is over ``max_bytes``.
            ChannelBroken: Anything else that is no answer.
        """
        connection = self._take(timeout_s)
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
        self._keep(connection, closes=response.will_close)
        names = {name.lower(): value for name, value in response.getheaders()}
        return InstanceAnswer(response.status, names, data)

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self, timeout_s: float) -> HTTPConnection:
        connection = self._fresh_enough()
        if connection is None:
            return HTTPConnection(LOOPBACK, self._port, timeout=timeout_s)
        with contextlib.suppress(OSError):
            connection.sock.settimeout(timeout_s)
        return connection

    def _fresh_enough(self) -> HTTPConnection | None:
        oldest = self._clock() - REUSE_WITHIN_S
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if since >= oldest and not _is_ended(connection):
                    return connection
                connection.close()
        return None

    def _keep(self, connection: HTTPConnection, *, closes: bool) -> None:
        if closes:
            connection.close()
            return
        with self._lock:
            self._idle.append((connection, self._clock()))


def _is_ended(connection: HTTPConnection) -> bool:
    """Whether the other end has closed it: an idle connection has nothing else to say."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))

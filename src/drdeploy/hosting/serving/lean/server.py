"""Keep the open connections of one lean worker, and close them when the worker stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.hosting.serving.lean.acceptor import Acceptor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from drdeploy.hosting.serving.budgets import Budgets
    from drdeploy.hosting.serving.gateway import Gateway
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.log import ServerLog

GRACE_S = 0.02
"""Seconds that a stopping worker waits after the last accepted connection, before it closes idle
connections. In this time, the worker reads the requests that have been sent already, so they are
answered.
"""


TURNED_AWAY = 64
"""How many connections above the limit of open connections are answered with 503; further
connections are closed at once.
"""


class OpenConnection(Protocol):
    """The methods of a connection that the server calls."""

    def close_when_answered(self) -> None:
        """Close the connection as soon as no request is left to answer."""

    def close_idle_connection(self) -> None:
        """Close a connection that has no request at the moment."""

    def close_at_once(self) -> None:
        """Close the connection at once."""


class LeanServer:
    """Accepts connections, and keeps track of the open ones.

    Attributes:
        gateway: The gateway that answers the requests.
        budgets: The limits on what a client may cost.
        log: The log of the worker.
        loop: The event loop on which the server runs.
        connections: The open connections; each connection adds itself.
        idle: The connections that have no request at the moment. The one that has been idle longest
            comes first.
        is_draining: Whether the worker is about to stop.
    """

    def __init__(self, gateway: Gateway, budgets: Budgets, log: ServerLog) -> None:
        self.gateway = gateway
        self.budgets = budgets
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.connections: set[OpenConnection] = set()
        self.idle: dict[OpenConnection, None] = {}
        self.is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._acceptor: Acceptor | None = None

    def start_accepting(
        self,
        listener: socket.socket,
        connect: Callable[[LeanServer], asyncio.Protocol],
        *,
        counts: ConnectionCounts,
        slot: int,
    ) -> None:
        """Start to accept connections.

        Args:
            listener: The non-blocking socket that all workers share.
            connect: Returns the protocol object for a new connection.
            counts: The number of connections of each worker.
            slot: This worker's index in ``counts``.
        """
        self._acceptor = Acceptor(
            listener,
            lambda: connect(self),
            self.log,
            budgets=self.budgets,
            counts=counts,
            slot=slot,
        )

    def add_connection(self, connection: OpenConnection) -> bool:
        """Add a new connection. If there are too many, close the one that has been idle longest.

        Returns:
            Whether there is room for the new connection. If not, the connection must close itself.
        """
        self.connections.add(connection)
        if len(self.connections) > self.budgets.connections:
            if not self.idle:
                if len(self.connections) > self.budgets.connections + TURNED_AWAY:
                    self.loop.call_soon(connection.close_at_once)
                return False
            longest = next(iter(self.idle))
            del self.idle[longest]
            self.connections.discard(longest)
            longest.close_idle_connection()
        self.idle[connection] = None
        return True

    async def drain_connections(self, timeout_s: float) -> bool:
        """Accept no new connections, and finish the requests that have begun.

        Returns:
            Whether all requests were finished in time.
        """
        self.is_draining = True
        if self._acceptor is not None:
            self._acceptor.accept_backlog_and_close()
        await asyncio.sleep(GRACE_S)
        for connection in tuple(self.connections):
            connection.close_when_answered()
        try:
            async with asyncio.timeout(timeout_s):
                while self.connections:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.close_at_once()
            return False
        return True

    def start_request_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request's task, and keep the task from garbage collection until it ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def remove_connection(self, connection: OpenConnection) -> None:
        """Remove an ended connection."""
        self.connections.discard(connection)
        self.idle.pop(connection, None)
        if self._acceptor is not None:
            self._acceptor.count_closed_connection()
        self._changed.set()

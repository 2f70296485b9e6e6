"""The connections of one lean worker: accepted from a shared socket, drained at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.hosting.serving.lean.acceptor import Acceptor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from drdeploy.hosting.serving.gateway import Gateway
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

GRACE_S = 0.02
"""Between the last accepted connection and the drain: a request that has been sent by then is
answered, although nothing of it may have been read yet."""


class OpenConnection(Protocol):
    """What a server asks of its connections."""

    def drain(self) -> None:
        """Close once nothing is left to answer."""

    def abort(self) -> None:
        """Close at once."""


class LeanServer:
    """Accepts connections and knows those that are open.

    Attributes:
        gateway: Answers their requests.
        connections: Those that are open; each adds itself.
        is_draining: Whether the worker is about to stop.
    """

    def __init__(self, gateway: Gateway, settings: Settings, log: Log) -> None:
        self.gateway = gateway
        self.settings = settings
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.connections: set[OpenConnection] = set()
        self.is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._acceptor: Acceptor | None = None

    def listen(
        self,
        listener: socket.socket,
        connect: Callable[[LeanServer], asyncio.Protocol],
        *,
        counts: ConnectionCounts,
        slot: int,
    ) -> None:
        """Start to accept connections.

        Args:
            listener: Shared by all workers, and not blocking.
            connect: Makes the protocol of a new connection.
            counts: How many connections each worker has.
            slot: This worker's place in ``counts``.
        """
        self._acceptor = Acceptor(
            listener, lambda: connect(self), self.log, counts=counts, slot=slot
        )

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing new and finish what is in flight.

        Returns:
            Whether all of it was finished in time.
        """
        self.is_draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        await asyncio.sleep(GRACE_S)
        for connection in tuple(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_s):
                while self.connections:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            return False
        return True

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request's task; the event loop alone would let it be garbage-collected."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, connection: OpenConnection) -> None:
        """Remove a connection that has ended."""
        self.connections.discard(connection)
        if self._acceptor is not None:
            self._acceptor.count_closed()
        self._changed.set()

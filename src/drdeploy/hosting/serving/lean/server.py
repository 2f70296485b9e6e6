"""Accepts connections on a socket that the supervisor has bound, and drains them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.serving.lean.acceptor import Acceptor

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine

    from drdeploy.hosting.serving.asgi import Application
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.lean.protocol import Connection
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

LAST_LOOK_S = 0.02
"""After the last connection is taken: what its client has sent by then is still answered."""


class LeanServer:
    """The connections of one worker."""

    def __init__(self, application: Application, settings: Settings, log: Log) -> None:
        self.application = application
        self.settings = settings
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._door: Acceptor | None = None

    def listen(self, listener: socket.socket, *, crowd: ConnectionCounts, place: int) -> None:
        """Start to accept; the arguments are those of :class:`Acceptor`."""
        self._door = Acceptor(listener, self, crowd=crowd, place=place)

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing new, finish what is in flight.

        Returns:
            Whether all of it was finished in time.
        """
        self.is_draining = True
        if self._door is not None:
            self._door.close()
        await asyncio.sleep(LAST_LOOK_S)
        for connection in tuple(self.connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_empty()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            return False
        return True

    async def _until_empty(self) -> None:
        while self.connections:
            self._changed.clear()
            await self._changed.wait()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request's task, held until it ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, connection: Connection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if self._door is not None:
            self._door.leave()
        self._changed.set()

"""Where connections come in: how a worker takes them without taking them all.

The kernel wakes every worker that waits on the shared socket, and one that is quick takes every
connection of a client that opens several, and keeps them.  So a worker waits the longer with the
next one the more it has: its siblings with fewer are there first.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from drdeploy.serving.lean.protocol import Connection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Coroutine

    from drdeploy.serving.lean.server import LeanServer

WAIT_PER_CONNECTION_S = 0.001
LONGEST_WAIT_S = 0.01
PAUSE_S = 1.0
"""After the process or the system has run out of files or memory."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Door:
    """The listening socket of one worker.

    Args:
        gives_way: Whether siblings accept on the same socket.
    """

    def __init__(self, listener: socket.socket, server: LeanServer, *, gives_way: bool) -> None:
        self._listener = listener
        self._server = server
        self._gives_way = gives_way
        self._waiting: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[Any]] = set()
        self._open()

    def close(self) -> None:
        """Accept nothing new; who is waiting outside already comes in."""
        while self._accept():
            pass
        self._shut()
        self._listener.close()

    def _open(self) -> None:
        self._waiting = None
        self._server.loop.add_reader(self._listener, self._someone_is_there)

    def _shut(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._server.loop.remove_reader(self._listener)

    def _someone_is_there(self) -> None:
        mine = len(self._server.connections) + len(self._entering)
        if not (self._gives_way and mine):
            self._accept()
            return
        self._shut()
        wait_s = min(mine * WAIT_PER_CONNECTION_S, LONGEST_WAIT_S)
        self._waiting = self._server.loop.call_later(wait_s, self._take_what_is_left)

    def _take_what_is_left(self) -> None:
        self._open()
        self._accept()

    def _accept(self) -> bool:
        """Take one connection, if one is there still."""
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as err:
            if err.errno not in EXHAUSTED:
                raise
            self._server.log.failure("cannot accept", err)
            self._shut()
            self._waiting = self._server.loop.call_later(PAUSE_S, self._open)
            return False
        client.setblocking(False)
        self._enter(
            self._server.loop.connect_accepted_socket(lambda: Connection(self._server), client)
        )
        return True

    def _enter(self, entering: Coroutine[Any, Any, Any]) -> None:
        task = self._server.loop.create_task(entering)
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

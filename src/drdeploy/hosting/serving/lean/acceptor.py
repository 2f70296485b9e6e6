"""Where connections come in: how a worker takes its share of them.

The kernel wakes every worker that waits on the shared socket, and one that is quick takes every
connection of a client that opens several, and keeps them.  So a worker gives way while a sibling
has fewer; if that one does not come, it takes the connection after all.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.serving.lean.connection_counts import CLOSED
from drdeploy.hosting.serving.lean.protocol import Connection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Coroutine

    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.lean.server import LeanServer

GIVE_WAY_S = 0.02
"""How long a sibling with fewer connections may take to come to the door."""
LOOK_EVERY_S = 0.001
PAUSE_S = 1.0
"""After the process or the system has run out of files or memory."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """The listening socket of one worker.

    Args:
        listener: Shared with its siblings, and not blocking.
        crowd: How many connections each of them has.
        place: This worker's in it.
    """

    def __init__(
        self, listener: socket.socket, server: LeanServer, *, crowd: ConnectionCounts, place: int
    ) -> None:
        self._listener = listener
        self._server = server
        self._crowd = crowd
        self._place = place
        self._inside = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[Any]] = set()
        self._open()

    def leave(self) -> None:
        """One that came in is gone."""
        self._inside -= 1
        if not self._server.is_draining:
            self._crowd.note(self._place, self._inside)

    def close(self) -> None:
        """Accept nothing new; who is waiting outside already comes in."""
        while self._accept():
            pass
        self._shut()
        self._listener.close()
        self._crowd.note(self._place, CLOSED)

    def _open(self) -> None:
        self._waiting = None
        self._crowd.note(self._place, self._inside)
        self._server.loop.add_reader(self._listener, self._someone_is_there)

    def _shut(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._server.loop.remove_reader(self._listener)

    def _someone_is_there(self) -> None:
        # Who has some looks again even if nobody has fewer: a sibling may just have lost one.
        if self._crowd.is_alone or not self._inside:
            self._accept()
        else:
            self._shut()
            self._look_later(self._server.loop.time() + GIVE_WAY_S)

    def _look_later(self, until: float) -> None:
        self._waiting = self._server.loop.call_later(LOOK_EVERY_S, self._look_again, until)

    def _look_again(self, until: float) -> None:
        if self._crowd.is_least(self._place) or self._server.loop.time() >= until:
            self._open()
            self._accept()
        else:
            self._look_later(until)

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
            self._crowd.note(self._place, CLOSED)
            self._waiting = self._server.loop.call_later(PAUSE_S, self._open)
            return False
        client.setblocking(False)
        self._inside += 1
        self._crowd.note(self._place, self._inside)
        self._enter(
            self._server.loop.connect_accepted_socket(lambda: Connection(self._server), client)
        )
        return True

    def _enter(self, entering: Coroutine[Any, Any, Any]) -> None:
        task = self._server.loop.create_task(entering)
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

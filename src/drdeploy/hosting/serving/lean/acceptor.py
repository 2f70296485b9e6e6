"""Accepts connections so that every worker gets its share of them.

The kernel wakes all workers that wait on the shared socket, and the quickest takes the
connection.  A client that opens several at once would find them all with one worker, and they
stay there for as long as they are kept alive.  So a worker that already has connections waits
a moment for a sibling that has fewer; if none comes, it takes the connection itself.
"""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.serving.lean.connection_counts import CLOSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.log import Log

GIVE_WAY_S = 0.02
"""How long a worker leaves a connection to a sibling that has fewer."""
CHECK_EVERY_S = 0.001
PAUSE_S = 1.0
"""Before the next accept, when the process or the system is out of descriptors or memory."""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """One worker's end of the shared listening socket.

    Args:
        listener: Shared with the other workers, and not blocking.
        connect: Makes the protocol of a new connection.
        log: For a failure to accept.
        counts: How many connections each worker has.
        slot: This worker's place in ``counts``.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], asyncio.Protocol],
        log: Log,
        *,
        counts: ConnectionCounts,
        slot: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._connect = connect
        self._log = log
        self._counts = counts
        self._slot = slot
        self._open = 0
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[Any]] = set()
        self._watch()

    def count_closed(self) -> None:
        """Note that a connection of this worker has ended."""
        self._open -= 1
        if not self._is_closed:
            self._counts.set(self._slot, self._open)

    def close(self) -> None:
        """Take the connections that already wait in the backlog, then no more."""
        while self._accept():
            pass
        self._is_closed = True
        self._unwatch()
        self._listener.close()
        self._counts.set(self._slot, CLOSED)

    def _watch(self) -> None:
        self._timer = None
        self._counts.set(self._slot, self._open)
        self._loop.add_reader(self._listener, self._on_waiting_connection)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)

    def _on_waiting_connection(self) -> None:
        # Even a worker that has no more than its siblings checks again before it accepts: one of
        # them may just have lost a connection and not have noted it yet.
        if self._counts.is_single_worker or not self._open:
            self._accept()
        else:
            self._unwatch()
            self._check_later(self._loop.time() + GIVE_WAY_S)

    def _check_later(self, deadline: float) -> None:
        self._timer = self._loop.call_later(CHECK_EVERY_S, self._check, deadline)

    def _check(self, deadline: float) -> None:
        if self._counts.is_lowest(self._slot) or self._loop.time() >= deadline:
            self._watch()
            self._accept()
        else:
            self._check_later(deadline)

    def _accept(self) -> bool:
        """Accept one connection, unless a sibling was quicker."""
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as err:
            if err.errno not in EXHAUSTED:
                raise
            # The socket stays readable: without a pause this would be tried without end.
            self._log.failure("cannot accept", err)
            self._unwatch()
            self._counts.set(self._slot, CLOSED)
            self._timer = self._loop.call_later(PAUSE_S, self._watch)
            return False
        client.setblocking(False)
        self._open += 1
        self._counts.set(self._slot, self._open)
        self._hold(self._loop.connect_accepted_socket(self._connect, client))
        return True

    def _hold(self, connecting: Coroutine[Any, Any, Any]) -> None:
        """Run the set-up of a connection; a task that nobody holds may be garbage-collected."""
        task = self._loop.create_task(connecting)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

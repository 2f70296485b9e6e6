"""Accept connections so that every worker gets its share.

The kernel wakes all workers that wait on the shared socket, and the fastest worker takes the
connection. If a client opens several connections at once, one worker could take all of them. It
would then have to serve them until they are closed, while other workers are idle. A worker that
already has connections therefore waits a moment before it takes a new one, so that a worker with
fewer connections can take it first.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.serving.lean.connection_counts import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from drdeploy.hosting.serving.budgets import Budgets
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.log import ServerLog

GIVE_WAY_S = 0.02
"""The longest time in seconds that a worker waits before it takes a new connection, so that a
worker with fewer connections can take it first.
"""
CHECK_EVERY_S = 0.001
PAUSE_S = 1.0
"""Seconds until the next attempt to accept a connection, if the process or the system has no file
descriptors or memory left.
"""

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accepts connections for one worker from the listening socket that all workers share.

    Args:
        listener: The non-blocking socket that all workers share.
        connect: Returns the protocol object for a new connection.
        log: The log of failures to accept.
        budgets: The limits of the worker, including those for clients that do not read their
            answers.
        counts: The number of connections of each worker.
        slot: The index of this worker in ``counts``.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], asyncio.Protocol],
        log: ServerLog,
        *,
        budgets: Budgets,
        counts: ConnectionCounts,
        slot: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._connect = connect
        self._log = log
        self._budgets = budgets
        self._counts = counts
        self._slot = slot
        self._open = 0
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: set[asyncio.Task[Any]] = set()
        self._watch_listener()

    def count_closed_connection(self) -> None:
        """Lower the number of this worker's connections by one, because a connection has ended."""
        self._open -= 1
        if not self._is_closed:
            self._counts.set_count_of_worker(self._slot, self._open)

    def accept_backlog_and_close(self) -> None:
        """Accept the connections that already wait on the socket, and then close the socket."""
        while self._accept_connection():
            pass
        self._is_closed = True
        self._unwatch_listener()
        self._listener.close()
        self._counts.set_count_of_worker(self._slot, CLOSED)

    def _watch_listener(self) -> None:
        self._timer = None
        self._counts.set_count_of_worker(self._slot, self._open)
        self._loop.add_reader(self._listener, self._on_waiting_connection)

    def _unwatch_listener(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)

    def _on_waiting_connection(self) -> None:
        # Even a worker that has no more than its siblings checks again before it accepts: one of
        # them may just have lost a connection and not have noted it yet.
        if self._counts.is_single_worker or not self._open:
            self._accept_connection()
        else:
            self._unwatch_listener()
            self._schedule_accept_check(self._loop.time() + GIVE_WAY_S)

    def _schedule_accept_check(self, deadline: float) -> None:
        self._timer = self._loop.call_later(CHECK_EVERY_S, self._accept_if_lowest, deadline)

    def _accept_if_lowest(self, deadline: float) -> None:
        if self._counts.has_fewest_connections(self._slot) or self._loop.time() >= deadline:
            self._watch_listener()
            self._accept_connection()
        else:
            self._schedule_accept_check(deadline)

    def _accept_connection(self) -> bool:
        """Accept one connection, and return False if another worker was faster."""
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as err:
            if err.errno not in EXHAUSTED:
                raise
            # The socket stays readable: without a pause this would be tried without end.
            self._log.write_event_within_limit("cannot accept", "error", message=str(err))
            self._unwatch_listener()
            self._counts.set_count_of_worker(self._slot, CLOSED)
            self._timer = self._loop.call_later(PAUSE_S, self._watch_listener)
            return False
        client.setblocking(False)
        self._limit_unread_answers(client)
        self._open += 1
        self._counts.set_count_of_worker(self._slot, self._open)
        self._hold_connection_task(self._loop.connect_accepted_socket(self._connect, client))
        return True

    def _limit_unread_answers(self, client: socket.socket) -> None:
        """Limit how much the kernel stores for a client that does not read, and for how long.

        Without the limit on time, the kernel would keep unread answers for as long as the client's
        machine responds, even after the server has closed the connection.
        """
        budgets = self._budgets
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, budgets.unread_bytes)
        if client.family != socket.AF_UNIX:
            timeout_ms = int(1000 * budgets.answer_s)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)

    def _hold_connection_task(self, connecting: Coroutine[Any, Any, Any]) -> None:
        """Hold the task that sets up a connection, to keep it from garbage collection."""
        task = self._loop.create_task(connecting)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

"""A lean worker process: it loads the model, predicts once, and serves until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.lean.protocol import Connection
from drdeploy.hosting.serving.lean.server import LeanServer
from drdeploy.hosting.serving.load import load_handlers
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.log_bridge import bridge_logging
from drdeploy.hosting.serving.processes import EXIT_LOAD_REFUSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.handlers import Handlers
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.settings import Settings

READY = b"1"


def run_worker(
    settings: Settings,
    capacity: Capacity,
    *,
    listener: socket.socket,
    counts: ConnectionCounts,
    slot: int,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    """Serve until SIGTERM, or until the supervisor is gone.

    Args:
        settings: The server's.
        capacity: How many workers there are, and what each does at once.
        listener: Bound by the supervisor; clients may have connected to it already.
        counts: How many connections each worker has.
        slot: This worker's place in ``counts``.
        ready_fd: Written to once requests are accepted.
        lifeline_fd: A pipe whose other end the supervisor holds open.

    Returns:
        The exit status of the process.
    """
    log = Log(settings.log_level)
    bridge_logging(log)
    try:
        handlers = load_handlers(settings, capacity, log)
    except DrdeployError:
        return EXIT_LOAD_REFUSED
    # What is loaded now stays: no collection need look at it, not even a first one (8 ms).
    gc.freeze()
    gc.enable()

    def listen(server: LeanServer) -> None:
        server.listen(listener, Connection, counts=counts, slot=slot)

    return asyncio.run(_serve(handlers, log, listen, ready_fd=ready_fd, lifeline_fd=lifeline_fd))


async def _serve(
    handlers: Handlers,
    log: Log,
    listen: Callable[[LeanServer], None],
    *,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)

    def stop_without_supervisor() -> None:
        loop.remove_reader(lifeline_fd)
        stopping.set()

    # The kernel closes the supervisor's end of the pipe however the supervisor ends, SIGKILL
    # included; nobody else would ever stop this worker.
    loop.add_reader(lifeline_fd, stop_without_supervisor)
    server = LeanServer(Gateway(handlers, log), handlers.settings, log)
    listen(server)
    handlers.counters.count_worker_start()
    os.write(ready_fd, READY)
    await stopping.wait()
    is_drained = await server.drain(handlers.settings.drain_s)
    log.event("worker stopped", "info" if is_drained else "warning", drained=is_drained)
    return 0 if is_drained else 1

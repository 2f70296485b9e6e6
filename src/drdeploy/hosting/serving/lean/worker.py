"""A lean worker: load, predict once, serve until told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError
from drdeploy.hosting.serving.asgi import Application
from drdeploy.hosting.serving.counters import Counters
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.handlers import Handlers
from drdeploy.hosting.serving.lean.server import LeanServer
from drdeploy.hosting.serving.load import load_service
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.log_bridge import bridge_logging
from drdeploy.hosting.serving.processes import EXIT_LOAD_REFUSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.settings import Settings

READY = b"1"


def run_worker(
    settings: Settings,
    capacity: Capacity,
    *,
    listener: socket.socket,
    crowd: ConnectionCounts,
    place: int,
    counters_path: Path,
    container_id: str,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    """Serve until SIGTERM, or until the supervisor is gone.

    Args:
        settings: The server's.
        capacity: How many workers, invocations at once, threads.
        listener: Bound by the supervisor; connections have been waiting in it.
        crowd: The workers' connections.
        place: Of this worker among them, from 0.
        counters_path: The container's shared counters.
        container_id: This container's name.
        ready_fd: Written to once requests are accepted.
        lifeline_fd: A pipe whose other end the supervisor holds open.

    Returns:
        The exit status.
    """
    log = Log(settings.log_level)
    bridge_logging(log)
    started = time.perf_counter()
    try:
        service = load_service(settings, capacity.threads, counters_path.parent)
    except DrdeployError as err:
        log.failure("model refused", err, code=err.code)
        return EXIT_LOAD_REFUSED
    duration_s = round(time.perf_counter() - started, 3)
    told = {} if service.load_times is None else service.load_times.fields()
    log.event("model loaded", duration_s=duration_s, **told)
    counters = Counters(counters_path)
    handlers = Handlers(
        service, settings, counters, container_id, capacity.workers, capacity.concurrency
    )
    # What is loaded now stays: no collection need look at it, not even a first one (8 ms).
    gc.freeze()
    gc.enable()
    let_in = partial(LeanServer.listen, listener=listener, crowd=crowd, place=place)
    return asyncio.run(_serve(handlers, log, let_in, ready_fd=ready_fd, lifeline_fd=lifeline_fd))


async def _serve(
    handlers: Handlers,
    log: Log,
    let_in: Callable[[LeanServer], None],
    *,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_reader(lifeline_fd, _stop_on_end, loop, lifeline_fd, stopping)
    server = LeanServer(Application(Gateway(handlers, log)), handlers.settings, log)
    let_in(server)
    handlers.counters.count_worker_start()
    os.write(ready_fd, READY)
    await stopping.wait()
    is_drained = await server.drain(handlers.settings.drain_s)
    log.event("worker stopped", "info" if is_drained else "warning", drained=is_drained)
    return 0 if is_drained else 1


def _stop_on_end(
    loop: asyncio.AbstractEventLoop, lifeline_fd: int, stopping: asyncio.Event
) -> None:
    """The supervisor was killed: without it nobody would ever stop this worker."""
    loop.remove_reader(lifeline_fd)
    stopping.set()

"""A lean worker process, which loads the model, predicts once, and serves until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError
from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.lean.protocol import HttpConnection
from drdeploy.hosting.serving.lean.server import LeanServer
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.log_bridge import forward_library_logging
from drdeploy.hosting.serving.model_loading import load_model_and_make_handlers
from drdeploy.hosting.serving.processes import EXIT_LOAD_REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.handlers import RequestHandlers
    from drdeploy.hosting.serving.lean.connection_counts import ConnectionCounts
    from drdeploy.hosting.serving.settings import Settings

READY = b"1"


def run_lean_worker(
    settings: Settings,
    capacity: Capacity,
    *,
    listener: socket.socket,
    counts: ConnectionCounts,
    in_progress: memoryview,
    slot: int,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    """Load the model and serve requests until SIGTERM arrives, or until the supervisor has ended.

    Args:
        settings: The settings of the server.
        capacity: The number of workers, and how many invocations each handles at once.
        listener: The socket that the supervisor has bound; clients may already wait on it.
        counts: The number of connections of each worker.
        in_progress: The number of photographs that each worker is grading.
        slot: This worker's index in ``counts`` and ``in_progress``.
        ready_fd: The pipe to which the worker writes as soon as it accepts requests.
        lifeline_fd: A pipe whose other end the supervisor holds open. When the supervisor ends, the
            kernel closes this other end, and the worker notices.

    Returns:
        The exit status of the process.
    """
    log = ServerLog(settings.log_level)
    forward_library_logging(log)
    try:
        handlers = load_model_and_make_handlers(
            settings, capacity, log, PhotographsInProgress(in_progress, slot)
        )
    except DrdeployError:
        return EXIT_LOAD_REFUSED
    except OSError as err:
        # A file that cannot be read or written now may be another time: the supervisor tries again.
        what = f"{err.filename}: {err.strerror}" if err.filename else str(err.strerror)
        log.write_event("worker cannot start", "error", message=f"A file cannot be used: {what}.")
        return 1
    # What is loaded now stays: no collection need look at it, not even a first one (8 ms).
    gc.freeze()
    gc.enable()

    def start_listening(server: LeanServer) -> None:
        server.start_accepting(listener, HttpConnection, counts=counts, slot=slot)

    return asyncio.run(
        _serve_until_stopped(
            handlers, log, start_listening, ready_fd=ready_fd, lifeline_fd=lifeline_fd
        )
    )


async def _serve_until_stopped(
    handlers: RequestHandlers,
    log: ServerLog,
    listen: Callable[[LeanServer], None],
    *,
    ready_fd: int,
    lifeline_fd: int,
) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    terminated = _open_socket_for_sigterm()

    def stop_after_sigterm() -> None:
        loop.remove_reader(terminated)
        stopping.set()

    loop.add_reader(terminated, stop_after_sigterm)

    def stop_without_supervisor() -> None:
        loop.remove_reader(lifeline_fd)
        stopping.set()

    # The kernel closes the supervisor's end of the pipe however the supervisor ends, SIGKILL
    # included; nobody else would ever stop this worker.
    loop.add_reader(lifeline_fd, stop_without_supervisor)
    server = LeanServer(Gateway(handlers, log), handlers.budgets, log)
    listen(server)
    handlers.counters.count_worker_start()
    # If the supervisor ended while the model was loading, nobody reads this, and the lifeline stops
    # the worker.
    with suppress(BrokenPipeError):
        os.write(ready_fd, READY)
    if handlers.service.second_thread is not None:
        handlers.service.second_thread.start(partial(_use_idle_cpus, handlers, log))
    await stopping.wait()
    is_drained = await server.drain_connections(handlers.settings.drain_s)
    log.write_due_summary(is_last=True)
    log.write_event("worker stopped", "info" if is_drained else "warning", drained=is_drained)
    return 0 if is_drained else 1


def _use_idle_cpus(handlers: RequestHandlers, log: ServerLog) -> None:
    """Load a slow model again with more threads, while the first requests are already answered."""
    try:
        handlers.service.use_idle_cpus()
    except DrdeployError as err:
        # Photographs are graded all the same, only on fewer threads.
        log.write_failure("idle vCPUs stay unused", err)


def _open_socket_for_sigterm() -> socket.socket:
    """Return a socket that becomes readable when SIGTERM arrives.

    ``loop.add_signal_handler`` does the same, but imports :mod:`inspect`, which makes a cold start
    3 ms slower.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    # The number of a signal is written even if it arrives just before the loop begins to wait.
    signal.set_wakeup_fd(sender.detach())
    return receiver

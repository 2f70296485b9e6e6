"""Keeps the lean workers alive: forks them, replaces those that die, drains them at the end.

A worker is forked and not executed anew, because whatever the supervisor has imported is then
there already, which is part of why a cold start is short.  For that the supervisor must stay
single-threaded and load no model: a fork copies the calling thread alone, and a lock that another
thread held, in the C library or in a runtime, would stay locked in the child for ever.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import ServerError
from drdeploy.hosting.serving.lean.connection_counts import CLOSED, ConnectionCounts
from drdeploy.hosting.serving.processes import (
    EXIT_LOAD_REFUSED,
    STOP_SIGNALS,
    WATCHED,
    Signals,
    become_child,
    describe_exit,
    reap,
    send,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

MAX_FAILED_STARTS = 3
"""Workers that may die in a row before they are ready; then the container gives up.  The host
replaces a container that ended; one that tried for ever would look as if it were still starting."""
FIRST_BACKOFF_S = 0.2
KILL_GRACE_S = 1.0
"""For a worker to end by itself once its drain has timed out."""


@dataclass
class LeanWorker:
    """A worker process as the supervisor knows it.

    Attributes:
        ready_fd: A pipe that becomes readable when the worker is ready, or has ended.
        slot: Its place among the workers, from 0; its replacement gets the same.
        is_ready: Whether it has loaded the model and accepts requests.
    """

    ready_fd: int
    slot: int
    is_ready: bool = False


class LeanSupervision:
    """Supervises the workers of a container."""

    def __init__(
        self,
        settings: Settings,
        capacity: Capacity,
        *,
        listener: socket.socket,
        log: Log,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._capacity = capacity
        self._listener = listener
        self._log = log
        self._signals = signals
        self._clock = clock
        self._workers: dict[int, LeanWorker] = {}
        self._counts = ConnectionCounts(capacity.workers)
        self._lifeline = os.pipe()
        self._failed_starts = 0
        self._start_not_before = 0.0

    def run(self) -> int:
        """Supervise until a stop signal.

        Returns:
            Zero if all requests in flight were finished.

        Raises:
            ServerError: The workers cannot be kept alive.
        """
        try:
            while True:
                self._start_missing()
                fds = [worker.ready_fd for worker in self._workers.values() if not worker.is_ready]
                arrived, readable = self._signals.wait(self._backoff_left_s(), fds)
                self._note_ready(readable)
                if arrived & STOP_SIGNALS:
                    return self._stop()
                for pid, exit_code in reap():
                    self._note_end(pid, exit_code)
        finally:
            self._listener.close()
            self._kill_all()

    def _start_missing(self) -> None:
        if self._start_not_before and self._clock() >= self._start_not_before:
            self._start_not_before = 0.0
        while len(self._workers) < self._capacity.workers and not self._start_not_before:
            self._start()

    def _backoff_left_s(self) -> float | None:
        """Return how long the next start has to wait; None if none is due."""
        if not self._start_not_before:
            return None
        return max(0.0, self._start_not_before - self._clock())

    def _start(self) -> None:
        taken = {worker.slot for worker in self._workers.values()}
        slot = next(slot for slot in range(self._capacity.workers) if slot not in taken)
        ready_read, ready_write = os.pipe()
        sys.stdout.flush()  # else the child would write what is buffered a second time
        # A signal between fork and become_child would run the supervisor's handler in the child,
        # which writes to the supervisor's own wake-up socket.
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        pid = os.fork()
        if pid == 0:
            self._run_child(slot, ready_read, ready_write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.close(ready_write)
        self._workers[pid] = LeanWorker(ready_read, slot)
        self._log.event("worker started", worker=pid)

    def _run_child(self, slot: int, ready_read: int, ready_write: int) -> None:
        """Be a worker, in the forked process; does not return."""
        exit_code = 1
        gc.disable()  # until it has loaded: hardly anything that it makes by then is garbage
        try:
            become_child()
            os.close(ready_read)
            # A pipe ends when its last writer closes it: this copy would outlive the supervisor.
            os.close(self._lifeline[1])
            for sibling in self._workers.values():
                os.close(sibling.ready_fd)
            from drdeploy.hosting.serving.lean.worker import run_worker

            exit_code = run_worker(
                self._settings,
                self._capacity,
                listener=self._listener,
                counts=self._counts,
                slot=slot,
                ready_fd=ready_write,
                lifeline_fd=self._lifeline[0],
            )
        except BaseException:  # noqa: BLE001 - nothing may unwind into the supervisor's frames
            traceback.print_exc()
        finally:
            # Not sys.exit: the supervisor's `finally` blocks stand further up on this stack.
            os._exit(exit_code)

    def _note_ready(self, readable: list[int]) -> None:
        for pid, worker in self._workers.items():
            if worker.ready_fd in readable and os.read(worker.ready_fd, 1):
                worker.is_ready = True
                self._failed_starts = 0
                self._log.event("worker ready", worker=pid)

    def _note_end(self, pid: int, exit_code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return  # an orphan of another process, which PID 1 inherits
        self._counts.set(worker.slot, CLOSED)
        # It may have become ready and died since the supervisor last read the pipe.
        os.set_blocking(worker.ready_fd, False)
        worker.is_ready = worker.is_ready or bool(os.read(worker.ready_fd, 1))
        os.close(worker.ready_fd)
        self._log.event("worker ended", "warning", worker=pid, how=describe_exit(exit_code))
        if exit_code == EXIT_LOAD_REFUSED:
            raise ServerError("The model cannot be loaded", remedy="The log above says why")
        if worker.is_ready:
            return
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ServerError(
                f"{MAX_FAILED_STARTS} workers in a row died before they were ready "
                f"({describe_exit(exit_code)})",
                remedy="If SIGKILL ended them, the container most likely ran out of memory",
            )
        delay_s = FIRST_BACKOFF_S * 2 ** (self._failed_starts - 1)
        self._start_not_before = self._clock() + delay_s

    def _stop(self) -> int:
        """Accept nothing new from now on, and wait while the workers finish their requests."""
        self._log.event("stopping", workers=len(self._workers))
        self._listener.close()
        for pid in self._workers:
            send(pid, signal.SIGTERM)
        exit_codes: list[int] = []
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        while self._workers and (left_s := deadline - self._clock()) > 0:
            for pid, exit_code in reap():
                if self._workers.pop(pid, None) is not None:
                    exit_codes.append(exit_code)
            if self._workers:
                self._signals.wait(left_s)
        # A worker that was still loading has no handler for SIGTERM yet, and dies of it.
        is_drained = not self._workers and all(code in {0, -signal.SIGTERM} for code in exit_codes)
        self._log.event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _kill_all(self) -> None:
        for pid in self._workers:
            send(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        self._workers.clear()
        for fd in self._lifeline:
            os.close(fd)

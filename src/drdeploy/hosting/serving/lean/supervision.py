"""Fork the lean workers, replace workers that die, and stop the workers at the end.

Workers are forked, because a worker that started as a new program would import every module again,
and a cold start would take longer. A fork copies only the calling thread, so a lock that another
thread held would stay locked in the worker forever. The supervisor must therefore have only one
thread. It must not load a model, because that starts threads.
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
from drdeploy.hosting.serving.lean.worker_cells import make_worker_cells
from drdeploy.hosting.serving.processes import (
    EXIT_LOAD_REFUSED,
    STOP_SIGNALS,
    WATCHED,
    Signals,
    describe_exit_code,
    reap_ended_children,
    reset_signals_in_child,
    send_signal,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import ServerLog
    from drdeploy.hosting.serving.settings import Settings

MAX_FAILED_STARTS = 3
"""How many workers in a row may die before they are ready. After that many, the container ends.
The host replaces a container that has ended. A container that tried forever would seem to be
starting.
"""
FIRST_BACKOFF_S = 0.2
KILL_GRACE_S = 1.0
"""Seconds that a worker gets to end by itself after its drain has timed out."""


@dataclass
class LeanWorker:
    """The supervisor's record of a worker process.

    Attributes:
        ready_fd: The reading end of a pipe, which becomes readable when the worker is ready or has
            ended.
        slot: The worker's index among the workers, counted from 0; a replacement gets the index of
            the dead worker.
        is_ready: Whether the worker has loaded the model and accepts requests.
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
        log: ServerLog,
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
        self._in_progress = make_worker_cells(capacity.workers)
        self._lifeline = os.pipe()
        self._failed_starts = 0
        self._start_not_before = 0.0
        self._wanted_workers = 1  # others would only delay the first answer

    def supervise_until_stopped(self) -> int:
        """Supervise the workers until a stop signal arrives; then let them finish, and stop them.

        Returns:
            The exit status: 0 if all requests in flight were finished, else 1.

        Raises:
            ServerError: The model cannot be loaded, or workers die before they are ready.
        """
        try:
            while True:
                self._start_missing_workers()
                fds = [worker.ready_fd for worker in self._workers.values() if not worker.is_ready]
                arrived, readable = self._signals.wait_for_signal_or_descriptor(
                    self._seconds_until_next_start(), fds
                )
                self._record_ready_workers(readable)
                if arrived & STOP_SIGNALS:
                    return self._drain_workers()
                for pid, exit_code in reap_ended_children():
                    self._record_worker_end(pid, exit_code)
        finally:
            self._listener.close()
            self._kill_all_workers()

    def _start_missing_workers(self) -> None:
        if self._start_not_before and self._clock() >= self._start_not_before:
            self._start_not_before = 0.0
        while len(self._workers) < self._wanted_workers and not self._start_not_before:
            self._start_worker()

    def _seconds_until_next_start(self) -> float | None:
        """Return the seconds until a worker may be started; None if none is to be started."""
        if not self._start_not_before:
            return None
        return max(0.0, self._start_not_before - self._clock())

    def _start_worker(self) -> None:
        taken = {worker.slot for worker in self._workers.values()}
        slot = next(slot for slot in range(self._capacity.workers) if slot not in taken)
        ready_read, ready_write = os.pipe()
        sys.stdout.flush()  # else the child would write what is buffered a second time
        # A signal between fork and reset_signals_in_child would run the supervisor's handler in the
        # child, which writes to the supervisor's own wake-up socket.
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        pid = os.fork()
        if pid == 0:
            self._run_worker_process(slot, ready_read, ready_write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.close(ready_write)
        self._workers[pid] = LeanWorker(ready_read, slot)
        self._log.write_event("worker started", worker=pid)

    def _run_worker_process(self, slot: int, ready_read: int, ready_write: int) -> None:
        """Run as a worker in the forked process; this method never returns."""
        exit_code = 1
        gc.disable()  # until it has loaded: hardly anything that it makes by then is garbage
        try:
            reset_signals_in_child()
            os.close(ready_read)
            # A pipe ends when its last writer closes it: this copy would outlive the supervisor.
            os.close(self._lifeline[1])
            for sibling in self._workers.values():
                os.close(sibling.ready_fd)
            from drdeploy.hosting.serving.lean.worker import run_lean_worker

            exit_code = run_lean_worker(
                self._settings,
                self._capacity,
                listener=self._listener,
                counts=self._counts,
                in_progress=self._in_progress,
                slot=slot,
                ready_fd=ready_write,
                lifeline_fd=self._lifeline[0],
            )
        except BaseException:  # noqa: BLE001 - nothing may unwind into the supervisor's frames
            traceback.print_exc()
        finally:
            # Not sys.exit: the supervisor's `finally` blocks stand further up on this stack.
            os._exit(exit_code)

    def _record_ready_workers(self, readable: list[int]) -> None:
        for pid, worker in self._workers.items():
            if worker.ready_fd in readable and os.read(worker.ready_fd, 1):
                worker.is_ready = True
                self._failed_starts = 0
                self._wanted_workers = self._capacity.workers
                self._log.write_event("worker ready", worker=pid)

    def _record_worker_end(self, pid: int, exit_code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return  # an orphan of another process, which PID 1 inherits
        self._counts.set_count_of_worker(worker.slot, CLOSED)
        self._in_progress[worker.slot] = 0
        # It may have become ready and died since the supervisor last read the pipe.
        os.set_blocking(worker.ready_fd, False)
        worker.is_ready = worker.is_ready or bool(os.read(worker.ready_fd, 1))
        os.close(worker.ready_fd)
        self._log.write_event(
            "worker ended", "warning", worker=pid, how=describe_exit_code(exit_code)
        )
        if exit_code == EXIT_LOAD_REFUSED:
            raise ServerError(
                "The model cannot be loaded", remedy="Read the log lines above this error"
            )
        if worker.is_ready:
            return
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ServerError(
                f"{MAX_FAILED_STARTS} workers in a row died before they were ready "
                f"({describe_exit_code(exit_code)})",
                remedy="If SIGKILL ended the workers, give the container more memory",
            )
        delay_s = FIRST_BACKOFF_S * 2 ** (self._failed_starts - 1)
        self._start_not_before = self._clock() + delay_s

    def _drain_workers(self) -> int:
        """Accept no new connections, and wait while the workers finish their requests."""
        self._log.write_event("stopping", workers=len(self._workers))
        self._listener.close()
        for pid in self._workers:
            send_signal(pid, signal.SIGTERM)
        exit_codes: list[int] = []
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        while self._workers and (left_s := deadline - self._clock()) > 0:
            for pid, exit_code in reap_ended_children():
                if self._workers.pop(pid, None) is not None:
                    exit_codes.append(exit_code)
            if self._workers:
                self._signals.wait_for_signal_or_descriptor(left_s)
        # A worker that was still loading has no handler for SIGTERM yet, and dies of it.
        is_drained = not self._workers and all(code in {0, -signal.SIGTERM} for code in exit_codes)
        self._log.write_event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _kill_all_workers(self) -> None:
        for pid in self._workers:
            send_signal(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        self._workers.clear()
        for fd in self._lifeline:
            os.close(fd)

"""Keeps the lean workers alive: forks them, replaces the dead, drains them at the end.

A worker is forked, not executed: what the supervisor has imported is there already, which is
part of why a cold start is short.  The supervisor itself loads no model and starts no thread.
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
    reap,
    say_how,
    send,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings

MAX_FAILED_STARTS = 3
"""So many times in a row may a worker die before it is ready, then the container gives up."""
FIRST_BACKOFF_S = 0.2
KILL_GRACE_S = 1.0


@dataclass
class LeanWorker:
    """A forked worker as the supervisor sees it."""

    ready_fd: int
    place: int
    is_ready: bool = False


class LeanSupervision:
    """The workers of a container."""

    def __init__(
        self,
        settings: Settings,
        capacity: Capacity,
        *,
        listener: socket.socket,
        counters_path: Path,
        container_id: str,
        log: Log,
        signals: Signals,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._capacity = capacity
        self._listener = listener
        self._counters_path = counters_path
        self._container_id = container_id
        self._log = log
        self._signals = signals
        self._clock = clock
        self._workers: dict[int, LeanWorker] = {}
        self._crowd = ConnectionCounts(capacity.workers)
        self._lifeline = os.pipe()
        self._failed_starts = 0
        self._start_not_before = 0.0

    def run(self) -> int:
        """Supervise until a stop signal.

        Returns:
            Zero if all that was in flight was finished.

        Raises:
            ServerError: The workers cannot be kept alive.
        """
        try:
            while True:
                self._fill()
                arrived, readable = self._signals.wait(self._patience_s(), self._ready_fds())
                self._note_ready(readable)
                if arrived & STOP_SIGNALS:
                    return self._stop()
                for pid, exit_code in reap():
                    self._note_end(pid, exit_code)
        finally:
            self._listener.close()
            self._kill_all()

    def _fill(self) -> None:
        while len(self._workers) < self._capacity.workers and self._patience_s() is None:
            self._start()
        if self._start_not_before and self._clock() >= self._start_not_before:
            self._start_not_before = 0.0
            self._fill()

    def _patience_s(self) -> float | None:
        """How long to wait before the next start; None if nothing is due."""
        if not self._start_not_before:
            return None
        return max(0.0, self._start_not_before - self._clock())

    def _start(self) -> None:
        taken = {worker.place for worker in self._workers.values()}
        place = next(place for place in range(self._capacity.workers) if place not in taken)
        ready_read, ready_write = os.pipe()
        sys.stdout.flush()
        # A signal between fork and become_child would be taken by the supervisor's handler.
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        pid = os.fork()
        if pid == 0:
            self._be_worker(place, ready_read, ready_write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.close(ready_write)
        self._workers[pid] = LeanWorker(ready_read, place)
        self._log.event("worker started", worker=pid)

    def _be_worker(self, place: int, ready_read: int, ready_write: int) -> None:
        exit_code = 1
        gc.disable()  # until it has loaded: hardly anything that it makes by then is garbage
        try:
            become_child()
            os.close(ready_read)
            os.close(self._lifeline[1])
            for sibling in self._workers.values():
                os.close(sibling.ready_fd)
            from drdeploy.hosting.serving.lean.worker import run_worker

            exit_code = run_worker(
                self._settings,
                self._capacity,
                listener=self._listener,
                crowd=self._crowd,
                place=place,
                counters_path=self._counters_path,
                container_id=self._container_id,
                ready_fd=ready_write,
                lifeline_fd=self._lifeline[0],
            )
        except BaseException:  # noqa: BLE001 - nothing may unwind into the supervisor's frames
            traceback.print_exc()
        finally:
            os._exit(exit_code)

    def _ready_fds(self) -> list[int]:
        return [worker.ready_fd for worker in self._workers.values() if not worker.is_ready]

    def _note_ready(self, readable: list[int]) -> None:
        for pid, worker in self._workers.items():
            if worker.ready_fd in readable and os.read(worker.ready_fd, 1):
                worker.is_ready = True
                self._failed_starts = 0
                self._log.event("worker ready", worker=pid)

    def _note_end(self, pid: int, exit_code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return  # an orphan that PID 1 inherited
        self._crowd.note(worker.place, CLOSED)
        self._note_ready_at_last(worker)
        os.close(worker.ready_fd)
        self._log.event("worker ended", "warning", worker=pid, how=say_how(exit_code))
        if exit_code == EXIT_LOAD_REFUSED:
            raise ServerError("The model cannot be loaded", remedy="The log above says why")
        if not worker.is_ready:
            self._back_off(exit_code)

    @staticmethod
    def _note_ready_at_last(worker: LeanWorker) -> None:
        """A worker may become ready and die between two looks."""
        os.set_blocking(worker.ready_fd, False)
        worker.is_ready = worker.is_ready or bool(os.read(worker.ready_fd, 1))

    def _back_off(self, exit_code: int) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ServerError(
                f"{MAX_FAILED_STARTS} workers in a row died before they were ready "
                f"({say_how(exit_code)})",
                remedy="SIGKILL while loading mostly means too little memory",
            )
        delay_s = FIRST_BACKOFF_S * 2 ** (self._failed_starts - 1)
        self._start_not_before = self._clock() + delay_s

    def _stop(self) -> int:
        """Accept nothing new at once; the workers finish what they have."""
        self._log.event("stopping", workers=len(self._workers))
        self._listener.close()
        for pid in self._workers:
            send(pid, signal.SIGTERM)
        exit_codes: list[int] = []
        deadline = self._clock() + self._settings.drain_s + KILL_GRACE_S
        while self._workers and (left_s := deadline - self._clock()) > 0:
            self._collect(exit_codes)
            if self._workers:
                self._signals.wait(left_s)
        is_drained = not self._workers and all(code in {0, -signal.SIGTERM} for code in exit_codes)
        self._log.event("stopped", "info" if is_drained else "warning", drained=is_drained)
        return 0 if is_drained else 1

    def _collect(self, exit_codes: list[int]) -> None:
        for pid, exit_code in reap():
            if self._workers.pop(pid, None) is not None:
                exit_codes.append(exit_code)

    def _kill_all(self) -> None:
        for pid in self._workers:
            send(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)
        self._workers.clear()
        for fd in self._lifeline:
            os.close(fd)

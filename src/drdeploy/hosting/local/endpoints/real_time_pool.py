"""A pool of a fixed number of workers that are always there."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import WorkerLease, WorkerNotReady
from drdeploy.hosting.local.endpoints.worker import wait_until_ready
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.worker import InstanceWorker

log = logging.getLogger(__name__)

RECOVERY_S = 20.0
"""How long an instance that dropped a request may take to answer ``GET /ping`` again."""
RETRY_AFTER_S = 5.0


class RealTimePool:
    """See the module.

    Args:
        count: Workers.
        launch: Starts one; raises :class:`StartFailed`.
        retire: Takes a worker that is no longer wanted; returns at once.
        clock: For waiting.
    """

    def __init__(
        self,
        count: int,
        *,
        launch: Callable[[], InstanceWorker],
        retire: Callable[[InstanceWorker], None],
        clock: Clock | None = None,
    ) -> None:
        self._count = count
        self._launch = launch
        self._retire = retire
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._in_flight: dict[InstanceWorker, int] = {}
        self._leaving: dict[InstanceWorker, int] = {}
        self._in_doubt: set[InstanceWorker] = set()
        self._coming = 0
        self._retry_at = 0.0
        self._closed = False

    def prepare(self) -> None:
        """Start every worker.

        Raises:
            StartFailed: One did not start.
        """
        with ThreadPoolExecutor(self._count) as executor:
            starts = [executor.submit(self._launch) for _ in range(self._count)]
        failures = [failure for start in starts if (failure := start.exception())]
        with self._changed:
            self._in_flight = {start.result(): 0 for start in starts if not start.exception()}
        if self._closed:
            self.close()
        if failures:
            raise failures[0]

    def acquire(self, wait_s: float) -> WorkerLease:
        """The worker with the fewest requests under way.

        Raises:
            NotReady: None is there, nor came within ``wait_s``.
        """
        with self._changed:
            self._replace_dead()
            if not self._changed.wait_for(self._choosable, wait_s):
                raise WorkerNotReady(f"no instance within {wait_s:g} s")
            worker = min(self._choosable(), key=self._in_flight.__getitem__)
            self._in_flight[worker] += 1
        return WorkerLease(worker, None)

    def release(self, lease: WorkerLease, *, broken: bool) -> None:
        """Give the worker back; one that dropped a request is looked at before the next."""
        worker = lease.worker
        with self._changed:
            if worker in self._leaving:
                self._finish_leaving(worker)
            elif worker in self._in_flight:
                self._in_flight[worker] -= 1
                if broken:
                    self._doubt(worker)

    def tick(self) -> None:
        """Replace what died; follow a changed count."""
        with self._changed:
            if not self._closed:
                self._replace_dead()

    def resize(self, count: int) -> None:
        """Change the number of workers; :meth:`tick` follows."""
        with self._changed:
            self._count = count

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Those that are up."""
        with self._changed:
            return tuple(self._in_flight)

    def utilization(self) -> None:
        """Real-time variants have no limit of concurrency."""

    def close(self) -> None:
        """Retire the workers as their last requests end."""
        with self._changed:
            self._closed = True
            for worker in tuple(self._in_flight):
                self._leave(worker)

    # -- with the lock held ------------------------------------------------------------

    def _replace_dead(self) -> None:
        for worker in [worker for worker in self._in_flight if not worker.is_usable()]:
            self._leave(worker)
        for worker in tuple(self._in_flight)[self._count :]:
            self._leave(worker)
        missing = self._count - len(self._in_flight) - self._coming
        if missing > 0 and not self._closed and self._clock.monotonic() >= self._retry_at:
            self._coming += missing
            for _ in range(missing):
                threading.Thread(target=self._bring, daemon=True).start()

    def _choosable(self) -> set[InstanceWorker]:
        return self._in_flight.keys() - self._in_doubt

    def _leave(self, worker: InstanceWorker) -> None:
        self._leaving[worker] = self._in_flight.pop(worker) + 1
        self._finish_leaving(worker)

    def _finish_leaving(self, worker: InstanceWorker) -> None:
        self._leaving[worker] -= 1
        if not self._leaving[worker]:
            del self._leaving[worker]
            self._retire(worker)

    def _doubt(self, worker: InstanceWorker) -> None:
        """Nothing new for it until it answers again: it may just replace a process of its own."""
        if not worker.is_usable():
            self._replace_dead()
        elif worker not in self._in_doubt:
            self._in_doubt.add(worker)
            threading.Thread(target=self._check, args=(worker,), daemon=True).start()

    # -- threads of their own ----------------------------------------------------------

    def _bring(self) -> None:
        worker = None
        try:
            worker = self._launch()
        except StartFailed as err:
            log.warning("an instance could not be replaced: %s", err)
        finally:
            with self._changed:
                self._coming -= 1
                if worker is None:
                    self._retry_at = self._clock.monotonic() + RETRY_AFTER_S
                elif self._closed:
                    self._retire(worker)
                else:
                    self._in_flight[worker] = 0
                self._changed.notify_all()

    def _check(self, worker: InstanceWorker) -> None:
        deadline = self._clock.monotonic() + RECOVERY_S
        try:
            wait_until_ready(worker.instance, deadline, self._clock)
        except StartFailed:
            is_lost = True
        else:
            is_lost = False
        with self._changed:
            self._in_doubt.discard(worker)
            if is_lost and worker in self._in_flight:
                self._leave(worker)
                self._replace_dead()
            self._changed.notify_all()

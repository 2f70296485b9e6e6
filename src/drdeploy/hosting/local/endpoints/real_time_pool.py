"""A real-time endpoint's pool: a fixed number of workers, always running, any number of requests.

Unlike a serverless worker, a real-time one takes requests concurrently, as many as come: SageMaker
sets no limit, the server inside does.  Every request goes to the worker with the fewest in
progress, which is SageMaker's ``LEAST_OUTSTANDING_REQUESTS`` (API reference,
``ProductionVariantRoutingConfig``).

A worker that fails to answer a request is *suspect*: the server may only be restarting a process
of its own (Gunicorn replaces a killed worker), so it gets no further request until it answers
``GET /ping`` again, and is replaced if it does not.  A worker that leaves the pool finishes the
requests that it has before it is stopped.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import WorkerLease, WorkerNotReady
from drdeploy.hosting.local.endpoints.worker import InstanceWorker, wait_until_ready
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

RECOVERY_S = 20.0
"""How long a suspect worker may take to answer ``GET /ping`` again."""
RETRY_AFTER_S = 5.0
"""After a failed start, how long until the next one is tried."""


class RealTimePool:
    """A real-time endpoint's pool of workers.

    Args:
        count: Number of workers.
        launch: Starts a worker and returns it once it is ready; raises :class:`StartFailed`.
        retire: Stops a worker; returns at once.
        clock: Measures waits.
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
        # Requests in progress of each worker, in the pool and on its way out of it.
        self._in_flight: dict[InstanceWorker, int] = {}
        self._leaving: dict[InstanceWorker, int] = {}
        self._suspect: set[InstanceWorker] = set()
        self._starting = 0
        self._retry_at = 0.0
        self._is_closed = False

    def prepare(self) -> None:
        """Start every worker.

        Raises:
            StartFailed: A worker did not start.
        """
        with ThreadPoolExecutor(self._count) as executor:
            starts = [executor.submit(self._launch) for _ in range(self._count)]
        failures = [failure for start in starts if (failure := start.exception())]
        with self._changed:
            self._in_flight = {start.result(): 0 for start in starts if not start.exception()}
        if self._is_closed:  # the endpoint was deleted while they started
            self.close()
        if failures:
            raise failures[0]

    def acquire(self, wait_s: float) -> WorkerLease:
        """Reserve the worker with the fewest requests in progress.

        Raises:
            WorkerNotReady: No worker is ready, and none became ready within ``wait_s``.
        """
        with self._changed:
            self._replace_dead_and_surplus()
            if not self._changed.wait_for(self._available, wait_s):
                raise WorkerNotReady(f"no instance within {wait_s:g} s")
            worker = min(self._available(), key=self._in_flight.__getitem__)
            self._in_flight[worker] += 1
        return WorkerLease(worker, None)

    def release(self, lease: WorkerLease, *, broken: bool) -> None:
        """Return a worker; one that failed to answer is examined before its next request."""
        worker = lease.worker
        with self._changed:
            if worker in self._leaving:
                self._finish_leaving(worker)
            elif worker in self._in_flight:
                self._in_flight[worker] -= 1
                if broken and not worker.is_usable():
                    self._replace_dead_and_surplus()
                elif broken and worker not in self._suspect:
                    self._suspect.add(worker)
                    threading.Thread(target=self._examine, args=(worker,), daemon=True).start()

    def tick(self) -> None:
        """Replace dead workers, and follow a changed count."""
        with self._changed:
            if not self._is_closed:
                self._replace_dead_and_surplus()

    def resize(self, count: int) -> None:
        """Change the number of workers; :meth:`tick` starts and stops them."""
        with self._changed:
            self._count = count

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Return the workers that are in the pool."""
        with self._changed:
            return tuple(self._in_flight)

    def utilization(self) -> None:
        """Return None: a real-time variant has no limit of concurrency."""

    def close(self) -> None:
        """Stop each worker as its last request ends."""
        with self._changed:
            self._is_closed = True
            for worker in tuple(self._in_flight):
                self._leave(worker)

    # -- called with the lock held -------------------------------------------------------

    def _replace_dead_and_surplus(self) -> None:
        for worker in [worker for worker in self._in_flight if not worker.is_usable()]:
            self._leave(worker)
        for worker in tuple(self._in_flight)[self._count :]:
            self._leave(worker)
        missing = self._count - len(self._in_flight) - self._starting
        if missing > 0 and not self._is_closed and self._clock.monotonic() >= self._retry_at:
            self._starting += missing
            for _ in range(missing):
                threading.Thread(target=self._start_worker, daemon=True).start()

    def _available(self) -> set[InstanceWorker]:
        return self._in_flight.keys() - self._suspect

    def _leave(self, worker: InstanceWorker) -> None:
        # One more than its requests, for the departure itself, which _finish_leaving takes off.
        self._leaving[worker] = self._in_flight.pop(worker) + 1
        self._finish_leaving(worker)

    def _finish_leaving(self, worker: InstanceWorker) -> None:
        self._leaving[worker] -= 1
        if not self._leaving[worker]:
            del self._leaving[worker]
            self._retire(worker)

    # -- in threads of their own ---------------------------------------------------------

    def _start_worker(self) -> None:
        worker = None
        try:
            worker = self._launch()
        except StartFailed as err:
            log.warning("an instance could not be replaced: %s", err)
        finally:
            with self._changed:
                self._starting -= 1
                if worker is None:
                    self._retry_at = self._clock.monotonic() + RETRY_AFTER_S
                elif self._is_closed:
                    self._retire(worker)
                else:
                    self._in_flight[worker] = 0
                self._changed.notify_all()

    def _examine(self, worker: InstanceWorker) -> None:
        has_recovered = False
        with contextlib.suppress(StartFailed):
            wait_until_ready(worker.instance, self._clock.monotonic() + RECOVERY_S, self._clock)
            has_recovered = True
        with self._changed:
            self._suspect.discard(worker)
            if not has_recovered and worker in self._in_flight:
                self._leave(worker)
                self._replace_dead_and_surplus()
            self._changed.notify_all()

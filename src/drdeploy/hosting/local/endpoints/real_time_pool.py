"""The pool of a real-time endpoint, with a fixed number of workers that always run.

Unlike a serverless worker, a real-time worker takes any number of concurrent requests. Only the
server in the container limits the number. Each request goes to the worker with the fewest requests
in progress, like SageMaker's ``LEAST_OUTSTANDING_REQUESTS``. If the variant asks for ``RANDOM``,
the worker is chosen at random (API reference, ``ProductionVariantRoutingConfig``).

A worker that fails to answer a request is *suspect*. It is not replaced at once, because its server
may be restarting a process, and then recover. A suspect worker gets no further request until it
answers ``GET /ping`` again. If it does not answer in time, it is replaced. A worker that leaves the
pool finishes its requests before it is stopped.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import PoolLoad, WorkerLease, WorkerNotReady
from drdeploy.hosting.local.endpoints.worker import InstanceWorker, wait_until_ready
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

RECOVERY_S = 20.0
"""Seconds that a suspect worker may take to answer ``GET /ping`` again."""
RETRY_AFTER_S = 5.0
"""Seconds between a failed start and the next try."""


class RealTimePool:
    """A real-time endpoint's pool of workers.

    Args:
        count: The number of workers.
        launch: Starts a worker, and returns it when it is ready; raises :class:`StartFailed`.
        retire: Stops a worker in the background.
        clock: The clock that measures waits.
        is_random: Whether the worker for a request is chosen at random. Otherwise, the request goes
            to the least busy worker.
    """

    def __init__(
        self,
        count: int,
        *,
        launch: Callable[[], InstanceWorker],
        retire: Callable[[InstanceWorker], None],
        clock: Clock | None = None,
        is_random: bool = False,
    ) -> None:
        self._count = count
        self._is_random = is_random
        self._launch = launch
        self._retire = retire
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        # The number of requests in progress on each worker, including workers that are leaving the
        # pool.
        self._in_flight: dict[InstanceWorker, int] = {}
        self._leaving: dict[InstanceWorker, int] = {}
        self._suspect: set[InstanceWorker] = set()
        self._starting = 0
        self._retry_at = 0.0
        self._is_closed = False

    def start_first_workers(self) -> None:
        """Start every worker.

        Raises:
            StartFailed: A worker did not start.
        """
        with ThreadPoolExecutor(max(1, self._count)) as executor:
            starts = [executor.submit(self._launch) for _ in range(self._count)]
        failures = [failure for start in starts if (failure := start.exception())]
        with self._changed:
            self._in_flight = {start.result(): 0 for start in starts if not start.exception()}
        if self._is_closed:  # the endpoint was deleted meanwhile
            self.close()
        if failures:
            raise failures[0]

    def lease_worker(self, wait_s: float, *, most: int | None = None) -> WorkerLease:
        """Reserve the worker with the fewest requests in progress, or a random one.

        The routing strategy of the variant decides which of the two.

        Args:
            wait_s: Seconds to wait for a worker.
            most: The largest number of requests that a worker may process at a time; None means any
                number.

        Raises:
            WorkerNotReady: No worker became ready within ``wait_s``, or all have ``most`` requests.
        """
        with self._changed:
            self._replace_dead_and_surplus()
            if not self._changed.wait_for(lambda: self._find_available_workers(most), wait_s):
                raise WorkerNotReady(f"no instance became free within {wait_s:g} s")
            available = self._find_available_workers(most)
            worker = (
                random.choice(tuple(available))
                if self._is_random
                else min(available, key=self._in_flight.__getitem__)
            )
            self._in_flight[worker] += 1
        return WorkerLease(worker, None)

    def return_worker(self, lease: WorkerLease, *, broken: bool) -> None:
        """Give back a worker; if it is broken, it gets no request before it answers a ping."""
        worker = lease.worker
        with self._changed:
            if worker in self._leaving:
                self._retire_worker_when_idle(worker)
            elif worker in self._in_flight:
                self._in_flight[worker] -= 1
                self._changed.notify_all()
                if broken and not worker.is_usable():
                    self._replace_dead_and_surplus()
                elif broken and worker not in self._suspect:
                    self._suspect.add(worker)
                    threading.Thread(
                        target=self._examine_suspect_worker, args=(worker,), daemon=True
                    ).start()

    def maintain_workers(self) -> None:
        """Replace dead workers, and start or stop workers after a change of the count."""
        with self._changed:
            if not self._is_closed:
                self._replace_dead_and_surplus()

    def set_worker_count(self, count: int) -> None:
        """Change the number of workers; :meth:`maintain_workers` starts and stops them."""
        with self._changed:
            self._count = count

    def has_enough_workers(self) -> bool:
        """Return whether as many workers are ready as the pool should have."""
        with self._changed:
            return len(self._find_available_workers()) >= self._count

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Return the workers that are in the pool."""
        with self._changed:
            return tuple(self._in_flight)

    def measure_load(self) -> PoolLoad:
        """Return how busy the pool is."""
        with self._changed:
            return PoolLoad(sum(self._in_flight.values()), len(self._in_flight))

    def close(self) -> None:
        """Stop each worker when its last request ends."""
        with self._changed:
            self._is_closed = True
            for worker in tuple(self._in_flight):
                self._remove_worker_from_pool(worker)

    # -- called with the lock held -------------------------------------------------------

    def _replace_dead_and_surplus(self) -> None:
        for worker in [worker for worker in self._in_flight if not worker.is_usable()]:
            self._remove_worker_from_pool(worker)
        for worker in tuple(self._in_flight)[self._count :]:
            self._remove_worker_from_pool(worker)
        missing = self._count - len(self._in_flight) - self._starting
        if missing > 0 and not self._is_closed and self._clock.monotonic() >= self._retry_at:
            self._starting += missing
            for _ in range(missing):
                threading.Thread(target=self._start_worker, daemon=True).start()

    def _find_available_workers(self, most: int | None = None) -> set[InstanceWorker]:
        return {
            worker
            for worker, count in self._in_flight.items()
            if worker not in self._suspect and (most is None or count < most)
        }

    def _remove_worker_from_pool(self, worker: InstanceWorker) -> None:
        # Count one more than the worker's requests, until _retire_worker_when_idle subtracts one.
        self._leaving[worker] = self._in_flight.pop(worker) + 1
        self._retire_worker_when_idle(worker)

    def _retire_worker_when_idle(self, worker: InstanceWorker) -> None:
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

    def _examine_suspect_worker(self, worker: InstanceWorker) -> None:
        has_recovered = False
        with contextlib.suppress(StartFailed):
            wait_until_ready(worker.instance, self._clock.monotonic() + RECOVERY_S, self._clock)
            has_recovered = True
        with self._changed:
            self._suspect.discard(worker)
            if not has_recovered and worker in self._in_flight:
                self._remove_worker_from_pool(worker)
                self._replace_dead_and_surplus()
            self._changed.notify_all()

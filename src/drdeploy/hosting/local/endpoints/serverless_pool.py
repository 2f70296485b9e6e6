"""The pool of a serverless endpoint, whose workers start on demand and take one request at a time.

The pool behaves as the SageMaker AI developer guide says ("Deploy models with Amazon SageMaker
Serverless Inference" and "Provisioned Concurrency"):

* A worker handles one request at a time, so ``MaxConcurrency`` limits both workers and requests.
* A request that finds an idle worker is *warm*. If no worker is idle, the request starts a worker
  and waits for it, which is a *cold start*. A serverless pool has no queue, so requests beyond
  ``MaxConcurrency`` are throttled.
* Workers that stay idle are stopped, until no worker is left.
* ``ProvisionedConcurrency`` is a number of workers that are started before the first request. They
  are not stopped when they are idle. If all of them are busy, further requests start workers on
  demand.

Each start of a worker runs in its own thread. The request that caused a start may give up before
the worker is ready. The start then becomes *unclaimed*, and the next request waits for this start
instead of beginning another. A request never waits for a start that another request has claimed,
because the worker will be busy as soon as it is ready.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import (
    ConcurrencyLimitReached,
    PoolLoad,
    WorkerLease,
    WorkerNotReady,
)
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.worker import InstanceWorker

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5.0
"""Seconds after a failed start before a provisioned worker is started again. Without a pause, a
container that cannot start would be started four times a second.
"""


@dataclass(frozen=True)
class PoolScaling:
    """The limits between which a serverless pool scales.

    Attributes:
        max_concurrency: The largest number of workers at once, which is also the largest number of
            requests at once.
        provisioned: The number of workers that are kept ready without any request.
        idle_s: Seconds that a worker may stay idle, unless it is a provisioned worker.
    """

    max_concurrency: int
    provisioned: int
    idle_s: float


@dataclass(eq=False)
class _Start:
    """The start of a worker; it is *claimed* as long as a request waits for the worker."""

    future: Future[InstanceWorker] = field(default_factory=Future)
    is_claimed: bool = False


class ServerlessPool:
    """A serverless endpoint's pool of workers.

    Args:
        scaling: The limits between which the pool scales.
        launch: Starts a worker, and returns it when it is ready; raises :class:`StartFailed`.
        trial: Starts a worker and stops it again, to find out whether a worker can start. None
            means that there is no trial.
        retire: Stops a worker in the background.
        clock: The clock that measures idle times.
    """

    def __init__(
        self,
        scaling: PoolScaling,
        *,
        launch: Callable[[], InstanceWorker],
        trial: Callable[[], None] | None,
        retire: Callable[[InstanceWorker], None],
        clock: Clock | None = None,
    ) -> None:
        self._scaling = scaling
        self._launch = launch
        self._trial = trial
        self._retire = retire
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._idle: list[InstanceWorker] = []  # the most recently used one is last
        self._busy: set[InstanceWorker] = set()
        self._starts: list[_Start] = []
        self._is_closed = False
        self._retry_at = 0.0

    def start_first_workers(self) -> None:
        """Start the provisioned workers; if there are none, try to start one worker and stop it.

        AWS also starts a serverless container when its endpoint is created. If the container does
        not start, the endpoint fails. The trial worker is not kept, so the first request is a cold
        start.

        Raises:
            StartFailed: A worker did not start.
        """
        if self._scaling.provisioned:
            with self._lock:
                starts = [self._begin_worker_start() for _ in range(self._scaling.provisioned)]
            for start in starts:
                start.future.result()
        elif self._trial is not None:
            self._trial()

    def lease_worker(self, wait_s: float, *, most: int | None = None) -> WorkerLease:
        """Reserve an idle worker for one request, or start one and wait for it.

        ``most`` has no effect here, because a worker handles one request at a time.

        Raises:
            ConcurrencyLimitReached: ``max_concurrency`` requests are in progress.
            WorkerNotReady: The worker is not ready within ``wait_s``; its start continues.
            StartFailed: The worker did not start.
        """
        del most
        with self._lock:
            self._drop_dead_and_expired()
            if self._idle:
                # Take the most recently used worker. The other workers then reach their idle time,
                # and the pool shrinks to what the traffic needs.
                worker = self._idle.pop()
                self._busy.add(worker)
                return WorkerLease(worker, None)
            start = next((one for one in self._starts if not one.is_claimed), None)
            if start is None:
                if self._count_workers() >= self._scaling.max_concurrency:
                    raise ConcurrencyLimitReached
                start = self._begin_worker_start()
            start.is_claimed = True
        try:
            worker = start.future.result(wait_s)
        except TimeoutError as err:
            with self._lock:
                start.is_claimed = False
                has_ended = start not in self._starts
            # The worker may have become ready after the timeout, before this line. It then counts
            # as busy with this request, and must be released here.
            if has_ended and start.future.exception() is None:
                self.return_worker(WorkerLease(start.future.result(), None), broken=False)
            raise WorkerNotReady(f"no worker became free within {wait_s:g} s") from err
        return WorkerLease(worker, worker.setup_s)

    def return_worker(self, lease: WorkerLease, *, broken: bool) -> None:
        """Give a worker back to the pool; a broken worker is stopped instead."""
        worker = lease.worker
        with self._lock:
            self._busy.discard(worker)
            is_kept = not broken and not self._is_closed
            if is_kept:
                worker.idle_since = self._clock.monotonic()
                self._idle.append(worker)
        if not is_kept:
            self._retire(worker)

    def maintain_workers(self) -> None:
        """Stop dead workers and workers idle for too long; start missing provisioned workers."""
        with self._lock:
            if self._is_closed:
                return
            self._drop_dead_and_expired()
            missing = self._scaling.provisioned - self._count_workers()
            if missing > 0 and self._clock.monotonic() >= self._retry_at:
                for _ in range(missing):
                    self._begin_worker_start()

    def set_limits(self, *, max_concurrency: int, provisioned: int) -> None:
        """Change the limits of a pool in service.

        :meth:`maintain_workers` then starts and stops workers.
        """
        with self._lock:
            self._scaling = PoolScaling(max_concurrency, provisioned, self._scaling.idle_s)

    def has_enough_workers(self) -> bool:
        """Return True, because a serverless worker starts when a request needs it."""
        return True

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Return the workers that are idle or busy."""
        with self._lock:
            return (*self._idle, *self._busy)

    def measure_load(self) -> PoolLoad:
        """Return how busy the pool is."""
        with self._lock:
            return PoolLoad(
                len(self._busy),
                len(self._idle) + len(self._busy),
                self._scaling.max_concurrency,
                self._scaling.provisioned,
            )

    def close(self) -> None:
        """Stop all idle workers now, and each busy worker when it is released."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            self._retire(worker)

    # -- called with the lock held -------------------------------------------------------

    def _count_workers(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._starts)

    def _drop_dead_and_expired(self) -> None:
        alive = [worker for worker in self._idle if worker.is_usable()]
        expiry = self._clock.monotonic() - self._scaling.idle_s
        # Busy workers count as provisioned workers too, because they will be idle again.
        surplus = max(0, len(alive) + len(self._busy) - self._scaling.provisioned)
        expired = [worker for worker in alive if worker.idle_since <= expiry][:surplus]
        kept = [worker for worker in alive if worker not in expired]
        for worker in set(self._idle) - set(kept):
            self._retire(worker)
        self._idle = kept

    def _begin_worker_start(self) -> _Start:
        start = _Start()
        self._starts.append(start)
        threading.Thread(target=self._run_worker_start, args=(start,), daemon=True).start()
        return start

    # -- in the start's own thread -------------------------------------------------------

    def _run_worker_start(self, start: _Start) -> None:
        try:
            worker = self._launch()
        except Exception as err:
            failure = err if isinstance(err, StartFailed) else None
            if failure is None:
                # Without this handler, the request would wait for its whole time limit.
                log.exception("a worker could not be started")
                failure = StartFailed(f"The container cannot be started: {err}")
            with self._lock:
                self._starts.remove(start)
                self._retry_at = self._clock.monotonic() + RETRY_AFTER_S
            start.future.set_exception(failure)
            return
        with self._lock:
            self._starts.remove(start)
            # A claimed worker serves its request even if the endpoint was deleted meanwhile;
            # return_worker() then stops it.
            is_unwanted = self._is_closed and not start.is_claimed
            if start.is_claimed:
                self._busy.add(worker)
            elif not is_unwanted:
                self._idle.append(worker)
        if is_unwanted:
            self._retire(worker)
            start.future.set_exception(
                StartFailed("The endpoint was deleted while it was being created")
            )
            return
        start.future.set_result(worker)

"""A pool that starts workers on demand, one request each at a time, and scales to zero."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import (
    ConcurrencyLimitReached,
    WorkerLease,
    WorkerNotReady,
)
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.worker import InstanceWorker

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5.0
"""Between attempts to keep provisioned workers when starting them fails."""


@dataclass(frozen=True)
class PoolScaling:
    """How far the pool goes.

    Attributes:
        max_concurrency: Workers, and so requests, at once.
        provisioned: Workers kept without any request.
        idle_s: How long a worker beyond those waits for its next request.
    """

    max_concurrency: int
    provisioned: int
    idle_s: float


@dataclass(eq=False)
class _Start:
    """A worker on its way; ``claimed`` while a request waits for it."""

    future: Future[InstanceWorker] = field(default_factory=Future)
    claimed: bool = False


class ServerlessPool:
    """See the module.

    Args:
        scaling: How far it goes.
        launch: Starts a worker; raises :class:`StartFailed`.
        trial: Starts one to see whether it starts at all, and stops it.
        retire: Takes a worker that is no longer wanted; returns at once.
        clock: For idle times.
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
        self._idle: list[InstanceWorker] = []
        self._busy: set[InstanceWorker] = set()
        self._starts: list[_Start] = []
        self._closed = False
        self._retry_at = 0.0

    def prepare(self) -> None:
        """Start the provisioned workers, or one on trial, which then stops: the first is cold.

        Raises:
            StartFailed: One did not start.
        """
        if self._scaling.provisioned:
            with self._lock:
                starts = [self._begin() for _ in range(self._scaling.provisioned)]
            for start in starts:
                start.future.result()
        elif self._trial is not None:
            self._trial()

    def acquire(self, wait_s: float) -> WorkerLease:
        """A worker for one request, started if need be.

        Raises:
            Saturated: ``max_concurrency`` requests are under way.
            NotReady: The worker is not up within ``wait_s``; its start goes on.
            StartFailed: It did not start.
        """
        with self._lock:
            self._drop_unusable()
            if self._idle:
                worker = self._idle.pop()
                self._busy.add(worker)
                return WorkerLease(worker, None)
            start = self._claim()
        try:
            worker = start.future.result(wait_s)
        except TimeoutError as err:
            self._abandon(start)
            raise WorkerNotReady(f"not up within {wait_s:g} s") from err
        return WorkerLease(worker, worker.setup_s)

    def release(self, lease: WorkerLease, *, broken: bool) -> None:
        """Give the worker back; a broken one is replaced by the next request."""
        worker = lease.worker
        with self._lock:
            self._busy.discard(worker)
            keep = not broken and not self._closed
            if keep:
                worker.idle_since = self._clock.monotonic()
                self._idle.append(worker)
        if not keep:
            self._retire(worker)

    def tick(self) -> None:
        """Let idle workers go, keep the provisioned ones up."""
        with self._lock:
            if self._closed:
                return
            self._drop_unusable()
            missing = self._scaling.provisioned - self._count()
            if missing > 0 and self._clock.monotonic() >= self._retry_at:
                for _ in range(missing):
                    self._begin()

    def resize(self, *, max_concurrency: int | None, provisioned: int | None) -> None:
        """Change the scaling of a pool in service; :meth:`tick` follows."""
        with self._lock:
            self._scaling = PoolScaling(
                max_concurrency or self._scaling.max_concurrency,
                self._scaling.provisioned if provisioned is None else provisioned,
                self._scaling.idle_s,
            )

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Those that are up."""
        with self._lock:
            return (*self._idle, *self._busy)

    def utilization(self) -> float:
        """Requests under way over ``max_concurrency``."""
        with self._lock:
            return len(self._busy) / self._scaling.max_concurrency

    def close(self) -> None:
        """Retire every idle worker, and the others as soon as they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            self._retire(worker)

    # -- with the lock held ------------------------------------------------------------

    def _count(self) -> int:
        return len(self._idle) + len(self._busy) + len(self._starts)

    def _drop_unusable(self) -> None:
        """Idle workers that died, and the longest idle of those whose time is over."""
        usable = [worker for worker in self._idle if worker.is_usable()]
        oldest = self._clock.monotonic() - self._scaling.idle_s
        surplus = len(usable) + len(self._busy) - self._scaling.provisioned
        expired = [worker for worker in usable if worker.idle_since <= oldest][: max(0, surplus)]
        kept = [worker for worker in usable if worker not in expired]
        for worker in set(self._idle) - set(kept):
            self._retire(worker)
        self._idle = kept

    def _claim(self) -> _Start:
        unclaimed = next((start for start in self._starts if not start.claimed), None)
        if unclaimed is None and self._count() >= self._scaling.max_concurrency:
            raise ConcurrencyLimitReached(str(self._scaling.max_concurrency))
        start = unclaimed or self._begin()
        start.claimed = True
        return start

    def _begin(self) -> _Start:
        start = _Start()
        self._starts.append(start)
        threading.Thread(target=self._run, args=(start,), daemon=True).start()
        return start

    # -- the start's own thread --------------------------------------------------------

    def _run(self, start: _Start) -> None:
        try:
            worker = self._launch()
        except StartFailed as err:
            self._fail(start, err)
        except Exception as err:
            log.exception("a worker could not be started")
            self._fail(start, StartFailed(f"The container cannot be started: {err}"))
        else:
            self._arrive(start, worker)

    def _fail(self, start: _Start, err: StartFailed) -> None:
        with self._lock:
            self._starts.remove(start)
            self._retry_at = self._clock.monotonic() + RETRY_AFTER_S
        start.future.set_exception(err)

    def _arrive(self, start: _Start, worker: InstanceWorker) -> None:
        with self._lock:
            self._starts.remove(start)
            is_unwanted = self._closed and not start.claimed
            if start.claimed:
                self._busy.add(worker)
            elif not is_unwanted:
                self._idle.append(worker)
        if is_unwanted:
            self._retire(worker)
            start.future.set_exception(StartFailed("The endpoint was deleted meanwhile"))
            return
        start.future.set_result(worker)

    def _abandon(self, start: _Start) -> None:
        """Nobody waits any more; had it just arrived, the worker becomes an idle one."""
        with self._lock:
            start.claimed = False
            arrived = start not in self._starts
        if arrived and start.future.exception() is None:
            self.release(WorkerLease(start.future.result(), None), broken=False)

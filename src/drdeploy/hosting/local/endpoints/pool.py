"""What the two kinds of worker pools have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker


class ConcurrencyLimitReached(Exception):
    """As many requests as the variant's ``MaxConcurrency`` allows are in progress.

    Attributes:
        limit: ``MaxConcurrency``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} requests are in progress")
        self.limit = limit


class WorkerNotReady(Exception):
    """No worker became ready in the time that a request may wait."""


@dataclass(frozen=True, eq=False)
class WorkerLease:
    """A worker, reserved for one request until it is released.

    Attributes:
        worker: The reserved worker.
        setup_s: Seconds that it took to start, if it was started for this request; else None.
    """

    worker: InstanceWorker
    setup_s: float | None


class WorkerPool(Protocol):
    """The workers of one variant; safe to use from several threads."""

    def prepare(self) -> None:
        """Start the workers that must be ready before the endpoint is in service.

        Raises:
            StartFailed: A worker did not start.
        """
        ...

    def acquire(self, wait_s: float) -> WorkerLease:
        """Reserve a worker for one request.

        Raises:
            ConcurrencyLimitReached: The variant accepts no further request now.
            WorkerNotReady: No worker became ready within ``wait_s``.
            StartFailed: The worker that the request waited for did not start.
        """
        ...

    def release(self, lease: WorkerLease, *, broken: bool) -> None:
        """Return a worker to the pool; ``broken`` if it failed to answer."""
        ...

    def tick(self) -> None:
        """Stop idle workers, replace dead ones, start missing ones.

        Called a few times a second.
        """
        ...

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Return the workers that are ready or busy."""
        ...

    def utilization(self) -> float | None:
        """Return the share of ``MaxConcurrency`` in use; None where there is no such limit."""
        ...

    def close(self) -> None:
        """Accept no more requests, and stop each worker once it is idle."""
        ...

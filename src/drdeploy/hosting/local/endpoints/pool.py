"""What a variant's workers are, whichever way they scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker


class ConcurrencyLimitReached(Exception):
    """Every worker that may be is busy."""


class WorkerNotReady(Exception):
    """No worker came up in the time that a request may wait."""


@dataclass(frozen=True, eq=False)
class WorkerLease:
    """A worker for one request.

    Attributes:
        worker: Whose it is.
        setup_s: How long it was started for, if it was started for this request.
    """

    worker: InstanceWorker
    setup_s: float | None


class WorkerPool(Protocol):
    """The workers of one variant; safe to use from several threads."""

    def prepare(self) -> None:
        """Bring up what must be there before the endpoint is in service.

        Raises:
            StartFailed: A worker did not start.
        """
        ...

    def acquire(self, wait_s: float) -> WorkerLease:
        """A worker for one request.

        Raises:
            Saturated: The variant takes no further request now.
            NotReady: None came up within ``wait_s``.
            StartFailed: It did not start.
        """
        ...

    def release(self, lease: WorkerLease, *, broken: bool) -> None:
        """Give the worker back; ``broken`` if it did not answer."""
        ...

    def tick(self) -> None:
        """Called a few times a second: let go, replace, replenish."""
        ...

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Those that are up."""
        ...

    def utilization(self) -> float | None:
        """Share of the permitted concurrency in use; None where there is no such limit."""
        ...

    def close(self) -> None:
        """Take nothing new; retire the workers as they fall idle."""
        ...

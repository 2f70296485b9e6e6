"""What the two kinds of worker pools have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker


class ConcurrencyLimitReached(Exception):
    """As many requests as the variant's ``MaxConcurrency`` allows are in progress."""


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

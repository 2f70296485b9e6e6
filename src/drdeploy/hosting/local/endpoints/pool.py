"""Definitions that the pools of real-time endpoints and of serverless endpoints share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker


class ConcurrencyLimitReached(Exception):
    """The variant already handles as many requests as its ``MaxConcurrency`` allows."""


class WorkerNotReady(Exception):
    """No worker became ready while the request waited, or the variant has no model."""


@dataclass(frozen=True)
class PoolLoad:
    """How busy the workers of a pool are.

    Attributes:
        requests: The number of requests in progress.
        workers: The number of workers that are ready.
        max_concurrency: The largest number of requests at once; None for a real-time variant.
        provisioned: The number of workers of a serverless variant that are always kept ready.
    """

    requests: int
    workers: int
    max_concurrency: int | None = None
    provisioned: int = 0


@dataclass(frozen=True, eq=False)
class WorkerLease:
    """A worker, reserved for one request until it is released.

    Attributes:
        worker: The reserved worker.
        setup_s: Seconds that the worker took to start, if it was started for the request; else
            None.
    """

    worker: InstanceWorker
    setup_s: float | None

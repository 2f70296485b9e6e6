"""How many workers and threads a container has, and how many invocations it handles at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """How many workers and threads a container has, and how many invocations it handles at once.

    Attributes:
        workers: How many worker processes run.
        concurrency: How many invocations each worker handles at once; further invocations wait.
        threads: How many threads the model's runtime uses for one prediction.
        threads_when_alone: How many threads the runtime uses while the container grades only one
            photograph. None means that it always uses ``threads``.
    """

    workers: int
    concurrency: int
    threads: int
    threads_when_alone: int | None = None

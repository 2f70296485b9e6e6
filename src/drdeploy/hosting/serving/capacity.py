"""How many worker processes there are, and how many invocations each handles at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import available_cpus

if TYPE_CHECKING:
    from drdeploy.hosting.serving.settings import Settings


@dataclass(frozen=True)
class Capacity:
    """What a container works on at once.

    Attributes:
        workers: Worker processes.
        concurrency: Invocations that each worker handles at once; further ones wait.
        threads: Threads that the runtime uses for one prediction.
    """

    workers: int
    concurrency: int
    threads: int


def plan_capacity(settings: Settings, vcpus: float | None = None) -> Capacity:
    """Fill in what the settings leave open, from the CPU limit of the container.

    Lean: one process.  Its runtime spreads each prediction over all vCPUs, decoding and the
    model run outside Python's global lock, and the weights are in memory once.

    Classic: one process per whole vCPU, as in the 2023 study.  A second process on a fraction of a
    vCPU would only slow down the start of the first: TensorFlow takes seconds of CPU to import.

    Args:
        settings: The server's.
        vcpus: The container's limit; None asks the system for it.
    """
    cpus = available_cpus() if vcpus is None else vcpus
    workers = settings.workers or (max(1, math.floor(cpus)) if settings.profile == "classic" else 1)
    share = _whole(cpus / workers)
    threads = settings.threads or (_whole(cpus) if settings.profile == "classic" else share)
    return Capacity(workers, settings.concurrency or share, threads)


def _whole(cpus: float) -> int:
    """Round up, except by an error of floating point: 2.0000001 vCPUs are two."""
    return max(1, math.ceil(round(cpus, 2)))

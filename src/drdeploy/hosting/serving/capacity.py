"""How many processes, and how many invocations at once in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import available_cpus

if TYPE_CHECKING:
    from drdeploy.hosting.serving.settings import Settings


@dataclass(frozen=True)
class Capacity:
    """Worker processes; in each, invocations in work at once and threads for a prediction."""

    workers: int
    concurrency: int
    threads: int


def plan_capacity(settings: Settings, vcpus: float | None = None) -> Capacity:
    """Fill in what the settings leave open.

    Lean: one process.  Its runtime spreads each prediction over all vCPUs, decoding and the
    model run outside Python's lock, and the weights are in memory once.  Classic: one process
    per whole vCPU, as the original study; a second one on a fraction of a vCPU would only slow
    the start of the first (TensorFlow takes seconds of CPU to import).

    Args:
        settings: The server's.
        vcpus: The container's limit; asked of the system if None.
    """
    cpus = available_cpus() if vcpus is None else vcpus
    workers = settings.workers or (max(1, math.floor(cpus)) if settings.profile == "classic" else 1)
    share = _whole(cpus / workers)
    threads = settings.threads or (_whole(cpus) if settings.profile == "classic" else share)
    return Capacity(workers, settings.concurrency or share, threads)


def _whole(cpus: float) -> int:
    return max(1, math.ceil(round(cpus, 2)))

"""Plan the number of worker processes, and how many invocations each handles at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import count_available_cpus
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import MAX_WORKERS

if TYPE_CHECKING:
    from drdeploy.hosting.serving.settings import Settings

GPU_CONCURRENCY = 8
"""The least number of requests that a worker handles at once if a GPU predicts. A thread that waits
for the GPU uses no CPU. A batch cannot have more photographs than the number of requests that the
worker handles at once.
"""

MAX_THREADS_WHEN_ALONE = 8
"""The most threads for a photograph while the container grades no other. The layers of a network
that grades photographs are too small to keep more threads busy."""


def choose_worker_and_thread_counts(
    settings: Settings, vcpus: float | None = None, memory_bytes: float | None = None
) -> Capacity:
    """Choose the values that the settings leave open, from the container's CPU and memory limits.

    If the number of workers is ``auto``, there is one worker per whole vCPU, but not more than the
    memory allows. Python runs only one thread of a process at a time (the global interpreter lock),
    so several workers are faster than one: two workers on two vCPUs grade a fifth more photographs
    per second. A second worker on a fraction of a vCPU would only slow down the first.

    In the lean profile, each worker uses an equal share of the vCPUs for decoding and predicting.
    While the container grades only one photograph, the worker that grades it also uses the vCPUs of
    the other workers, if the memory allows. In the classic profile, each worker's runtime uses all
    vCPUs, as in the 2023 study.

    Args:
        settings: The settings of the server.
        vcpus: The container's CPU limit; None reads the limit from the system.
        memory_bytes: The container's memory limit; None reads the limit from the system.
    """
    cpus = count_available_cpus() if vcpus is None else vcpus
    if isinstance(settings.workers, int):
        workers = settings.workers
    elif settings.runtime == "cuda":
        workers = 1  # each would hold the model and CUDA in the memory of the one GPU
    else:
        workers = _choose_worker_count(settings, cpus, memory_bytes)
    share = _round_cpus_up(cpus / workers)
    least = GPU_CONCURRENCY if settings.runtime == "cuda" else 1
    concurrency = settings.concurrency or max(share, least)
    if settings.threads:
        return Capacity(workers, concurrency, settings.threads)
    if settings.profile == "classic":
        return Capacity(workers, concurrency, _round_cpus_up(cpus))
    if not _may_use_idle_cpus(settings, cpus, workers, memory_bytes):
        return Capacity(workers, concurrency, share)
    widest = min(_round_cpus_up(cpus), MAX_THREADS_WHEN_ALONE)
    return Capacity(workers, concurrency, max(1, share // concurrency), widest)


def _may_use_idle_cpus(
    settings: Settings, cpus: float, workers: int, memory_bytes: float | None
) -> bool:
    """Return whether a worker may use the vCPUs of other workers while these have no work."""
    if cpus < 2 or settings.runtime not in {"", "onnxruntime"}:
        return False
    from pathlib import Path

    # Only ONNX Runtime can use few threads at one time and many at another.
    if not any(Path(settings.model_dir).rglob("*.onnx")):
        return False
    from drdeploy.hosting.serving.memory import (
        COPIES_OF_TWO_MODELS,
        count_workers_that_fit_in_memory,
    )

    return workers <= count_workers_that_fit_in_memory(settings, memory_bytes, COPIES_OF_TWO_MODELS)


def _choose_worker_count(settings: Settings, cpus: float, memory_bytes: float | None) -> int:
    """Return one worker per whole vCPU, as far as the memory allows, and at least one."""
    whole_cpus = min(math.floor(cpus), MAX_WORKERS)
    if whole_cpus < 2:
        return 1  # a cold start on a fraction of a vCPU reads no more than it needs
    from drdeploy.hosting.serving.memory import count_workers_that_fit_in_memory

    return max(1, min(whole_cpus, count_workers_that_fit_in_memory(settings, memory_bytes)))


def _round_cpus_up(cpus: float) -> int:
    """Round up, but ignore floating-point errors: 2.0000001 vCPUs are two."""
    return max(1, math.ceil(round(cpus, 2)))

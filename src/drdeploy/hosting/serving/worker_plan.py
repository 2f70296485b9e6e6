"""Plan the number of worker processes, and how many invocations each handles at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import count_available_cpus
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import MAX_WORKERS

if TYPE_CHECKING:
    from typing import Literal

    from drdeploy.grader.runtimes.runtime import RuntimeName
    from drdeploy.hosting.serving.settings import Settings

GPU_CONCURRENCY = 8
"""The smallest number of requests that a worker handles at once if a GPU predicts. A thread that
waits for the GPU uses no CPU. A batch cannot have more photographs than the number of requests that
the worker handles at once.
"""

MAX_THREADS_WHEN_ALONE = 8
"""The largest number of threads for a photograph while the container grades no other. The layers of
a network that grades photographs are too small to keep more threads busy.
"""


def choose_worker_and_thread_counts(
    settings: Settings, vcpus: float | None = None, memory_bytes: float | None = None
) -> Capacity:
    """Choose the values that the settings leave open, from the container's CPU and memory limits.

    If the number of workers is ``auto`` and a GPU predicts, there is one worker. If the number is
    ``auto`` and no GPU predicts, there is one worker per whole vCPU, as far as the memory allows,
    and at least one. Python runs only one thread of a process at a time (the global interpreter
    lock), so several workers are faster than one. On two vCPUs, two workers grade 26 % more
    photographs per second than one worker. A second worker on a fraction of a vCPU would only slow
    down the first.

    In the lean profile, each worker uses an equal share of the vCPUs for decoding and predicting.
    While the container grades only one photograph, the worker that grades it also uses the vCPUs of
    the other workers. This needs ONNX Runtime, two vCPUs or more, and enough memory. In the classic
    profile, each worker's runtime uses all vCPUs, as in the 2023 study.

    Args:
        settings: The settings of the server.
        vcpus: The container's CPU limit; None reads the limit from the system.
        memory_bytes: The container's memory limit; None reads the limit from the system.
    """
    cpus = count_available_cpus() if vcpus is None else vcpus
    # A GPU predicts only if the settings name the runtime cuda, so a GPU needs no search.
    runtime = settings.runtime
    if cpus >= 2:  # a cold start on a fraction of a vCPU reads no more than it needs
        from drdeploy.hosting.serving.model_runtime import find_runtime_of_model

        runtime = find_runtime_of_model(settings)
    if isinstance(settings.workers, int):
        workers = settings.workers
    elif runtime == "cuda":
        workers = 1  # each would hold the model and CUDA in the memory of the one GPU
    else:
        workers = _choose_worker_count(settings, runtime, cpus, memory_bytes)
    share = _round_cpus_up(cpus / workers)
    concurrency = settings.concurrency or _choose_concurrency(
        settings, runtime, cpus, workers, memory_bytes
    )
    if settings.threads:
        return Capacity(workers, concurrency, settings.threads)
    if settings.profile == "classic":
        return Capacity(workers, concurrency, _round_cpus_up(cpus))
    # Only ONNX Runtime can use few threads at one time and many at another. A container with less
    # than two vCPUs is usually serverless, and SageMaker sends it one request at a time.
    if cpus < 2 or runtime != "onnxruntime":
        return Capacity(workers, concurrency, share)
    threads = max(1, share // concurrency)
    if not _fits_second_copy_of_model(settings, runtime, workers, concurrency, memory_bytes):
        return Capacity(workers, concurrency, threads)
    widest = min(_round_cpus_up(cpus), MAX_THREADS_WHEN_ALONE)
    return Capacity(workers, concurrency, threads, widest)


def _choose_worker_count(
    settings: Settings, runtime: RuntimeName | Literal[""], cpus: float, memory_bytes: float | None
) -> int:
    """Return one worker per whole vCPU, as far as the memory allows, and at least one."""
    whole_cpus = min(math.floor(cpus), MAX_WORKERS)
    if whole_cpus < 2:
        return 1
    from drdeploy.hosting.serving.memory import count_workers_that_fit_in_memory

    fitting = count_workers_that_fit_in_memory(
        settings, runtime, memory_bytes, concurrency=max(1, settings.concurrency)
    )
    return max(1, min(whole_cpus, fitting))


def _choose_concurrency(
    settings: Settings,
    runtime: RuntimeName | Literal[""],
    cpus: float,
    workers: int,
    memory_bytes: float | None,
) -> int:
    """Return one request per vCPU of a worker's share, as far as the memory allows.

    If a GPU predicts, return at least ``GPU_CONCURRENCY``.
    """
    share = _round_cpus_up(cpus / workers)
    if runtime == "cuda":
        return max(share, GPU_CONCURRENCY)
    if share < 2 or cpus < 2:
        return share
    from drdeploy.hosting.serving.memory import count_requests_that_fit_in_memory

    fitting = count_requests_that_fit_in_memory(settings, runtime, workers, memory_bytes)
    return max(1, min(share, fitting))


def _fits_second_copy_of_model(
    settings: Settings,
    runtime: RuntimeName | Literal[""],
    workers: int,
    concurrency: int,
    memory_bytes: float | None,
) -> bool:
    """Return whether each worker has memory for the model a second time, with more threads."""
    from drdeploy.hosting.serving.memory import (
        COPIES_OF_TWO_MODELS,
        count_workers_that_fit_in_memory,
    )

    return workers <= count_workers_that_fit_in_memory(
        settings,
        runtime,
        memory_bytes,
        concurrency=concurrency,
        copies_of_model=COPIES_OF_TWO_MODELS,
    )


def _round_cpus_up(cpus: float) -> int:
    """Round up, but ignore floating-point errors: 2.0000001 vCPUs are two."""
    return max(1, math.ceil(round(cpus, 2)))

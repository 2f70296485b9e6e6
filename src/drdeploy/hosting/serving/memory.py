"""Compute how much memory the container has left for one image."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.control_groups import (
    iterate_folders_of_own_control_groups,
    read_text_or_empty,
)
from drdeploy.hosting.serving.budgets import BODIES_BYTES, IMAGE_PLACES, PLACE_BYTES
from drdeploy.units import MIB

if TYPE_CHECKING:
    from typing import Literal

    from drdeploy.grader.runtimes.runtime import RuntimeName
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

UNLIMITED = math.inf
SPARE_BYTES = 32 * MIB
"""Memory that is left for the supervisor, for NGINX and for the kernel's socket buffers."""

LEAN_WORKER_BYTES = 96 * MIB
"""Memory of a lean worker without its model: the interpreter, NumPy, Pillow and ONNX Runtime."""
FRAMEWORK_WORKER_BYTES = 768 * MIB
"""Memory of a worker that imports TensorFlow or OpenVINO, without its model."""
COPIES_OF_MODEL = 3
COPIES_OF_TWO_MODELS = 6
"""Memory of a loaded model, as a multiple of the size of its files. The memory holds the weights
twice, as read from the files and as packed for the processor, and also buffers.
``COPIES_OF_TWO_MODELS`` is for a worker that loads the model twice, with different numbers of
threads.
"""


def count_workers_that_fit_in_memory(
    settings: Settings,
    runtime: RuntimeName | Literal[""],
    memory_bytes: float | None = None,
    *,
    concurrency: int = 1,
    copies_of_model: int = COPIES_OF_MODEL,
) -> int:
    """Return how many workers fit into the memory together with the largest image; 0 if none fits.

    Memory for the largest image is set aside first. Otherwise, more workers would leave less memory
    for an image, and large images would be refused.

    Args:
        settings: The settings of the server.
        runtime: The library that will run the model; empty if it is not known.
        memory_bytes: The memory of the container. None means the container's limit or, without a
            limit, the memory of the machine.
        concurrency: How many requests each worker handles at once.
        copies_of_model: The memory of a worker's model, as a multiple of the size of its files.
    """
    worker = _estimate_idle_worker_bytes(settings, runtime, copies_of_model)
    left = _find_memory_for_workers(memory_bytes)
    return max(0, int(left // (worker + concurrency * PLACE_BYTES)))


def count_requests_that_fit_in_memory(
    settings: Settings,
    runtime: RuntimeName | Literal[""],
    workers: int,
    memory_bytes: float | None = None,
) -> int:
    """Return how many requests each worker can handle at once without running out of memory.

    A request takes the memory of an ordinary photograph. Memory for the largest image is set aside
    first. The result is 0 if the workers themselves do not fit.

    Args:
        settings: The settings of the server.
        runtime: The library that will run the model; empty if it is not known.
        workers: The number of workers.
        memory_bytes: The memory of the container. None means the container's limit or, without a
            limit, the memory of the machine.
    """
    worker = _estimate_idle_worker_bytes(settings, runtime, COPIES_OF_MODEL)
    left = _find_memory_for_workers(memory_bytes) / workers - worker
    return max(0, int(left // PLACE_BYTES))


def _find_memory_for_workers(memory_bytes: float | None) -> float:
    """Return the bytes that the largest image and the bodies of requests leave to the workers."""
    if memory_bytes is None:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory_bytes = min(read_memory_limit_bytes(), installed)
    return memory_bytes - SPARE_BYTES - BODIES_BYTES - IMAGE_PLACES * PLACE_BYTES


def _estimate_idle_worker_bytes(
    settings: Settings, runtime: RuntimeName | Literal[""], copies_of_model: int
) -> int:
    is_small = settings.profile == "lean" and runtime in {"", "onnxruntime"}
    base = LEAN_WORKER_BYTES if is_small else FRAMEWORK_WORKER_BYTES
    return base + copies_of_model * _measure_folder_bytes(Path(settings.model_dir))


def _measure_folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder; 0 if the folder cannot be read."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def count_memory_places_for_one_image(capacity: Capacity, root: Path = Path("/")) -> int:
    """Return how much memory decoding one image may take, in places of ``PLACE_BYTES``.

    The memory for an image is what remains of the container's memory after the workers, an ordinary
    photograph in each thread, and the bodies of requests.

    Args:
        capacity: The capacity of the server.
        root: The folder that contains ``/proc`` and ``/sys``; tests make a folder of their own.
    """
    limit = read_memory_limit_bytes(root)
    if limit == UNLIMITED:
        return IMAGE_PLACES
    worker = _read_resident_bytes(root) + capacity.concurrency * PLACE_BYTES
    left = limit - capacity.workers * worker - BODIES_BYTES - SPARE_BYTES
    return min(IMAGE_PLACES, max(1, int(left // PLACE_BYTES)))


def read_memory_limit_bytes(root: Path = Path("/")) -> float:
    """Return the container's memory limit (of its control groups) in bytes; infinite if unknown."""
    limits = (
        _read_memory_limit_of_group(folder)
        for folder in iterate_folders_of_own_control_groups("memory", root)
    )
    return min(limits, default=UNLIMITED)


def _read_memory_limit_of_group(folder: Path) -> float:
    text = read_text_or_empty(folder / "memory.max").strip()  # version 2
    text = text or read_text_or_empty(folder / "memory.limit_in_bytes").strip()  # version 1
    return int(text) if text.isdecimal() else UNLIMITED


def _read_resident_bytes(root: Path) -> int:
    """Return this process's resident memory (``man 5 proc_pid_statm``)."""
    fields = read_text_or_empty(root / "proc/self/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0

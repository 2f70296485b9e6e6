"""Load the model that the settings name, for workers of both profiles."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError, InvalidInput
from drdeploy.grader.inference import DEFAULT_LIMITS, InferenceService
from drdeploy.hosting.serving.budgets import make_worker_budgets
from drdeploy.hosting.serving.counters import RequestCounters
from drdeploy.hosting.serving.handlers import RequestHandlers
from drdeploy.hosting.serving.large_images import LargeImages
from drdeploy.hosting.serving.memory import count_memory_places_for_one_image
from drdeploy.hosting.serving.state_folder import COUNTERS_NAME, LARGE_IMAGES_NAME
from drdeploy.units import MILLISECONDS_PER_S

if TYPE_CHECKING:
    from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import ServerLog
    from drdeploy.hosting.serving.settings import Settings

UNUSED_LOGGED = 5
"""The log names at most this many unused files. An unused file is in the model's folder, but does
not belong to the model.
"""

GPU_BATCH_WAIT_MS = 2.0
"""How long a photograph waits on a GPU for others to join its batch. Decoding a photograph takes
ten times as long as this wait. A longer wait would therefore add latency, but would hardly add any
photographs to the batch.
"""


def load_model_and_make_handlers(
    settings: Settings,
    capacity: Capacity,
    log: ServerLog,
    in_progress: PhotographsInProgress | None = None,
) -> RequestHandlers:
    """Load the model, predict once, and return the handlers that grade with the model.

    Args:
        settings: The settings of the server. All its processes share the folder ``state_dir``.
        capacity: The capacity of the server.
        log: The log that says how long loading took, or why it failed.
        in_progress: Counts the photographs that all workers together are grading. None if the
            workers do not share such a count.

    Raises:
        ArtifactError: The folder holds no model that can be used.
        ModelError: The runtime is missing or refuses the model, or a prediction fails.
        InvalidInput: The settings ask for batches, but a worker handles one request at a time.
        OSError: A file in the folder ``state_dir`` cannot be opened.
    """
    folder = Path(settings.state_dir)
    started = time.perf_counter()
    try:
        service = InferenceService.load(
            Path(settings.model_dir),
            runtime=settings.runtime or None,
            threads=capacity.threads,
            threads_when_alone=None if in_progress is None else capacity.threads_when_alone,
            in_progress=in_progress,
            limits=replace(DEFAULT_LIMITS, max_bytes=settings.max_payload_bytes),
        )
        service = _form_batches_if_configured(service, settings, capacity)
    except DrdeployError as err:
        log.write_failure("model refused", err, code=err.code)
        raise
    duration_s = round(time.perf_counter() - started, 3)
    times = {} if service.load_times is None else service.load_times.as_log_fields()
    unused = service.classifier.artifact.unused
    extras = {"unused_files": unused[:UNUSED_LOGGED]} if unused else {}
    log.write_event("model loaded", duration_s=duration_s, **times, **extras)
    return RequestHandlers(
        service=service,
        settings=settings,
        budgets=make_worker_budgets(
            settings, capacity, image_places=count_memory_places_for_one_image(capacity)
        ),
        counters=RequestCounters(folder / COUNTERS_NAME),
        large_images=LargeImages(folder / LARGE_IMAGES_NAME),
        workers=capacity.workers,
        concurrency=capacity.concurrency,
    )


def _form_batches_if_configured(
    service: InferenceService, settings: Settings, capacity: Capacity
) -> InferenceService:
    """Return a service that predicts several photographs at once, if the settings ask for that.

    Otherwise, ``service`` is returned unchanged. If the settings do not say, batches are formed on
    a GPU only.
    """
    classifier = service.classifier
    wait_ms = settings.batch_wait_ms
    if not wait_ms:
        is_any_size = classifier.runtime.signature.batch_size is None
        if classifier.runtime.name != "cuda" or capacity.concurrency < 2 or not is_any_size:
            return service
        wait_ms = GPU_BATCH_WAIT_MS
    elif capacity.concurrency < 2:
        raise InvalidInput(
            "No batches can be formed: the worker handles one request at a time",
            where="DRDEPLOY_BATCH_WAIT_MS",
            remedy="Set DRDEPLOY_CONCURRENCY to 2 or more, or unset DRDEPLOY_BATCH_WAIT_MS",
        )
    from drdeploy.grader.runtimes.batching import form_batches_in_runtime

    runtime = form_batches_in_runtime(
        classifier.runtime, largest=capacity.concurrency, wait_s=wait_ms / MILLISECONDS_PER_S
    )
    return replace(service, classifier=replace(classifier, runtime=runtime))

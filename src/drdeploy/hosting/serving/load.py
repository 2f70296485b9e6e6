"""Loads the model that the settings name, in the same way for a worker of either profile."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import DrdeployError
from drdeploy.grader.inference import DEFAULT_LIMITS, InferenceService
from drdeploy.hosting.serving.counters import Counters
from drdeploy.hosting.serving.handlers import Handlers
from drdeploy.hosting.serving.large_images import LargeImages
from drdeploy.hosting.serving.state import COUNTERS_NAME, LARGE_IMAGES_NAME

if TYPE_CHECKING:
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.log import Log
    from drdeploy.hosting.serving.settings import Settings


def load_handlers(settings: Settings, capacity: Capacity, log: Log) -> Handlers:
    """Load the model, predict once, and return the handlers over it.

    Args:
        settings: The server's; ``state_dir`` is the folder that its processes share.
        capacity: Of the server.
        log: Told how long loading took, or why it failed.

    Raises:
        ArtifactError: The folder holds no model that can be used.
        ModelError: The runtime is missing, refuses the model, or does not predict.
    """
    folder = Path(settings.state_dir)
    started = time.perf_counter()
    try:
        service = InferenceService.load(
            Path(settings.model_dir),
            runtime=settings.runtime or None,
            threads=capacity.threads,
            limits=replace(DEFAULT_LIMITS, max_bytes=settings.max_payload_bytes),
            large_images=LargeImages(folder / LARGE_IMAGES_NAME),
        )
    except DrdeployError as err:
        log.failure("model refused", err, code=err.code)
        raise
    duration_s = round(time.perf_counter() - started, 3)
    times = {} if service.load_times is None else service.load_times.fields()
    log.event("model loaded", duration_s=duration_s, **times)
    return Handlers(
        service=service,
        settings=settings,
        counters=Counters(folder / COUNTERS_NAME),
        workers=capacity.workers,
        concurrency=capacity.concurrency,
    )

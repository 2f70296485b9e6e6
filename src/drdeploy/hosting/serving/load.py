"""The settings' model, loaded: the same for a worker of either profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.grader.inference import DEFAULT_LIMITS, InferenceService
from drdeploy.hosting.serving.large_images import LargeImages
from drdeploy.hosting.serving.state import LARGE_IMAGES_NAME

if TYPE_CHECKING:
    from drdeploy.hosting.serving.settings import Settings


def load_service(settings: Settings, threads: int, folder: Path) -> InferenceService:
    """Load the model that the settings name, as they say.

    Args:
        settings: The server's.
        threads: For one prediction.
        folder: Shared by the processes of the container.

    Raises:
        ArtifactError: The folder holds no model that can be used.
        ModelError: The runtime is missing, refuses the model, or does not predict.
    """
    return InferenceService.load(
        Path(settings.model_dir),
        runtime=settings.runtime or None,
        threads=threads,
        limits=replace(DEFAULT_LIMITS, max_bytes=settings.max_payload_bytes),
        large_images=LargeImages(folder / LARGE_IMAGES_NAME),
    )

"""From a photograph's bytes to a prediction, with the time of every stage."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.artifacts import open_artifact
from drdeploy.errors import RequestRefused
from drdeploy.fundus.apply import apply, decode_for
from drdeploy.fundus.decode import ImageLimits
from drdeploy.runtimes.classifier import Classifier
from drdeploy.runtimes.load import load_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from drdeploy.grading import Prediction
    from drdeploy.runtimes.protocol import RuntimeName
    from drdeploy.serving.large_images import LargeImages

WARM_UP_PHOTOGRAPH = Path(__file__).with_name("warm_up.jpg")
DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class Inference:
    """One image's prediction and the seconds that each stage took."""

    prediction: Prediction
    decode_s: float
    transform_s: float
    predict_s: float


@dataclass(frozen=True)
class InferenceService:
    """The one loaded model of a process.  Safe to call from several threads at once.

    Usage: ``InferenceService.load(Path("/opt/ml/model")).infer([photograph])``.
    """

    classifier: Classifier
    limits: ImageLimits = DEFAULT_LIMITS
    clock: Callable[[], float] = time.perf_counter
    large_images: LargeImages | None = None

    @classmethod
    def load(
        cls,
        model_dir: Path,
        *,
        runtime: RuntimeName | None = None,
        threads: int | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
        large_images: LargeImages | None = None,
    ) -> InferenceService:
        """Load the model and let it classify once, so that the first client does not wait.

        Args:
            model_dir: An extracted artifact.
            runtime: The one that fits the model's format, if None.
            threads: As many as the CPU limit allows, if None.
            limits: What an image may be at most.
            large_images: Has large images wait for each other; None lets them all in.

        Raises:
            ArtifactError: The folder holds no model that can be used.
            ModelError: The runtime is missing, refuses the model, or does not predict.
        """
        artifact = open_artifact(model_dir)
        loaded = load_runtime(artifact, runtime=runtime, threads=threads)
        service = cls(Classifier(artifact, loaded), limits, large_images=large_images)
        service.infer([WARM_UP_PHOTOGRAPH.read_bytes()])
        return service

    def infer(self, images: Sequence[bytes]) -> list[Inference]:
        """Classify images, one after the other: memory stays that of one.

        Raises:
            RequestRefused: An image cannot be used; of several, the message says which.
            PredictionFailed: The model does not answer as it must.
        """
        if len(images) == 1:
            return [self._infer_one(images[0])]
        return [self._infer_nth(image, place, len(images)) for place, image in enumerate(images, 1)]

    def _infer_nth(self, image: bytes, place: int, count: int) -> Inference:
        try:
            return self._infer_one(image)
        except RequestRefused as err:
            what = f"Image {place} of {count}: {err.what}"
            raise type(err)(what, where=err.where, remedy=err.remedy) from err

    def _infer_one(self, image: bytes) -> Inference:
        transform = self.classifier.artifact.manifest.transform
        with self._turn(image):
            started = self.clock()
            pixels = decode_for(transform, image, self.limits)
            decoded = self.clock()
            batch = apply(transform, pixels)[None]
            del pixels  # before the next one's turn
            transformed = self.clock()
        prediction = self.classifier.predict(batch)[0]
        return Inference(
            prediction=prediction,
            decode_s=decoded - started,
            transform_s=transformed - decoded,
            predict_s=self.clock() - transformed,
        )

    def _turn(self, image: bytes) -> AbstractContextManager[None]:
        if self.large_images is None:
            return nullcontext()
        return self.large_images.turn(image, self.limits)

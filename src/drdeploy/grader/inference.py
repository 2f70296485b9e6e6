"""From a photograph's bytes to a prediction: the one way, whoever asks.

The server, ``drdeploy grade``, evaluation and quantization all call :class:`InferenceService`.
A photograph goes through it once::

    header -> decode -> where the eye is -> can it be graded -> the model's input -> prediction

The header is checked before a pixel is decoded, a JPEG is decoded no larger than the model needs,
and the seconds of each step are reported with the result.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from drdeploy.errors import RequestRefused
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.fundus.apply import apply, model_input
from drdeploy.grader.fundus.decode import ImageLimits, read_header
from drdeploy.grader.fundus.gradability import MEASURED_PX, measure, ungradable_reason
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.load import import_runtime, load_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.gradability import Reason
    from drdeploy.grader.fundus.photograph import DecodedPhotograph
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.runtimes.protocol import RuntimeName

WARM_UP_PHOTOGRAPH = Path(__file__).with_name("warm_up.jpg")
"""An orange disc of 64 pixels: what it takes to run every step once, in 789 bytes."""
DEFAULT_LIMITS = ImageLimits()


class ImageTurns(Protocol):
    """Says when an image may be decoded: a server makes large ones wait for each other."""

    def turn(self, header: ImageHeader) -> AbstractContextManager[None]:
        """Wait until an image of that size may be decoded, and count as one within the context."""


@dataclass(frozen=True)
class Inference:
    """The result for one image, with the seconds that each step took.

    Attributes:
        prediction: None if the photograph cannot be graded.
        ungradable: Why it cannot be graded; None if it was.
        is_assessed: Whether gradability was checked at all: only if the manifest sets limits.
        decode_s: Reading the header, decoding and finding the eye.
        transform_s: Checking gradability and making the model's input.
        predict_s: In the model.
    """

    prediction: Prediction | None
    ungradable: Reason | None
    is_assessed: bool
    decode_s: float
    transform_s: float
    predict_s: float


@dataclass(frozen=True)
class LoadTimes:
    """How many seconds of a cold start the model took.

    Attributes:
        import_runtime_s: Reading the artifact and importing the library that runs it.
        load_s: Loading it into that library.
        first_prediction_s: Classifying the first photograph, which is slower than later ones.
    """

    import_runtime_s: float
    load_s: float
    first_prediction_s: float

    def fields(self) -> dict[str, float]:
        """Return the times for a log line, to a tenth of a millisecond."""
        return {name: round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True)
class InferenceService:
    """A loaded model that grades photographs.  Safe to call from several threads at once.

    ::

        service = InferenceService.load("model.tar.gz")
        [found] = service.infer([Path("eye.jpg").read_bytes()])
        found.prediction.grade if found.prediction else found.ungradable

    Attributes:
        classifier: The artifact and the runtime that loaded it.
        limits: How large an image may be.
        clock: Returns seconds, for the times of the steps.
        large_images: Makes large images wait for each other; None decodes all at once.
        load_times: How long loading took; None if the classifier was loaded elsewhere.
    """

    classifier: Classifier
    limits: ImageLimits = DEFAULT_LIMITS
    clock: Callable[[], float] = time.perf_counter
    large_images: ImageTurns | None = None
    load_times: LoadTimes | None = None

    @classmethod
    def load(
        cls,
        model: Path | str,
        *,
        runtime: RuntimeName | None = None,
        threads: int | None = None,
        limits: ImageLimits = LOCAL_FILE_LIMITS,
        large_images: ImageTurns | None = None,
    ) -> InferenceService:
        """Load the model and let it classify once, so that the first client does not wait.

        Args:
            model: A ``model.tar.gz``, or the folder that one was extracted to.
            runtime: Which library runs it; the default of the model's format if None.
            threads: For one prediction; as many as the CPU limit allows if None.
            limits: How large an image may be; files on your own disk may be large.
            large_images: Makes large images wait for each other; None decodes all at once.

        Raises:
            ArtifactError: There is no usable model.
            ModelError: The runtime is missing, refuses the model, or fails to predict.
        """
        started = time.perf_counter()
        artifact = open_artifact(model)
        import_runtime(artifact, runtime=runtime)
        imported = time.perf_counter()
        loaded = load_runtime(artifact, runtime=runtime, threads=threads)
        service = cls(Classifier(artifact, loaded), limits, large_images=large_images)
        loaded_at = time.perf_counter()
        service.warm_up()
        times = LoadTimes(imported - started, loaded_at - imported, time.perf_counter() - loaded_at)
        return replace(service, load_times=times)

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the loaded model."""
        return self.classifier.artifact.manifest

    def warm_up(self) -> None:
        """Classify a small photograph once, whether or not it can be graded.

        Every module that a request needs is imported by then, and the runtime has set itself up.
        """
        header = read_header(WARM_UP_PHOTOGRAPH.read_bytes(), limits=self.limits)
        photograph = self._decode(header)
        self._ungradable_reason(photograph)
        self.classifier.predict(apply(self.manifest.transform, photograph)[None])

    def model_input(self, photograph: bytes) -> NDArray[np.float32]:
        """Return what the model would be given for a photograph, gradable or not.

        Returns:
            Shape ``(height_px, width_px, 3)``.

        Raises:
            RequestRefused: The image cannot be used.
        """
        return model_input(
            self.manifest.transform, photograph, limits=self.limits, eye_px=self._eye_px
        )

    def infer(self, images: Sequence[bytes]) -> list[Inference]:
        """Classify images one after the other, so that memory holds one at a time.

        Raises:
            RequestRefused: An image cannot be used; the message says which of several.
            PredictionFailed: The model's answer is not a prediction.
        """
        if len(images) == 1:
            return [self._infer_one(images[0])]
        inferences = []
        for place, image in enumerate(images, 1):
            try:
                inferences.append(self._infer_one(image))
            except RequestRefused as err:
                what = f"Image {place} of {len(images)}: {err.what}"
                raise type(err)(what, where=err.where, remedy=err.remedy) from err
        return inferences

    def _infer_one(self, image: bytes) -> Inference:
        started = self.clock()
        header = read_header(image, limits=self.limits)
        header_s = self.clock() - started
        turn = nullcontext() if self.large_images is None else self.large_images.turn(header)
        with turn:
            started = self.clock() - header_s  # waiting for a turn is not decoding
            photograph = self._decode(header)
            decoded = self.clock()
            ungradable = self._ungradable_reason(photograph)
            batch = None if ungradable else apply(self.manifest.transform, photograph)[None]
            del photograph, header  # the next large image must find this memory free
            transformed = self.clock()
        prediction = None if batch is None else self.classifier.predict(batch)[0]
        return Inference(
            prediction=prediction,
            ungradable=ungradable,
            is_assessed=self.manifest.gradability is not None,
            decode_s=decoded - started,
            transform_s=transformed - decoded,
            predict_s=self.clock() - transformed,
        )

    @property
    def _eye_px(self) -> int:
        return 0 if self.manifest.gradability is None else MEASURED_PX

    def _decode(self, header: ImageHeader) -> DecodedPhotograph:
        return decode_photograph(header, self.manifest.transform, eye_px=self._eye_px)

    def _ungradable_reason(self, photograph: DecodedPhotograph) -> Reason | None:
        limits = self.manifest.gradability
        return None if limits is None else ungradable_reason(measure(photograph), limits)

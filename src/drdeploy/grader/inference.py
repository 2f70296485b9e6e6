"""From a photograph's bytes to a prediction, with the time of every stage."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from drdeploy.errors import RequestRefused
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.fundus.apply import apply, see
from drdeploy.grader.fundus.decode import ImageLimits, read_header
from drdeploy.grader.fundus.field_of_view import field_of_view
from drdeploy.grader.fundus.gradability import MEASURED_PX, measure, ungradable_reason
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.load import import_runtime, load_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.apply import DecodedPhotograph
    from drdeploy.grader.fundus.field_of_view import FieldOfView
    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.gradability import Reason
    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.runtimes.protocol import RuntimeName

WARM_UP_PHOTOGRAPH = Path(__file__).with_name("warm_up.jpg")
DEFAULT_LIMITS = ImageLimits()


class ImageTurns(Protocol):
    """Who decodes when: a server has large images wait for each other, others need not."""

    def turn(self, header: ImageHeader) -> AbstractContextManager[None]:
        """Wait until an image of that size may be decoded; hold its place within the context."""


@dataclass(frozen=True)
class Inference:
    """What was found in one image, and the seconds that each stage took.

    Attributes:
        prediction: None where the photograph cannot be graded.
        ungradable: Why it cannot; None where it was graded.
        is_assessed: Whether the manifest asks for that to be checked at all.
    """

    prediction: Prediction | None
    ungradable: Reason | None
    is_assessed: bool
    decode_s: float
    transform_s: float
    predict_s: float


@dataclass(frozen=True)
class LoadTimes:
    """Seconds of what a load consists of: a cold start's part that is the model's."""

    import_runtime_s: float
    load_s: float
    first_prediction_s: float

    def fields(self) -> dict[str, float]:
        """As a log line tells them."""
        return {name: round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True)
class InferenceService:
    """The one loaded model of a process.  Safe to call from several threads at once.

    ::

        service = InferenceService.load("model.tar.gz")
        [found] = service.infer([Path("eye.jpg").read_bytes()])
        found.prediction.grade if found.prediction else found.ungradable
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
            runtime: The one that fits the model's format, if None.
            threads: As many as the CPU limit allows, if None.
            limits: What an image may be at most; files on your own disk may be large.
            large_images: Has large images wait for each other; None lets them all in.

        Raises:
            ArtifactError: There is no model that can be used.
            ModelError: The runtime is missing, refuses the model, or does not predict.
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

    def warm_up(self) -> None:
        """Go the whole way once with a small photograph, whatever its quality."""
        photograph = WARM_UP_PHOTOGRAPH.read_bytes()
        header = read_header(photograph, limits=self.limits)
        image, view = self._decode(header)
        view, _ = self._assess(header, image, view)
        self.classifier.predict(apply(self._transform, image, view)[None])

    @property
    def _transform(self) -> FundusTransform:
        return self.classifier.artifact.manifest.transform

    @property
    def _gradability(self) -> GradabilityLimits | None:
        return self.classifier.artifact.manifest.gradability

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
        started = self.clock()
        header = read_header(image, limits=self.limits)
        header_s = self.clock() - started
        with self._turn(header):
            started = self.clock() - header_s
            pixels, view = self._decode(header)
            decoded = self.clock()
            view, ungradable = self._assess(header, pixels, view)
            batch = None if ungradable else apply(self._transform, pixels, view)[None]
            del pixels, header  # before the next one's turn
            transformed = self.clock()
        prediction = None if batch is None else self.classifier.predict(batch)[0]
        return Inference(
            prediction=prediction,
            ungradable=ungradable,
            is_assessed=self._gradability is not None,
            decode_s=decoded - started,
            transform_s=transformed - decoded,
            predict_s=self.clock() - transformed,
        )

    def _decode(self, header: ImageHeader) -> DecodedPhotograph:
        eye_px = 0 if self._gradability is None else MEASURED_PX
        return see(self._transform, header, eye_px=eye_px)

    def _assess(
        self, header: ImageHeader, pixels: NDArray[np.uint8], view: FieldOfView | None
    ) -> tuple[FieldOfView | None, Reason | None]:
        """Where the eye is, and why it cannot be graded; no reason if the manifest does not ask."""
        if self._gradability is None:
            return view, None
        view = view or field_of_view(pixels)
        reduction = max(header.width_px, header.height_px) / max(pixels.shape)
        quality = measure(pixels, view, reduction=reduction)
        return view, ungradable_reason(quality, self._gradability)

    def _turn(self, header: ImageHeader) -> AbstractContextManager[None]:
        if self.large_images is None:
            return nullcontext()
        return self.large_images.turn(header)

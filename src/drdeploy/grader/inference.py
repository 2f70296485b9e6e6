"""Turn a photograph's bytes into a prediction.

The server, ``drdeploy grade``, evaluation and quantization all call :class:`InferenceService`. The
service reads the header, decodes the photograph, finds the eye, checks gradability, makes the
model's input and predicts.

The header is checked before any pixel is decoded, and a JPEG is decoded no larger than the model
needs. The result also says how many seconds each step took.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from drdeploy.errors import PredictionFailed, RequestRefused
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.fundus.appearance import is_unlike_training
from drdeploy.grader.fundus.apply import apply_transform, make_model_input
from drdeploy.grader.fundus.decode import ImageLimits, read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.gradability import find_ungradable_reason, measure_photograph_quality
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.runtimes.classifier import Classifier
from drdeploy.grader.runtimes.cpu_limit import choose_thread_count, count_available_cpus
from drdeploy.grader.runtimes.model_loading import (
    choose_runtime,
    import_runtime_module,
    load_model_in_runtime,
    open_model,
    refuse_thread_count_below_one,
)
from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
from drdeploy.grader.runtimes.second_thread import SecondThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.gradability import Reason
    from drdeploy.grader.fundus.photograph import DecodedPhotograph
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.runtimes.idle_cpus import ModelForIdleCpus
    from drdeploy.grader.runtimes.runtime import RuntimeName

T = TypeVar("T")
R = TypeVar("R")

WARM_UP_PHOTOGRAPH = Path(__file__).with_name("warm_up.jpg")
"""A small picture of an orange disc (789 bytes). While a model is loaded, it classifies this
picture once, before the first request.
"""
DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True)
class OpenedImage:
    """An image whose header has been checked, and whose pixels are not yet decoded.

    Attributes:
        header: The header of the file.
        open_s: Seconds that reading the header took.
    """

    header: ImageHeader
    open_s: float


@dataclass(frozen=True)
class Inference:
    """The result for one image, with the seconds that each step took.

    Attributes:
        prediction: The prediction, or None for an ungradable photograph.
        ungradable: Why the photograph cannot be graded, or None if it was graded.
        is_unlike_training: Whether the photograph differs so much from the training photographs
            that the grade may be wrong. None if the manifest has no rule for this question, or if
            the photograph is ungradable.
        is_assessed: Whether gradability was checked, which needs limits in the manifest.
        decode_s: Seconds for reading the header, decoding and finding the eye.
        transform_s: Seconds for checking the photograph and making the model's input. If a second
            thread does the checks, this is the time for making the input and for waiting for that
            thread.
        predict_s: Seconds for running the model.
        note: A remark on a flaw of the file, for example that its end marker is missing; usually
            empty.
    """

    prediction: Prediction | None
    ungradable: Reason | None
    is_assessed: bool
    decode_s: float
    transform_s: float
    predict_s: float
    note: str = ""
    is_unlike_training: bool | None = None


class _Checks(NamedTuple):
    """The results of checking a photograph; :class:`Inference` explains the fields."""

    ungradable: Reason | None
    is_unlike_training: bool | None


@dataclass(frozen=True)
class LoadTimes:
    """The seconds that the steps of loading a model took.

    Attributes:
        import_runtime_s: Seconds for reading the artifact and importing the library that runs the
            model.
        load_s: Seconds for loading the model into the library.
        first_prediction_s: Seconds for classifying the first photograph, which is slower than later
            ones. If :meth:`InferenceService.load` calls ``use_idle_cpus`` itself, the seconds of
            this call are included.
    """

    import_runtime_s: float
    load_s: float
    first_prediction_s: float

    def as_log_fields(self) -> dict[str, float]:
        """Return the times for a log line, rounded to a tenth of a millisecond."""
        return {name: round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True)
class InferenceService:
    """A loaded model that grades photographs. Several threads may call the service at once.

    ::

        service = InferenceService.load("model.tar.gz")
        [found] = service.infer([Path("eye.jpg").read_bytes()])
        found.prediction.grade if found.prediction else found.ungradable

    Attributes:
        classifier: The artifact and the runtime that loaded it.
        limits: How large an image may be.
        clock: Function that returns the time in seconds; it measures how long each step takes.
        load_times: How long loading took; None if :meth:`load` did not load the classifier.
        in_progress: Counts the photographs that are being graded now.
        second_thread: Runs the checks of a photograph on a second CPU, while the caller's thread
            prepares the model's input. With None, the caller's thread does both.
        model_for_idle_cpus: The same model with more threads, for a photograph that is graded
            alone. None if the runtime is not ONNX Runtime, or if a photograph that is graded alone
            gets no more threads than others.
    """

    classifier: Classifier
    limits: ImageLimits = DEFAULT_LIMITS
    clock: Callable[[], float] = time.perf_counter
    load_times: LoadTimes | None = None
    in_progress: PhotographsInProgress = field(default_factory=PhotographsInProgress)
    second_thread: SecondThread | None = None
    model_for_idle_cpus: ModelForIdleCpus | None = None

    @classmethod
    def load(
        cls,
        model: Path | str,
        *,
        runtime: RuntimeName | None = None,
        threads: int | None = None,
        threads_when_alone: int | None = None,
        in_progress: PhotographsInProgress | None = None,
        limits: ImageLimits = LOCAL_FILE_LIMITS,
    ) -> InferenceService:
        """Load a model, and run it once.

        The first prediction is then as fast as later ones.

        Args:
            model: A ``model.tar.gz``, or the folder that it was extracted to.
            runtime: The library that runs the model; None takes the default of the model's format.
            threads: Threads for the prediction of a photograph. None takes as many as suit the
                model and the CPU limit.
            threads_when_alone: The largest number of threads for a photograph while no other
                photograph is being graded. A number above ``threads`` has an effect only with ONNX
                Runtime, and only after a call of :meth:`use_idle_cpus`. None means ``threads``. If
                ``threads`` is None and ONNX Runtime has at least two CPUs, ``threads_when_alone``
                is ignored: :meth:`load` chooses both numbers itself, and calls
                :meth:`use_idle_cpus`.
            in_progress: Counts the photographs that all workers of a server are grading. With None,
                only the photographs of this process are counted.
            limits: How large an image may be; the default suits files on your own disk.

        Raises:
            ArtifactError: The artifact does not exist or cannot be used.
            InvalidInput: No runtime has this name, or a number of threads is below 1.
            ModelError: The runtime is missing or refuses the model, or a prediction fails.
        """
        refuse_thread_count_below_one(threads_when_alone)
        started = time.perf_counter()
        artifact = open_artifact(model)
        import_runtime_module(artifact, runtime=runtime)
        cpus = count_available_cpus()
        adapts_itself = False
        if threads is None and cpus >= 2 and choose_runtime(artifact, runtime) == "onnxruntime":
            threads, threads_when_alone, adapts_itself = 1, choose_thread_count(), True
        imported = time.perf_counter()
        loaded = load_model_in_runtime(artifact, runtime=runtime, threads=threads)
        counter = in_progress or PhotographsInProgress()
        model_for_idle_cpus = None
        if (threads_when_alone or 1) > (threads or 1) and loaded.name == "onnxruntime":
            from drdeploy.grader.runtimes.idle_cpus import ModelForIdleCpus

            model_for_idle_cpus = ModelForIdleCpus(
                loaded.opened,
                partial(open_model, artifact, runtime=runtime, threads=threads_when_alone),
                counter,
            )
            loaded = model_for_idle_cpus.replace_model_of(loaded)
        may_use_two = max(threads or 2, threads_when_alone or 1) > 1
        service = cls(
            Classifier(artifact, loaded),
            limits,
            in_progress=counter,
            second_thread=SecondThread(counter, is_used=may_use_two and cpus >= 2),
            model_for_idle_cpus=model_for_idle_cpus,
        )
        loaded_at = time.perf_counter()
        service.warm_up()
        if adapts_itself:
            service.use_idle_cpus()
        times = LoadTimes(imported - started, loaded_at - imported, time.perf_counter() - loaded_at)
        return replace(service, load_times=times)

    @property
    def manifest(self) -> ModelManifest:
        """The manifest of the loaded model."""
        return self.classifier.artifact.manifest

    def use_idle_cpus(self) -> None:
        """Load a slow model a second time, with more threads: as many as ``threads_when_alone``.

        A model that predicts fast is not loaded again, because more threads would not help it. A
        server's first request need not wait for this step, because it is separate from
        :meth:`load`.

        Raises:
            ModelError: The runtime refuses the model, or a prediction fails.
        """
        if self.model_for_idle_cpus is None:
            return
        batch = self._make_warm_up_batch()
        started = time.perf_counter()
        self.classifier.predict(batch)
        self.model_for_idle_cpus.load_if_worthwhile(time.perf_counter() - started)

    def warm_up(self) -> None:
        """Classify a small photograph once, whether or not it can be graded.

        After this call, all modules that a request needs are imported, and the runtime is
        initialised. The small photograph is not checked. The first run of the checks takes only
        1 ms longer than later runs, but running them here would add 6 ms to every cold start.
        """
        self.classifier.predict(self._make_warm_up_batch())

    def _make_warm_up_batch(self) -> NDArray[np.float32]:
        header = read_and_check_header(WARM_UP_PHOTOGRAPH.read_bytes(), limits=self.limits)
        photograph = self._decode_image(header)
        return apply_transform(self.manifest.transform, photograph)[None]

    def model_input(self, photograph: bytes) -> NDArray[np.float32]:
        """Return the model's input for a photograph, whether or not it can be graded.

        Returns:
            Shape ``(height_px, width_px, 3)``.

        Raises:
            RequestRefused: The image cannot be used.
        """
        return make_model_input(
            self.manifest.transform,
            photograph,
            limits=self.limits,
            eye_px=self._least_eye_px_to_decode,
        )

    def infer(self, images: Sequence[bytes]) -> list[Inference]:
        """Classify images one after the other; only one decoded image is in memory at a time.

        Raises:
            RequestRefused: An image cannot be used; the message says which image.
            PredictionFailed: The model's output is not a valid prediction.
        """
        return self.infer_opened(self.open_images(images))

    def open_images(self, images: Sequence[bytes]) -> list[OpenedImage]:
        """Read and check the headers of images.

        Raises:
            RequestRefused: An image cannot be used; the message says which image.
        """
        return _apply_to_each_image(self._read_image_header, images)

    def infer_opened(self, images: Sequence[OpenedImage]) -> list[Inference]:
        """Classify opened images one after the other.

        Raises:
            RequestRefused: An image cannot be used; the message says which image.
            PredictionFailed: The model's output is not a valid prediction.
        """
        with self.in_progress:
            return _apply_to_each_image(self._infer_opened_image, images)

    def _read_image_header(self, image: bytes) -> OpenedImage:
        started = self.clock()
        header = read_and_check_header(image, limits=self.limits)
        return OpenedImage(header, self.clock() - started)

    def _infer_opened_image(self, image: OpenedImage) -> Inference:
        started = self.clock() - image.open_s  # waiting between the two is not decoding
        photograph = self._decode_image(image.header)
        decoded = self.clock()
        # With a second thread, the model predicts before it is known whether the photograph can be
        # graded.
        wait_for_checks, may_be_gradable = self._start_checks(photograph)
        batch = None
        if may_be_gradable:
            batch = apply_transform(self.manifest.transform, photograph)[None]
        del photograph  # whatever is decoded meanwhile must find this memory free
        transformed = self.clock()
        prediction = None if batch is None else self._predict_or_return_error(batch)
        predicted = self.clock()
        checks = wait_for_checks()
        checked = self.clock()
        if checks.ungradable is not None:
            prediction = None
        if isinstance(prediction, PredictionFailed):
            raise prediction
        return Inference(
            prediction=prediction,
            ungradable=checks.ungradable,
            is_assessed=self.manifest.gradability is not None,
            decode_s=decoded - started,
            transform_s=transformed - decoded + checked - predicted,
            predict_s=predicted - transformed,
            note=image.header.note_on_missing_end_marker,
            is_unlike_training=checks.is_unlike_training,
        )

    def _start_checks(self, photograph: DecodedPhotograph) -> tuple[Callable[[], _Checks], bool]:
        """Check a photograph in the second thread, or at once if the thread is not free.

        Returns:
            A function that waits for the result and returns it, and a bool. The bool is False if
            the photograph is already known to be ungradable, otherwise True.
        """
        check = partial(self._check_photograph, photograph)
        if self._has_checks and self.second_thread is not None:
            running = self.second_thread.start(check)
            if running is not None:
                return running, True
        checks = check()
        return lambda: checks, checks.ungradable is None

    def _check_photograph(self, photograph: DecodedPhotograph) -> _Checks:
        """Check whether a photograph can be graded, and whether it is unlike the training set."""
        ungradable = self._find_ungradable_reason(photograph)
        rule = self.manifest.familiarity
        if ungradable is not None or rule is None:
            return _Checks(ungradable, is_unlike_training=None)
        return _Checks(None, is_unlike_training(photograph.eye_copies, rule))

    def _predict_or_return_error(self, batch: NDArray[np.float32]) -> Prediction | PredictionFailed:
        """Return the prediction or the error; if the photograph is ungradable, neither counts."""
        try:
            return self.classifier.predict(batch)[0]
        except PredictionFailed as err:
            return err

    @property
    def _least_eye_px_to_decode(self) -> int:
        return DETAIL_PX if self._has_checks else 0

    @property
    def _has_checks(self) -> bool:
        return self.manifest.gradability is not None or self.manifest.familiarity is not None

    def _decode_image(self, header: ImageHeader) -> DecodedPhotograph:
        return decode_photograph(
            header, self.manifest.transform, eye_px=self._least_eye_px_to_decode
        )

    def _find_ungradable_reason(self, photograph: DecodedPhotograph) -> Reason | None:
        limits = self.manifest.gradability
        return (
            None
            if limits is None
            else find_ungradable_reason(measure_photograph_quality(photograph), limits)
        )


def _apply_to_each_image(step: Callable[[T], R], images: Sequence[T]) -> list[R]:
    """Apply a step to each image; an error names the image if there are several."""
    if len(images) == 1:
        return [step(images[0])]
    done = []
    for place, image in enumerate(images, 1):
        try:
            done.append(step(image))
        except RequestRefused as err:
            what = f"Image {place} of {len(images)}: {err.what}"
            raise type(err)(what, where=err.where, remedy=err.remedy) from err
    return done

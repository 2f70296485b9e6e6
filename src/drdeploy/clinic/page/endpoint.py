"""Grade photographs with a SageMaker endpoint instead of a model on this machine."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
import numpy as np
from PIL import Image, ImageOps

from drdeploy.errors import EndpointError, PredictionFailed, turn_import_error_into_missing_extra
from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.fundus.formats import jpeg, png
from drdeploy.grader.fundus.gradability import SENTENCES, Reason
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading import Prediction
from drdeploy.grader.inference import WARM_UP_PHOTOGRAPH, Inference, InferenceService
from drdeploy.grader.runtimes.classifier import Classifier

with turn_import_error_into_missing_extra("cloud", "An endpoint"):
    from drdeploy.hosting.sagemaker import Hosting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]

BODY_BYTES_MAX = 4_000_000
"""The largest request body in bytes that every kind of endpoint accepts. The limit of serverless
endpoints is the smallest, 4 MB."""
_LITTLE_LOSS: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4"}


class _NoRuntime:
    """Takes the place of a library that runs the model, because the endpoint runs it."""

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        del batch
        raise PredictionFailed(
            "The endpoint makes the predictions, so no model is loaded on this machine"
        )


class _Model(msgspec.Struct):
    """The model that made an answer."""

    digest: str


class _EndpointAnswer(msgspec.Struct):
    """The fields that this module reads in a drdeploy container's answer for one photograph."""

    model: _Model
    predictions: Annotated[
        list[list[_Probability] | None], msgspec.Meta(min_length=1, max_length=1)
    ]
    ungradable_reason: str | None = None
    unlike_training: bool | None = None

    @classmethod
    def parse_answer_body(cls, body: bytes) -> Self:
        """Read an answer.

        Raises:
            PredictionFailed: The answer is not JSON, or lacks a field that is used.
        """
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _describe_foreign_answer() from error


def _describe_foreign_answer() -> PredictionFailed:
    return PredictionFailed(
        "The endpoint's answer does not come from a drdeploy container",
        remedy="Give an endpoint that `drdeploy endpoint deploy` made",
    )


@dataclass(frozen=True)
class EndpointService(InferenceService):
    """Grades photographs with an endpoint that serves a known model.

    The model's artifact must be on this machine too, because the referral rules need the model's
    operating points, and the results name the model. An answer of another model is refused.

    Attributes:
        hosting: The client of SageMaker, or of the local service.
        endpoint: The endpoint's name.
    """

    hosting: Hosting = field(kw_only=True)
    endpoint: str = field(kw_only=True)

    @classmethod
    def connect(
        cls,
        endpoint: str,
        artifact: Path,
        *,
        endpoint_url: str | None,
        region: str | None,
        workers: int,
    ) -> Self:
        """Connect to an endpoint, and check by one request that it serves the artifact.

        Raises:
            ArtifactError: The artifact cannot be used.
            EndpointError: The endpoint does not answer, or serves another model.
        """
        classifier = Classifier(open_artifact(artifact), _NoRuntime())  # type: ignore[arg-type]
        hosting = Hosting.connect(endpoint_url, region=region, max_connections=workers)
        service = cls(classifier, LOCAL_FILE_LIMITS, hosting=hosting, endpoint=endpoint)
        try:
            service.infer([WARM_UP_PHOTOGRAPH.read_bytes()])
        except PredictionFailed as error:
            raise EndpointError(
                error.what,
                where=f"--endpoint {endpoint}",
                remedy="Check the endpoint's name, its region and its log, and name its model with "
                "--artifact",
            ) from error
        return service

    def infer(self, images: Sequence[bytes]) -> list[Inference]:
        """Send images to the endpoint one after the other.

        Raises:
            PredictionFailed: The endpoint does not answer, or serves another model.
        """
        return [self._infer_image(image) for image in images]

    def _infer_image(self, image: bytes) -> Inference:
        body, content_type = _make_body(image)
        answer = self.hosting.invoke(self.endpoint, body, content_type=content_type)
        if answer.outcome != "ok":
            raise PredictionFailed(
                f"The endpoint gives no grade: {answer.error or answer.outcome}",
                remedy="Check the endpoint and its log, then run `drdeploy clinic studies --again`",
            )
        return self._read_answer(answer.body)

    def _read_answer(self, body: bytes) -> Inference:
        answer = _EndpointAnswer.parse_answer_body(body)
        if answer.model.digest != self.classifier.artifact.digest:
            raise PredictionFailed(
                "The endpoint's model is not the one in the artifact",
                remedy="With --artifact, give the model that the endpoint serves",
            )
        (shares,) = answer.predictions
        prediction: Prediction | None = None
        reason: Reason | None = None
        if shares is not None:
            if len(shares) != len(self.manifest.classes):
                raise _describe_foreign_answer()
            prediction = Prediction(
                np.asarray(shares, np.float32),
                self.manifest.classes,
                self.manifest.grade_thresholds,
            )
        else:
            reason = next((one for one in SENTENCES if one == answer.ungradable_reason), None)
            if reason is None:
                raise PredictionFailed("The endpoint gives neither a grade nor a reason")
        return Inference(
            prediction=prediction,
            ungradable=reason,
            is_assessed=self.manifest.gradability is not None,
            decode_s=0.0,
            transform_s=0.0,
            predict_s=0.0,
            is_unlike_training=answer.unlike_training,
        )


def _make_body(image: bytes) -> tuple[bytes, str]:
    """Encode a photograph so that it is small enough to be sent; return it with its media type.

    The uncompressed pixels of a DICOM file become a PNG, which loses nothing. A photograph that is
    still too large becomes a JPEG with all its pixels in full colour.

    Raises:
        PredictionFailed: Even the JPEG is too large to be sent.
    """
    if len(image) <= BODY_BYTES_MAX:
        if image.startswith(jpeg.SIGNATURE):
            return image, "image/jpeg"
        if image.startswith(png.SIGNATURE):
            return image, "image/png"
    with Image.open(io.BytesIO(image)) as picture:
        if not image.startswith((jpeg.SIGNATURE, png.SIGNATURE)):
            body = _encode_picture(picture, "PNG")
            if len(body) <= BODY_BYTES_MAX:
                return body, "image/png"
        body = _encode_picture(
            ImageOps.exif_transpose(picture).convert("RGB"), "JPEG", **_LITTLE_LOSS
        )
    if len(body) > BODY_BYTES_MAX:
        raise PredictionFailed(
            f"The photograph has {len(body)} bytes as a JPEG, and an endpoint takes at most "
            f"{BODY_BYTES_MAX}",
            remedy="Grade the photograph on this machine, without --endpoint",
        )
    return body, "image/jpeg"


def _encode_picture(picture: Image.Image, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, name, **options)
    return stream.getvalue()

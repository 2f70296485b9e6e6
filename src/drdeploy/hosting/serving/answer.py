"""What a client reads: the study's fields, the grade, and where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from drdeploy.files import safe_cell
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.inference import Inference


DISEASES = {2: "referable", 3: "vision_threatening"}
"""Names of diseases, by the ICDR grade from which an eye has one."""


class Timing(msgspec.Struct, frozen=True):
    """Where the time went: seconds of each step, summed over the images."""

    decode_s: float
    transform_s: float
    predict_s: float


class ModelFacts(msgspec.Struct, frozen=True):
    """The model that answered."""

    name: str
    digest: str
    precision: str
    weights: str
    runtime: str


class ContainerFacts(msgspec.Struct, frozen=True):
    """The container that answered.

    Attributes:
        id: Its name.
        invocation: Number of this invocation among those of the container, from 1.
    """

    id: str
    invocation: int


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one image; fields that say nothing are left out.

    Attributes:
        gradable: Whether the photograph can be graded; only where the manifest asks for the check.
        ungradable_reason: A code for programs, see ``drdeploy.grader.fundus.gradability``.
        ungradable_message: One sentence for people.
        grade: ICDR grade 0 to 4; only from an ICDR grader, and for a gradable photograph.
        label: Name of the grade or class; only where the manifest names the classes.
        referable: Moderate or worse; only from an ICDR grader.
        screening: Whether the eye is to be flagged, at every operating point of the manifest:
            by disease (``referable``, ``vision_threatening``), then by the point's name.
        probabilities: By class name; only where the manifest names the classes.
    """

    gradable: bool | UnsetType = UNSET
    ungradable_reason: str | UnsetType = UNSET
    ungradable_message: str | UnsetType = UNSET
    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    screening: dict[str, dict[str, bool]] | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON answer to a request.

    One image has the fields of :class:`Classification` at the top; several have ``results``.

    Attributes:
        predictions: One row of probabilities per image; null for one that cannot be graded.
        requestLatency: Seconds from the end of the request's head to this answer.
        predictionLatency: Seconds in the model.
    """

    predictions: list[list[float] | None]
    requestLatency: float  # noqa: N815 - the original study's name
    predictionLatency: float  # noqa: N815 - the original study's name
    gradable: bool | UnsetType = UNSET
    ungradable_reason: str | UnsetType = UNSET
    ungradable_message: str | UnsetType = UNSET
    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    screening: dict[str, dict[str, bool]] | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    results: list[Classification] | UnsetType = UNSET
    model: ModelFacts
    timing: Timing
    container: ContainerFacts
    notice: str = RESEARCH_USE_NOTICE


def json_answer(
    inferences: Sequence[Inference],
    *,
    manifest: ModelManifest,
    model: ModelFacts,
    container: ContainerFacts,
    request_latency_s: float,
) -> Answer:
    """Return the JSON answer for one image or several.

    Args:
        inferences: At least one.
        manifest: The model's; says what its classes mean.
        model: The one that answered.
        container: The one that answered.
        request_latency_s: Seconds since the request's head was read.
    """
    timing = Timing(
        decode_s=sum(inference.decode_s for inference in inferences),
        transform_s=sum(inference.transform_s for inference in inferences),
        predict_s=sum(inference.predict_s for inference in inferences),
    )
    results = [classify(inference, manifest) for inference in inferences]
    is_single = len(results) == 1
    single = results[0] if is_single else Classification()
    return Answer(
        predictions=[
            None if inference.prediction is None else _floats(inference.prediction)
            for inference in inferences
        ],
        requestLatency=request_latency_s,
        predictionLatency=timing.predict_s,
        **{name: getattr(single, name) for name in Classification.__struct_fields__},
        results=UNSET if is_single else results,
        model=model,
        timing=timing,
        container=container,
    )


def classify(inference: Inference, manifest: ModelManifest) -> Classification:
    """Return the answer for one image; it is nearly empty where the manifest names no classes."""
    prediction, reason = inference.prediction, inference.ungradable
    if prediction is None or reason is not None:
        message = f"{SENTENCES[reason]}." if reason else UNSET
        return Classification(
            gradable=False, ungradable_reason=reason or UNSET, ungradable_message=message
        )
    gradable = True if inference.is_assessed else UNSET
    if not manifest.classes:
        return Classification(gradable=gradable)
    grade = prediction.grade
    return Classification(
        gradable=gradable,
        grade=UNSET if grade is None else int(grade),
        label=prediction.label,
        referable=UNSET if grade is None else grade.is_referable,
        screening=screening(prediction, manifest) or UNSET,
        probabilities=dict(zip(prediction.classes, _floats(prediction), strict=True)),
    )


def screening(prediction: Prediction, manifest: ModelManifest) -> dict[str, dict[str, bool]]:
    """Return which operating points flag an eye, by disease and name; empty without a point."""
    points = () if manifest.clinical is None else manifest.clinical.operating_points
    flagged: dict[str, dict[str, bool]] = {}
    for point in points:
        share = prediction.probability_at_or_above(Grade(point.at_or_above))
        flagged.setdefault(DISEASES[point.at_or_above], {})[point.name] = point.flags(share)
    return flagged


def csv_answer(
    inferences: Sequence[Inference], manifest: ModelManifest, *, has_header: bool
) -> bytes:
    """Return a CSV row per image: grade (or class index), label, a probability per class.

    Where an image cannot be graded, the label says why and the other fields are empty.
    """
    import csv
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text)
    graded = [inference.prediction for inference in inferences if inference.prediction]
    classes = graded[0].classes if graded else manifest.classes
    if has_header:
        writer.writerow(
            ["grade" if manifest.is_icdr else "class", "label", *map(safe_cell, classes)]
        )
    for inference in inferences:
        prediction = inference.prediction
        if prediction is None:
            writer.writerow(["", f"ungradable: {inference.ungradable}", *[""] * len(classes)])
        else:
            label = safe_cell(prediction.label)
            writer.writerow([prediction.index, label, *_floats(prediction)])
    return text.getvalue().encode()


def _floats(prediction: Prediction) -> list[float]:
    values: list[float] = prediction.probabilities.tolist()
    return values

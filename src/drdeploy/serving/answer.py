"""What a client reads: the study's fields, the grade, and where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from drdeploy.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grading import Prediction
    from drdeploy.serving.inference import Inference


class Timing(msgspec.Struct, frozen=True):
    """Seconds spent on each stage, summed over the images."""

    decode_s: float
    transform_s: float
    predict_s: float


class ModelFacts(msgspec.Struct, frozen=True):
    """Which model answered."""

    name: str
    digest: str
    precision: str
    weights: str
    runtime: str


class ContainerFacts(msgspec.Struct, frozen=True):
    """Which container answered, and which of its invocations this was, from 1."""

    id: str
    invocation: int


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """One image.

    Attributes:
        grade: ICDR grade 0 to 4; only from an ICDR grader.
        label: Name of the most probable class; only where the manifest names the classes.
        referable: Moderate or worse; only from an ICDR grader.
        probabilities: By class name; only where the manifest names the classes.
    """

    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request.

    The fields of :class:`Classification` for one image, ``results`` for several.

    Attributes:
        predictions: One row of probabilities per image.
        requestLatency: From the request's head to this answer, seconds.
        predictionLatency: In the model, seconds.
    """

    predictions: list[list[float]]
    requestLatency: float  # noqa: N815 - the original study's name
    predictionLatency: float  # noqa: N815 - the original study's name
    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    results: list[Classification] | UnsetType = UNSET
    model: ModelFacts
    timing: Timing
    container: ContainerFacts
    notice: str = RESEARCH_USE_NOTICE


def json_answer(
    inferences: Sequence[Inference],
    *,
    is_named: bool,
    model: ModelFacts,
    container: ContainerFacts,
    request_latency_s: float,
) -> Answer:
    """The JSON answer to one image or to several.

    Args:
        inferences: At least one.
        is_named: Whether the manifest names the classes; raw predictions alone where not.
        model: Which model answered.
        container: Which container answered.
        request_latency_s: Since the request's head was read.
    """
    timing = _total(inferences)
    results = [classify(inference.prediction, is_named=is_named) for inference in inferences]
    is_single = len(results) == 1
    single = results[0] if is_single else Classification()
    return Answer(
        predictions=[_floats(inference.prediction) for inference in inferences],
        requestLatency=request_latency_s,
        predictionLatency=timing.predict_s,
        grade=single.grade,
        label=single.label,
        referable=single.referable,
        probabilities=single.probabilities,
        results=UNSET if is_single else results,
        model=model,
        timing=timing,
        container=container,
    )


def classify(prediction: Prediction, *, is_named: bool) -> Classification:
    """What is said of one image."""
    if not is_named:
        return Classification()
    grade = prediction.grade
    return Classification(
        grade=UNSET if grade is None else int(grade),
        label=prediction.label,
        referable=UNSET if grade is None else grade.is_referable,
        probabilities=dict(zip(prediction.classes, _floats(prediction), strict=True)),
    )


def csv_answer(inferences: Sequence[Inference], *, has_header: bool) -> bytes:
    """One row per image: grade (or class index), label, then a probability per class."""
    import csv
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text)
    first = inferences[0].prediction
    if has_header:
        writer.writerow(["grade" if first.is_icdr else "class", "label", *first.classes])
    for inference in inferences:
        prediction = inference.prediction
        writer.writerow([prediction.index, prediction.label, *_floats(prediction)])
    return text.getvalue().encode()


def _total(inferences: Sequence[Inference]) -> Timing:
    return Timing(
        decode_s=sum(inference.decode_s for inference in inferences),
        transform_s=sum(inference.transform_s for inference in inferences),
        predict_s=sum(inference.predict_s for inference in inferences),
    )


def _floats(prediction: Prediction) -> list[float]:
    values: list[float] = prediction.probabilities.tolist()
    return values

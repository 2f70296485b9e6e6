"""Make the answer to a client: probabilities, grade, screening, and the time of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from drdeploy.files import escape_formula_in_csv_cell
from drdeploy.grader.artifacts import Rate, TestedRates  # noqa: TC001 - msgspec reads them
from drdeploy.grader.fundus.familiarity import SENTENCE as UNLIKE_TRAINING
from drdeploy.grader.fundus.gradability import SENTENCES
from drdeploy.grader.grading.adjustment import adjust_probabilities
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.artifacts import ModelManifest, OperatingPoint
    from drdeploy.grader.grading import Prediction
    from drdeploy.grader.inference import Inference


DISEASES = {2: "referable", 3: "vision_threatening"}
"""The diseases that are the keys of ``screening``, by the lowest grade with the disease. In a
clinic, "referable" and "vision-threatening" also cover macular oedema, which the model does not
grade.
"""


class Timing(msgspec.Struct, frozen=True):
    """The seconds of decoding, transforming and predicting, summed over the images of a request."""

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
        id: The container's name.
        invocation: Which invocation of the container this was, counted from 1.
    """

    id: str
    invocation: int


class ReferableRates(msgspec.Struct, frozen=True, kw_only=True):
    """The promised and the measured rates of the operating point that decides ``referable``.

    Attributes:
        target_sensitivity: The sensitivity that the point promises; null if none is known.
        tested: Sensitivity and specificity in a test on other photographs, with 95 % intervals;
            null if there was no test.
        sensitivity: Sensitivity on the photographs that were used to choose the point.
        specificity: Specificity on these photographs.
    """

    target_sensitivity: float | None
    tested: TestedRates | None
    sensitivity: Rate
    specificity: Rate


@dataclass(frozen=True)
class ProbabilitiesAtPrevalence:
    """The probabilities for one image at the prevalence that the manifest states.

    Attributes:
        prevalence: The share of grade 2 or worse that these probabilities assume.
        probability_referable: P(grade >= 2).
        probability_vision_threatening: P(grade >= 3).
        probabilities: The probability of each grade, by name.
    """

    prevalence: float
    probability_referable: float
    probability_vision_threatening: float
    probabilities: dict[str, float]


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one image; a field without a value is left out.

    Attributes:
        gradable: Whether the photograph can be graded. Set if the model's manifest asks for this
            check.
        ungradable_reason: Why the photograph cannot be graded, as a code for programs (see
            ``drdeploy.grader.fundus.gradability``).
        ungradable_message: Why the photograph cannot be graded, as one sentence for people.
        unlike_training: Whether the photograph differs so much from the training photographs that
            the grade may be wrong. Set if the manifest has a rule for this question.
        unlike_training_message: What ``unlike_training`` means, as one sentence for people; set if
            it is true.
        grade: The ICDR grade, 0 to 4; set by an ICDR grader for a gradable photograph.
        label: The name of the predicted grade or class; set if the manifest names the classes.
        referable: Whether the eye should be referred; set by an ICDR grader.  See
            :func:`decide_referral`.
        referable_rule: The rule that decided ``referable``, the sensitivity that the rule promises,
            and its sensitivity and specificity in a test on other photographs.
        referable_rates: The same figures as numbers; set if the high-sensitivity operating point
            decided.
        screening: For each operating point of the manifest, whether the probability of disease
            reaches its threshold. The outer key is the disease (``referable`` or
            ``vision_threatening``), and the inner key is the name of the operating point.
        probabilities: The probability of each class, by name; set if the manifest names the
            classes.
        at_prevalence: The probabilities at the prevalence where the grader is used; set if the
            manifest has such a prevalence. ``grade``, ``referable`` and ``screening`` follow from
            the grader's own ``probabilities``.
        note: A sentence about the image file, for the people who read the answer.
    """

    gradable: bool | UnsetType = UNSET
    ungradable_reason: str | UnsetType = UNSET
    ungradable_message: str | UnsetType = UNSET
    unlike_training: bool | UnsetType = UNSET
    unlike_training_message: str | UnsetType = UNSET
    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    referable_rule: str | UnsetType = UNSET
    referable_rates: ReferableRates | UnsetType = UNSET
    screening: dict[str, dict[str, bool]] | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    at_prevalence: ProbabilitiesAtPrevalence | UnsetType = UNSET
    note: str | UnsetType = UNSET


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON answer to a request.

    For one image, the answer itself has the fields of :class:`Classification`. For several images,
    the answer has a list of classifications in ``results``.

    Attributes:
        predictions: The probabilities for each image; null for an image that cannot be graded.
        requestLatency: Seconds from the end of the request's headers to this answer.
        predictionLatency: Seconds that the model took.
        results: The classification of each image; absent for a single image.
        model: The model that answered.
        timing: The seconds that the parts of the work took.
        container: The container that answered.
        notice: A sentence that says that the answer is for research use only.
    """

    predictions: list[list[float] | None]
    requestLatency: float  # noqa: N815 - the original study's name
    predictionLatency: float  # noqa: N815 - the original study's name
    gradable: bool | UnsetType = UNSET
    ungradable_reason: str | UnsetType = UNSET
    ungradable_message: str | UnsetType = UNSET
    unlike_training: bool | UnsetType = UNSET
    unlike_training_message: str | UnsetType = UNSET
    grade: int | UnsetType = UNSET
    label: str | UnsetType = UNSET
    referable: bool | UnsetType = UNSET
    referable_rule: str | UnsetType = UNSET
    referable_rates: ReferableRates | UnsetType = UNSET
    screening: dict[str, dict[str, bool]] | UnsetType = UNSET
    probabilities: dict[str, float] | UnsetType = UNSET
    at_prevalence: ProbabilitiesAtPrevalence | UnsetType = UNSET
    note: str | UnsetType = UNSET
    results: list[Classification] | UnsetType = UNSET
    model: ModelFacts
    timing: Timing
    container: ContainerFacts
    notice: str = RESEARCH_USE_NOTICE


def make_json_answer(
    inferences: Sequence[Inference],
    *,
    manifest: ModelManifest,
    model: ModelFacts,
    container: ContainerFacts,
    request_latency_s: float,
) -> Answer:
    """Return the JSON answer for one image or several.

    Args:
        inferences: The inference of each image; at least one.
        manifest: The model's manifest, which defines the classes.
        model: The model that answered.
        container: The container that answered.
        request_latency_s: Seconds since the request's headers were read.
    """
    timing = Timing(
        decode_s=sum(inference.decode_s for inference in inferences),
        transform_s=sum(inference.transform_s for inference in inferences),
        predict_s=sum(inference.predict_s for inference in inferences),
    )
    results = [make_classification(inference, manifest) for inference in inferences]
    is_single = len(results) == 1
    single = results[0] if is_single else Classification()
    return Answer(
        predictions=[
            None if inference.prediction is None else _list_probabilities(inference.prediction)
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


def make_classification(inference: Inference, manifest: ModelManifest) -> Classification:
    """Return the answer for one image.

    If the manifest names no classes, the answer has no grade, label, referral, screening flags or
    probabilities by name.
    """
    prediction, reason = inference.prediction, inference.ungradable
    note = inference.note or UNSET
    if prediction is None or reason is not None:
        message = f"{SENTENCES[reason]}." if reason else UNSET
        return Classification(
            gradable=False, ungradable_reason=reason or UNSET, ungradable_message=message, note=note
        )
    gradable = True if inference.is_assessed else UNSET
    is_unlike = inference.is_unlike_training
    unlike_training = UNSET if is_unlike is None else is_unlike
    unlike_training_message = f"{UNLIKE_TRAINING}." if is_unlike else UNSET
    if not manifest.classes:
        return Classification(
            gradable=gradable,
            unlike_training=unlike_training,
            unlike_training_message=unlike_training_message,
            note=note,
        )
    grade = prediction.grade
    referral = decide_referral(prediction, manifest)
    return Classification(
        gradable=gradable,
        unlike_training=unlike_training,
        unlike_training_message=unlike_training_message,
        grade=UNSET if grade is None else int(grade),
        label=prediction.label,
        referable=UNSET if referral is None else referral.referable,
        referable_rule=UNSET if referral is None else referral.rule,
        referable_rates=UNSET if referral is None else referral.rates,
        screening=find_screening_flags(prediction, manifest) or UNSET,
        at_prevalence=adjust_to_prevalence(prediction, manifest) or UNSET,
        probabilities=dict(zip(prediction.classes, _list_probabilities(prediction), strict=True)),
        note=note,
    )


class Referral(NamedTuple):
    """Whether an eye should be referred, and the rule that decided, in words.

    ``rates`` says how often the rule is right, if an operating point decided.
    """

    referable: bool
    rule: str
    rates: ReferableRates | UnsetType = UNSET


def decide_referral(prediction: Prediction, manifest: ModelManifest) -> Referral | None:
    """Decide whether an eye should be referred; return None if the model is not an ICDR grader.

    The high-sensitivity operating point for grade 2 and above decides, because missing a diseased
    eye is worse than an unnecessary visit to a doctor. If the manifest has no such point, the
    predicted grade decides.
    """
    grade = prediction.grade
    if grade is None:
        return None
    for point in () if manifest.clinical is None else manifest.clinical.operating_points:
        if point.name == "high_sensitivity" and point.at_or_above == int(Grade.MODERATE):
            share = prediction.probability_at_or_above(Grade.MODERATE)
            rates = ReferableRates(
                target_sensitivity=point.target_sensitivity,
                tested=point.tested,
                sensitivity=point.sensitivity,
                specificity=point.specificity,
            )
            is_referable = point.reaches_threshold(share)
            return Referral(is_referable, describe_high_sensitivity_rule(point), rates)
    return Referral(grade.is_referable, GRADE_RULE)


GRADE_RULE = (
    "grade >= 2: the grade decides, because the model has no high-sensitivity point for grade >= 2"
)


def describe_high_sensitivity_rule(point: OperatingPoint) -> str:
    """Describe a high-sensitivity operating point with its promised and its measured rates.

    The rates of a test on other photographs come first, because the rates on the photographs that
    were used to choose the point are usually better.
    """
    promise = (
        ""
        if point.target_sensitivity is None
        else f", which promises a sensitivity of {point.target_sensitivity:.2f}"
    )
    tested = (
        "How good it is on other photographs is not recorded."
        if point.tested is None
        else point.tested.description
    )
    return (
        f"P(grade >= {point.at_or_above}) >= {point.threshold:g} at the high-sensitivity "
        f"point{promise}. {tested} On the photographs that were used to "
        f"choose the point, the sensitivity was {point.sensitivity.value:.2f} and the specificity "
        f"{point.specificity.value:.2f}; expect lower values on other cameras"
    )


def adjust_to_prevalence(
    prediction: Prediction, manifest: ModelManifest
) -> ProbabilitiesAtPrevalence | None:
    """Return the probabilities at the manifest's prevalence, or None if it has none."""
    assumed = manifest.prevalence
    if assumed is None:
        return None
    [adjusted] = adjust_probabilities(prediction.probabilities[None], 1.0, assumed.grade_weights)
    return ProbabilitiesAtPrevalence(
        assumed.prevalence,
        probability_referable=float(adjusted[Grade.MODERATE :].sum()),
        probability_vision_threatening=float(adjusted[Grade.SEVERE :].sum()),
        probabilities=dict(zip(prediction.classes, adjusted.tolist(), strict=True)),
    )


def find_screening_flags(
    prediction: Prediction, manifest: ModelManifest
) -> dict[str, dict[str, bool]]:
    """Return whether each operating point flags the eye, by disease and by the point's name."""
    points = () if manifest.clinical is None else manifest.clinical.operating_points
    flagged: dict[str, dict[str, bool]] = {}
    for point in points:
        share = prediction.probability_at_or_above(Grade(point.at_or_above))
        flagged.setdefault(DISEASES[point.at_or_above], {})[point.name] = point.reaches_threshold(
            share
        )
    return flagged


def make_csv_answer(
    inferences: Sequence[Inference], manifest: ModelManifest, *, has_header: bool
) -> bytes:
    """Return a CSV row for each image: the grade or class index, the label, and the probabilities.

    If the manifest has a rule that recognises photographs unlike the training photographs, the last
    column says whether the photograph is unlike them.

    If an image cannot be graded, the label gives the reason, and the other fields are empty.
    """
    import csv
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text)
    graded = [inference.prediction for inference in inferences if inference.prediction]
    classes = graded[0].classes if graded else manifest.classes
    if has_header:
        writer.writerow(
            [
                "grade" if manifest.is_icdr else "class",
                "label",
                *map(escape_formula_in_csv_cell, classes),
                *(["unlike_training"] if manifest.familiarity else []),
            ]
        )
    for inference in inferences:
        prediction, is_unlike = inference.prediction, inference.is_unlike_training
        flag = [] if manifest.familiarity is None else ["" if is_unlike is None else int(is_unlike)]
        if prediction is None:
            empty = [""] * len(classes)
            writer.writerow(["", f"ungradable: {inference.ungradable}", *empty, *flag])
        else:
            label = escape_formula_in_csv_cell(prediction.label)
            writer.writerow([prediction.index, label, *_list_probabilities(prediction), *flag])
    return text.getvalue().encode()


def _list_probabilities(prediction: Prediction) -> list[float]:
    values: list[float] = prediction.probabilities.tolist()
    return values

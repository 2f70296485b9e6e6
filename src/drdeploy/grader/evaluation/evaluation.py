"""Compute every figure of a grader's evaluation from labels and probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.metrics import (
    GRADES,
    accuracy,
    brier_score,
    confusion_matrix,
    expected_calibration_error,
    kappa,
)
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import grades_of, probabilities_or_worse
from drdeploy.statistics.estimate import Estimate
from drdeploy.statistics.proportions import auroc, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from drdeploy.grader.artifacts import Clinical, OperatingPoint
    from drdeploy.grader.evaluation.predictions import GradedSet

PREVALENCE = {Grade.MODERATE: 0.2, Grade.SEVERE: 0.08}
"""Shares of referable and of vision-threatening eyes for the predictive values, if none are given:
about what programmes report that screen people with diabetes."""


@dataclass(frozen=True)
class OperatingPointQuality:
    """How well one operating point separates diseased eyes from the others on other photographs.

    Attributes:
        point: The operating point, with what it reached where its threshold was chosen.
        sensitivity: Share of the diseased eyes that it flags here.
        specificity: Share of the other eyes that it does not flag here.
        ppv: Positive predictive value at the detection's prevalence.
        npv: Negative predictive value at the detection's prevalence.
    """

    point: OperatingPoint
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True)
class Detection:
    """How well a grader separates eyes at or above a grade from the others.

    Attributes:
        at_or_above: The grade.
        positives: How many photographs are labelled with it or a worse one.
        auroc: Area under the ROC curve of P(grade >= ``at_or_above``).
        sensitivity: Share of the diseased eyes that are graded so.
        specificity: Share of the other eyes that are not graded so.
        prevalence: Share of diseased eyes that the predictive values are for.
        ppv: Positive predictive value at ``prevalence``.
        npv: Negative predictive value at ``prevalence``.
        sensitivity_referring: Sensitivity over all photographs if those that cannot be graded
            are referred, as they should be.
        specificity_referring: Specificity over all photographs under the same rule.
        operating_points: The same figures at each threshold that was locked in beforehand.
    """

    at_or_above: Grade
    positives: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    prevalence: float
    ppv: Estimate
    npv: Estimate
    sensitivity_referring: Estimate
    specificity_referring: Estimate
    operating_points: tuple[OperatingPointQuality, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every figure of a grader on labelled photographs.

    Attributes:
        n: How many photographs were graded; the figures are about these.
        confusion: Shape ``(5, 5)``: rows are labels, columns answers.
        kappa: Quadratic weighted.
        accuracy: Share of photographs that get the label's grade.
        grade_sensitivity: By grade: share of its photographs that get that grade.
        referable: Detection of moderate disease or worse.
        vision_threatening: Detection of severe disease or worse.
        ece: Expected calibration error.
        brier: Mean squared distance of the probabilities from the label.
        ungradable: Share of all photographs that could not be graded.
        missed: Positions of the photographs labelled severe or worse and graded 0.
    """

    n: int
    confusion: NDArray[np.int64]
    kappa: Estimate
    accuracy: Estimate
    grade_sensitivity: dict[Grade, Estimate]
    referable: Detection
    vision_threatening: Detection
    ece: Estimate
    brier: Estimate
    ungradable: Estimate
    missed: tuple[int, ...]


def evaluate_probabilities(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    grade_thresholds: tuple[float, ...] | None = None,
    groups: ArrayLike | None = None,
    is_gradable: ArrayLike | None = None,
    operating_points: Sequence[OperatingPoint] = (),
    prevalence: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a grader's probabilities.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Shape ``(n, 5)``; rows of ungradable photographs are ignored.
        grade_thresholds: See :class:`drdeploy.grader.grading.Prediction`.
        groups: Capture sessions or patients, shape ``(n,)``.
        is_gradable: Whether each could be graded, shape ``(n,)``; all of them if None.
        operating_points: Chosen on other photographs.
        prevalence: Share of referable eyes where the grader is used, for the predictive values;
            :data:`PREVALENCE` if None.
        seed: Of the bootstrap intervals.

    Raises:
        InvalidInput: The shapes do not fit, a label is not a grade, or the prevalence is not
            between 0 and 1.
    """
    truth, predicted = _checked_arrays(labels, probabilities)
    gradable = np.ones(truth.size, bool) if is_gradable is None else np.asarray(is_gradable, bool)
    sessions = np.arange(truth.size) if groups is None else np.asarray(groups)
    where = np.flatnonzero(gradable)
    refused = truth[~gradable]
    truth, predicted, sessions = truth[where], predicted[where], sessions[where]
    grades = grades_of(predicted, grade_thresholds)
    confusion = confusion_matrix(truth, grades)
    graded = _Graded(truth, grades, probabilities_or_worse(predicted), sessions, refused)
    is_missed = (truth >= Grade.SEVERE) & (grades == Grade.NO_DR)
    referable, threatening = (
        _detection(grade, graded, operating_points, prevalence)
        for grade in (Grade.MODERATE, Grade.SEVERE)
    )
    return Evaluation(
        n=where.size,
        confusion=confusion,
        kappa=kappa(truth, grades, sessions, seed=seed),
        accuracy=accuracy(truth, grades, sessions, seed=seed),
        grade_sensitivity={
            grade: wilson(int(confusion[grade, grade]), int(confusion[grade].sum()))
            for grade in Grade
        },
        referable=referable,
        vision_threatening=threatening,
        ece=expected_calibration_error(truth, predicted, sessions, seed=seed),
        brier=brier_score(truth, predicted, sessions, seed=seed),
        ungradable=wilson(int((~gradable).sum()), gradable.size),
        missed=tuple(int(index) for index in where[is_missed]),
    )


def evaluate_graded(
    graded: GradedSet,
    clinical: Clinical | None,
    *,
    prevalence: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions with the thresholds in a manifest.

    Args:
        graded: Labels and predictions.
        clinical: The thresholds; if None, the most probable grade counts.
        prevalence: See :func:`evaluate_probabilities`.
        seed: Of the bootstrap intervals.
    """
    return evaluate_probabilities(
        graded.labels,
        graded.probabilities,
        grade_thresholds=None if clinical is None else clinical.grade_thresholds,
        groups=graded.groups,
        is_gradable=graded.is_gradable,
        operating_points=() if clinical is None else clinical.operating_points,
        prevalence=prevalence,
        seed=seed,
    )


def _checked_arrays(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    truth = np.asarray(labels, dtype=np.intp)
    predicted = np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or predicted.shape != (truth.size, GRADES):
        raise InvalidInput(
            f"Labels {truth.shape} and probabilities {predicted.shape} do not belong together",
            remedy=f"Give one label and {GRADES} probabilities for each photograph",
        )
    if truth.size and not 0 <= truth.min() <= truth.max() < GRADES:
        raise InvalidInput("A label is not an ICDR grade from 0 to 4")
    return truth, predicted


@dataclass(frozen=True, eq=False)
class _Graded:
    """The photographs that were graded, and the labels of the others.

    Attributes:
        truth: Labels, shape ``(n,)``.
        grades: Answers, shape ``(n,)``.
        or_worse: P(grade >= g), shape ``(n, 5)``.
        groups: Capture sessions or patients, shape ``(n,)``.
        refused: Labels of the photographs without a grade.
    """

    truth: NDArray[np.intp]
    grades: NDArray[np.intp]
    or_worse: NDArray[np.floating]
    groups: NDArray[np.generic]
    refused: NDArray[np.intp]


def _detection(
    at_or_above: Grade,
    graded: _Graded,
    operating_points: Sequence[OperatingPoint],
    prevalence: float | None,
) -> Detection:
    is_positive = graded.truth >= at_or_above
    scores = graded.or_worse[:, at_or_above]
    is_flagged = graded.grades >= at_or_above
    sensitivity, specificity = rates(is_positive, is_flagged)
    referring = rates(
        np.concatenate([is_positive, graded.refused >= at_or_above]),
        np.concatenate([is_flagged, np.ones(graded.refused.size, dtype=bool)]),
    )
    share = PREVALENCE[at_or_above]
    if prevalence is not None and at_or_above == Grade.MODERATE:
        share = prevalence
    ppv, npv = predictive_values(sensitivity, specificity, share)
    return Detection(
        at_or_above=at_or_above,
        positives=int(is_positive.sum()),
        auroc=auroc(is_positive, scores, graded.groups),
        sensitivity=sensitivity,
        specificity=specificity,
        prevalence=share,
        ppv=ppv,
        npv=npv,
        sensitivity_referring=referring[0],
        specificity_referring=referring[1],
        operating_points=tuple(
            OperatingPointQuality(point, *found, *predictive_values(*found, share))
            for point in operating_points
            if point.at_or_above == at_or_above
            for found in [rates(is_positive, point.flags(scores))]
        ),
    )


def rates(
    is_positive: NDArray[np.bool_], is_flagged: NDArray[np.bool_]
) -> tuple[Estimate, Estimate]:
    """Estimate sensitivity and specificity of a decision, with Wilson intervals."""
    positives = int(is_positive.sum())
    return (
        wilson(int((is_flagged & is_positive).sum()), positives),
        wilson(int((~is_flagged & ~is_positive).sum()), is_positive.size - positives),
    )


def predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """Compute the positive and the negative predictive value by Bayes' rule.

    Their lower limits follow from both lower limits of sensitivity and specificity, their upper
    limits from both upper ones.  That both are at their limits at once is unlikely, so these
    intervals are wider than 95 %.

    Args:
        sensitivity: Share of the diseased eyes that are flagged.
        specificity: Share of the other eyes that are not flagged.
        prevalence: Share of diseased eyes where the grader is used.

    Raises:
        InvalidInput: ``prevalence`` is not between 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise InvalidInput(f"A prevalence of {prevalence:g} is not between 0 and 1")
    if sensitivity.value is None or specificity.value is None:
        missing = sensitivity if sensitivity.value is None else specificity
        nothing = replace(missing, method="Bayes' rule on both limits")
        return nothing, nothing
    flagged = [_bayes(se, 1 - sp, prevalence) for se, sp in _at_limits(sensitivity, specificity)]
    cleared = [
        _bayes(sp, 1 - se, 1 - prevalence) for se, sp in _at_limits(sensitivity, specificity)
    ]
    n = sensitivity.n + specificity.n
    return _predictive(flagged, n, "no eye is flagged"), _predictive(
        cleared, n, "no eye is cleared"
    )


def _at_limits(sensitivity: Estimate, specificity: Estimate) -> list[tuple[float, float]]:
    """Pairs of sensitivity and specificity: both values, both lower and both upper limits."""
    return [
        (getattr(sensitivity, field), getattr(specificity, field))
        for field in ("value", "low", "high")
    ]


def _predictive(values: list[float | None], n: int, why_not: str) -> Estimate:
    value, low, high = values
    method = "Bayes' rule on both limits"
    if value is None:
        return Estimate(None, None, None, n, method, reason=why_not)
    return Estimate(value, low, high, n, method)


def _bayes(right: float, wrong: float, prior: float) -> float | None:
    evidence = right * prior + wrong * (1 - prior)
    return right * prior / evidence if evidence else None

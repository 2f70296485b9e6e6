"""Compute the results of a grader's evaluation from labels and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.calibration import BinaryCalibration, estimate_binary_calibration
from drdeploy.grader.evaluation.metrics import (
    GRADES,
    count_confusion_matrix,
    estimate_accuracy,
    estimate_brier_score,
    estimate_calibration_error,
    estimate_kappa,
)
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)
from drdeploy.statistics.estimate import Estimate
from drdeploy.statistics.proportions import (
    estimate_auroc,
    estimate_grouped_proportion,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from drdeploy.grader.artifacts import Clinical, OperatingPoint
    from drdeploy.grader.evaluation.predictions import GradedSet

HIGH_SENSITIVITY_POINT = "high_sensitivity"


def find_high_sensitivity_point(
    clinical: Clinical | None, at_or_above: Grade
) -> OperatingPoint | None:
    """Return the high-sensitivity point at a grade, or None if the manifest has none."""
    return next(
        (
            point
            for point in (() if clinical is None else clinical.operating_points)
            if (point.name, point.at_or_above) == (HIGH_SENSITIVITY_POINT, at_or_above)
        ),
        None,
    )


@dataclass(frozen=True)
class DecisionQuality:
    """How often a decision to refer an eye, or not to refer it, is right.

    Attributes:
        risk: Share of wrong decisions.
        sensitivity: Share of the diseased eyes that are referred.
        specificity: Share of the eyes without the disease that are not referred.
    """

    risk: Estimate
    sensitivity: Estimate
    specificity: Estimate

    @classmethod
    def measure(
        cls,
        is_positive: NDArray[np.bool_],
        is_flagged: NDArray[np.bool_],
        groups: NDArray[np.generic],
    ) -> DecisionQuality:
        """Measure a decision on photographs; all arguments have the shape ``(n,)``."""
        return cls(
            estimate_grouped_proportion(is_flagged != is_positive, groups),
            *estimate_sensitivity_and_specificity(is_positive, is_flagged, groups),
        )


@dataclass(frozen=True)
class OperatingPointQuality:
    """The quality of an operating point on photographs that were not used to choose it.

    Attributes:
        point: The operating point, with its sensitivity and specificity on the photographs that it
            was chosen on.
        sensitivity: Share of the diseased eyes that are flagged.
        specificity: Share of the eyes without the disease that are not flagged.
        ppv: Positive predictive value at the prevalence in :class:`Detection`.
        npv: Negative predictive value at the prevalence in :class:`Detection`.
        sensitivity_referring: Sensitivity over all photographs, if every ungradable photograph
            counts as referred.
        specificity_referring: Specificity over all photographs, if every ungradable photograph
            counts as referred.
    """

    point: OperatingPoint
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    sensitivity_referring: Estimate
    specificity_referring: Estimate


@dataclass(frozen=True)
class Detection:
    """How well a grader separates eyes at or above a grade from the other eyes.

    Attributes:
        at_or_above: The grade at or above which an eye is diseased.
        positives: How many photographs are labelled with this grade or a worse grade.
        auroc: Area under the ROC curve of P(grade >= ``at_or_above``).
        sensitivity: Share of the diseased eyes to which the grader gives this grade or a worse one.
        specificity: Share of the other eyes to which the grader gives a lower grade.
        prevalence: The assumed share of diseased photographs, from which the predictive values are
            computed. None if no photograph was graded. At grade 3, also None if a prevalence of
            grade 2 or worse is given, but no photograph has grade 2 or worse.
        ppv: Positive predictive value at ``prevalence``.
        npv: Negative predictive value at ``prevalence``.
        sensitivity_referring: Sensitivity over all photographs, if every ungradable photograph
            counts as referred.
        specificity_referring: Specificity over all photographs, if every ungradable photograph
            counts as referred.
        operating_points: Sensitivity, specificity and predictive values at each operating point of
            the manifest.
        calibration: How well P(grade >= ``at_or_above``) agrees with the labels.
    """

    at_or_above: Grade
    positives: int
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    prevalence: float | None
    ppv: Estimate
    npv: Estimate
    sensitivity_referring: Estimate
    specificity_referring: Estimate
    operating_points: tuple[OperatingPointQuality, ...]
    calibration: BinaryCalibration

    @property
    def high_sensitivity(self) -> OperatingPointQuality | None:
        """The quality of the high-sensitivity point, or None if the manifest has none.

        At grade 2, this point decides ``referable`` in each answer.
        """
        named = (one for one in self.operating_points if one.point.name == HIGH_SENSITIVITY_POINT)
        return next(named, None)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a grader on labelled photographs.

    Attributes:
        n: How many photographs were graded; the results refer to these photographs.
        groups: How many capture sessions or patients these photographs come from.
        confusion: Counts of photographs in shape ``(5, 5)``, by label (row) and by the grader's
            grade (column).
        kappa: Quadratic weighted kappa.
        accuracy: Share of photographs for which the grader's grade equals the label.
        grade_sensitivity: For each grade, the share of its photographs that are graded correctly.
        referable: Detection of moderate disease or worse.
        vision_threatening: Detection of severe disease or worse.
        ece: Expected calibration error.
        brier: Brier score: the mean squared distance of the probabilities from the true grade, from
            0 to 2.
        ungradable: Share of all photographs that could not be graded.
        missed: Positions of the photographs labelled severe or worse and graded 0.
    """

    n: int
    groups: int
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
    grades: ArrayLike | None = None,
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
        grades: The grader's answers, shape ``(n,)``. With None, they are computed from the
            probabilities.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        is_gradable: Whether each photograph can be graded, shape ``(n,)``; None means that all can.
        operating_points: Operating points that were chosen on other photographs.
        prevalence: Share of grade 2 or worse, for the predictive values; None takes the share
            among the graded photographs. The share of grade 3 or worse among grade 2 or worse is
            always measured on the graded photographs.
        seed: Seed of the bootstrap intervals.

    Raises:
        InvalidInput: The shapes contradict each other, a label is not a grade, or the prevalence is
            outside 0 to 1.
    """
    truth, predicted = _check_labels_and_probabilities(labels, probabilities)
    gradable = np.ones(truth.size, bool) if is_gradable is None else np.asarray(is_gradable, bool)
    sessions = np.arange(truth.size) if groups is None else np.asarray(groups)
    graded_at = np.flatnonzero(gradable)
    refused, refused_groups = truth[~gradable], sessions[~gradable]
    all_groups = None if groups is None else sessions
    truth, predicted, sessions = truth[graded_at], predicted[graded_at], sessions[graded_at]
    answers = (
        grades_from_probabilities(predicted, grade_thresholds)
        if grades is None
        else np.asarray(grades, dtype=np.intp)[graded_at]
    )
    confusion = count_confusion_matrix(truth, answers)
    or_worse = probability_of_grade_or_worse(predicted)
    graded = _GradedPhotographs(truth, answers, or_worse, sessions, refused, refused_groups)
    is_missed = (truth >= Grade.SEVERE) & (answers == Grade.NO_DR)
    referable, threatening = (
        _evaluate_detection(grade, graded, operating_points, prevalence)
        for grade in (Grade.MODERATE, Grade.SEVERE)
    )
    return Evaluation(
        n=graded_at.size,
        groups=np.unique(sessions).size,
        confusion=confusion,
        kappa=estimate_kappa(truth, answers, sessions, seed=seed),
        accuracy=estimate_accuracy(truth, answers, sessions, seed=seed),
        grade_sensitivity={
            grade: estimate_grouped_proportion(
                answers[truth == grade] == grade, sessions[truth == grade]
            )
            for grade in Grade
        },
        referable=referable,
        vision_threatening=threatening,
        ece=estimate_calibration_error(truth, predicted, sessions, seed=seed),
        brier=estimate_brier_score(truth, predicted, sessions, seed=seed),
        ungradable=estimate_grouped_proportion(~gradable, all_groups),
        missed=tuple(int(index) for index in graded_at[is_missed]),
    )


def evaluate_graded_set(
    graded: GradedSet,
    clinical: Clinical | None,
    *,
    prevalence: float | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate predictions; the thresholds in ``clinical`` turn probabilities into grades.

    Without thresholds, the grade is the most probable one.
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


def _check_labels_and_probabilities(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    truth = np.asarray(labels, dtype=np.intp)
    predicted = np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or predicted.shape != (truth.size, GRADES):
        raise InvalidInput(
            f"The labels {truth.shape} and the probabilities {predicted.shape} have shapes that "
            "do not match",
            remedy=f"Give one label and {GRADES} probabilities for each photograph",
        )
    if truth.size and not 0 <= truth.min() <= truth.max() < GRADES:
        raise InvalidInput("A label is not an ICDR grade from 0 to 4")
    return truth, predicted


@dataclass(frozen=True, eq=False)
class _GradedPhotographs:
    """The graded photographs, and the labels of the ungraded photographs.

    Attributes:
        truth: Labels, shape ``(n,)``.
        grades: The grader's grades, shape ``(n,)``.
        or_worse: P(grade >= g) for each grade g, shape ``(n, 5)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        refused: Labels of the photographs without a grade.
        refused_groups: Capture sessions or patients of the photographs without a grade.
    """

    truth: NDArray[np.intp]
    grades: NDArray[np.intp]
    or_worse: NDArray[np.floating]
    groups: NDArray[np.generic]
    refused: NDArray[np.intp]
    refused_groups: NDArray[np.generic]


def _evaluate_detection(
    at_or_above: Grade,
    graded: _GradedPhotographs,
    operating_points: Sequence[OperatingPoint],
    prevalence: float | None,
) -> Detection:
    is_positive = graded.truth >= at_or_above
    scores = graded.or_worse[:, at_or_above]
    is_flagged = graded.grades >= at_or_above
    sensitivity, specificity = estimate_sensitivity_and_specificity(
        is_positive, is_flagged, graded.groups
    )

    def measure_with_refused_referred(
        is_flagged: NDArray[np.bool_],
    ) -> tuple[Estimate, Estimate]:
        return estimate_sensitivity_and_specificity(
            np.concatenate([is_positive, graded.refused >= at_or_above]),
            np.concatenate([is_flagged, np.ones(graded.refused.size, dtype=bool)]),
            np.concatenate([graded.groups, graded.refused_groups]),
        )

    referring = measure_with_refused_referred(is_flagged)
    share = _find_share_of_diseased(at_or_above, graded.truth, prevalence)
    ppv, npv = estimate_predictive_values(sensitivity, specificity, share)
    return Detection(
        at_or_above=at_or_above,
        positives=int(is_positive.sum()),
        auroc=estimate_auroc(is_positive, scores, graded.groups),
        sensitivity=sensitivity,
        specificity=specificity,
        prevalence=share,
        ppv=ppv,
        npv=npv,
        sensitivity_referring=referring[0],
        specificity_referring=referring[1],
        operating_points=tuple(
            OperatingPointQuality(
                point,
                *found,
                *estimate_predictive_values(*found, share),
                *measure_with_refused_referred(reached),
            )
            for point in operating_points
            if point.at_or_above == at_or_above
            for reached in [point.reaches_threshold(scores)]
            for found in [estimate_sensitivity_and_specificity(is_positive, reached, graded.groups)]
        ),
        calibration=estimate_binary_calibration(is_positive, scores, graded.groups),
    )


def _find_share_of_diseased(
    at_or_above: Grade, truth: NDArray[np.intp], prevalence: float | None
) -> float | None:
    """Return the share at or above a grade, given a prevalence of grade 2 or worse.

    For grade 3, the prevalence is multiplied by the share of grade 3 or worse among the photographs
    of grade 2 or worse in ``truth``. If ``prevalence`` is None, the share is counted in ``truth``.
    """
    if not truth.size:
        return None
    if prevalence is None:
        return float((truth >= at_or_above).mean())
    referable = int((truth >= Grade.MODERATE).sum())
    if not referable:
        return prevalence if at_or_above == Grade.MODERATE else None
    return prevalence * int((truth >= at_or_above).sum()) / referable


def estimate_sensitivity_and_specificity(
    is_positive: NDArray[np.bool_],
    is_flagged: NDArray[np.bool_],
    groups: ArrayLike | None = None,
) -> tuple[Estimate, Estimate]:
    """Estimate a decision's sensitivity and specificity, each with its interval.

    The intervals take into account that the photographs of one group, which is a patient or a
    capture session, are not independent.
    """
    members = np.arange(is_positive.size) if groups is None else np.asarray(groups)
    return (
        estimate_grouped_proportion(is_flagged[is_positive], members[is_positive]),
        estimate_grouped_proportion(~is_flagged[~is_positive], members[~is_positive]),
    )


def estimate_predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float | None
) -> tuple[Estimate, Estimate]:
    """Compute the positive and the negative predictive value by Bayes' rule.

    The lower limits of both predictive values are computed from the lower limits of sensitivity and
    specificity, and the upper limits from the upper limits.  It is unlikely that sensitivity and
    specificity are both at their limits. The intervals of the predictive values are therefore wider
    than 95 % intervals.

    Raises:
        InvalidInput: ``prevalence`` is not between 0 and 1.
    """
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise InvalidInput(f"The prevalence must be between 0 and 1, not {prevalence:g}")
    if prevalence is None or sensitivity.value is None or specificity.value is None:
        reason = sensitivity.reason or specificity.reason or "no prevalence is known"
        n = sensitivity.n + specificity.n
        nothing = Estimate(None, None, None, n, "Bayes' rule on both limits", reason=reason)
        return nothing, nothing
    flagged = [
        _apply_bayes_theorem(se, 1 - sp, prevalence)
        for se, sp in _pair_values_and_limits(sensitivity, specificity)
    ]
    cleared = [
        _apply_bayes_theorem(sp, 1 - se, 1 - prevalence)
        for se, sp in _pair_values_and_limits(sensitivity, specificity)
    ]
    n = sensitivity.n + specificity.n
    return _make_predictive_value_estimate(
        flagged, n, "no eye is flagged"
    ), _make_predictive_value_estimate(cleared, n, "every eye is flagged")


def _pair_values_and_limits(
    sensitivity: Estimate, specificity: Estimate
) -> list[tuple[float, float]]:
    """Return three pairs of sensitivity and specificity: values, lower limits and upper limits."""
    return [
        (getattr(sensitivity, field), getattr(specificity, field))
        for field in ("value", "low", "high")
    ]


def _make_predictive_value_estimate(values: list[float | None], n: int, why_not: str) -> Estimate:
    value, low, high = values
    method = "Bayes' rule on both limits"
    if value is None:
        return Estimate(None, None, None, n, method, reason=why_not)
    return Estimate(value, low, high, n, method)


def _apply_bayes_theorem(right: float, wrong: float, prior: float) -> float | None:
    evidence = right * prior + wrong * (1 - prior)
    return right * prior / evidence if evidence else None

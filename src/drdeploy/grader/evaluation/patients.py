"""Evaluate a grader by patient: a patient's grade is the grade of the worst eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.evaluation import (
    Evaluation,
    estimate_sensitivity_and_specificity,
    evaluate_probabilities,
)
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate


@dataclass(frozen=True, eq=False)
class PatientEvaluation:
    """The results of a grader if each patient, not each photograph, counts once.

    Attributes:
        unit: What counts as a patient: ``patient``, ``session`` or ``group``, depending on the
            table of labels.
        n: Number of all patients, including those without a grade.
        partly_graded: Number of patients of whom some photographs were graded and others were not.
        evaluation: The results. The label of a patient is the worst label of the patient's
            photographs. The patient's grade is the worst grade of the graded photographs. The
            patient's P(grade >= g) is the highest P(grade >= g) of the patient's graded
            photographs.
        referring: Sensitivity and specificity at grades 2 and 3 if every patient with an ungradable
            photograph is also referred.
        referring_by_point: The same for each operating point, by its name and grade.
    """

    unit: str
    n: int
    partly_graded: int
    evaluation: Evaluation
    referring: dict[Grade, tuple[Estimate, Estimate]]
    referring_by_point: dict[tuple[str, int], tuple[Estimate, Estimate]]


def evaluate_patients(
    graded: GradedSet,
    clinical: Clinical | None,
    *,
    prevalence: float | None = None,
    seed: int = 0,
) -> PatientEvaluation:
    """Evaluate a grader with one label and one grade for each patient.

    Raises:
        InvalidInput: It is not known which photographs show the same patient.
    """
    if not graded.group_unit:
        raise InvalidInput(
            "It is not known which photographs show the same patient, but --by patient needs this",
            where="--by patient",
            remedy="Name the column of the patients with --patient COLUMN",
        )
    names, member_of = np.unique(graded.groups, return_inverse=True)
    is_graded = graded.is_gradable
    thresholds = None if clinical is None else clinical.grade_thresholds
    points = () if clinical is None else clinical.operating_points
    labels = np.zeros(names.size, dtype=np.intp)
    np.maximum.at(labels, member_of, graded.labels)
    grades = np.zeros(names.size, dtype=np.intp)
    or_worse = np.zeros((names.size, len(Grade)))
    known = graded.probabilities[is_graded]
    np.maximum.at(grades, member_of[is_graded], grades_from_probabilities(known, thresholds))
    np.maximum.at(or_worse, member_of[is_graded], probability_of_grade_or_worse(known))
    has_grade = np.bincount(member_of[is_graded], minlength=names.size) > 0
    has_refused = np.bincount(member_of[~is_graded], minlength=names.size) > 0
    # The differences of P(grade >= g) between neighbouring grades give P(grade >= g) again.
    probabilities = -np.diff(or_worse, axis=1, append=0.0)
    return PatientEvaluation(
        unit=graded.group_unit,
        n=names.size,
        partly_graded=int((has_grade & has_refused).sum()),
        evaluation=evaluate_probabilities(
            labels,
            probabilities,
            grades=grades,
            is_gradable=has_grade,
            operating_points=points,
            prevalence=prevalence,
            seed=seed,
        ),
        referring={
            grade: estimate_sensitivity_and_specificity(
                labels >= grade, (grades >= grade) | has_refused
            )
            for grade in (Grade.MODERATE, Grade.SEVERE)
        },
        referring_by_point={
            (point.name, point.at_or_above): estimate_sensitivity_and_specificity(
                labels >= point.at_or_above,
                point.reaches_threshold(or_worse[:, point.at_or_above]) | has_refused,
            )
            for point in points
        },
    )

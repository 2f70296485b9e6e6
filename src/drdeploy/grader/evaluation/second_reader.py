"""Compare a second reader's grades with the labels, and the grader's grades with both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets.grade_names import parse_grade
from drdeploy.grader.evaluation.evaluation import (
    estimate_sensitivity_and_specificity,
    find_high_sensitivity_point,
)
from drdeploy.grader.evaluation.metrics import estimate_kappa
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate


@dataclass(frozen=True)
class SecondReader:
    """How well a second reader agrees with the labels, on photographs that the grader also graded.

    Attributes:
        column: The column of the second reader's grades.
        n: Number of photographs that have a label, the second reader's grade and the grader's
            grade.
        without_grade: Number of photographs whose cell in the column is not a grade.
        kappa: Quadratic weighted kappa of the second reader and the labels.
        grader_kappa: Quadratic weighted kappa of the grader and the labels.
        grader_kappa_with_second: Quadratic weighted kappa of the grader and the second reader.
        decisions: Sensitivity and specificity of the second reader against the labels. The keys are
            the two grades from which an eye counts as diseased, 2 and 3.
        grader_decisions: Sensitivity and specificity of the grader's grade against the labels, at
            the same two grades.
        grader_high_sensitivity: Sensitivity and specificity of the grader's high-sensitivity points
            against the labels, at each of the two grades that has such a point.
    """

    column: str
    n: int
    without_grade: int
    kappa: Estimate
    grader_kappa: Estimate
    grader_kappa_with_second: Estimate
    decisions: dict[Grade, tuple[Estimate, Estimate]]
    grader_decisions: dict[Grade, tuple[Estimate, Estimate]]
    grader_high_sensitivity: dict[Grade, tuple[Estimate, Estimate]]


def compare_with_second_reader(
    graded: GradedSet, column: str, clinical: Clinical | None, *, seed: int = 0
) -> SecondReader:
    """Compare the grades of a second reader with the labels and with the grader's grades.

    Raises:
        InvalidInput: The column has no ICDR grade.
    """
    read = [parse_grade(cell) for cell in graded.columns[column]]
    has_grade = np.array([grade is not None for grade in read], dtype=bool)
    if not has_grade.any():
        raise InvalidInput(
            f"The column '{column}' has no ICDR grade from 0 to 4",
            where="--second-label",
            remedy="Give the column with the second reader's grades",
        )
    both = np.flatnonzero(has_grade & graded.is_gradable)
    part = graded.select_by_position(both)
    second = np.array([int(read[at] or 0) for at in both], dtype=np.intp)
    grades = grades_from_probabilities(
        part.probabilities, None if clinical is None else clinical.grade_thresholds
    )
    or_worse = probability_of_grade_or_worse(part.probabilities)

    def estimate_at_both_grades(answers: np.ndarray) -> dict[Grade, tuple[Estimate, Estimate]]:
        return {
            grade: estimate_sensitivity_and_specificity(
                part.labels >= grade, answers >= grade, part.groups
            )
            for grade in (Grade.MODERATE, Grade.SEVERE)
        }

    return SecondReader(
        column=column,
        n=both.size,
        without_grade=int((~has_grade).sum()),
        kappa=estimate_kappa(part.labels, second, part.groups, seed=seed),
        grader_kappa=estimate_kappa(part.labels, grades, part.groups, seed=seed),
        grader_kappa_with_second=estimate_kappa(second, grades, part.groups, seed=seed),
        decisions=estimate_at_both_grades(second),
        grader_decisions=estimate_at_both_grades(grades),
        grader_high_sensitivity={
            grade: estimate_sensitivity_and_specificity(
                part.labels >= grade, point.reaches_threshold(or_worse[:, grade]), part.groups
            )
            for grade in (Grade.MODERATE, Grade.SEVERE)
            for point in [find_high_sensitivity_point(clinical, grade)]
            if point is not None
        },
    )

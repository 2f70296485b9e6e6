"""A classifier's answer for one image, and the rules that turn probabilities into grades."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import PredictionFailed
from drdeploy.grader.grading.grade import ICDR_CLASSES, Grade
from drdeploy.grader.grading.outputs import (
    are_probability_distributions,
    explain_why_no_probabilities,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The probability of each class, and the class or grade that follows from them.

    Attributes:
        probabilities: Shape ``(classes,)``, float32, each in [0, 1], summing to one.
        classes: The class names.
        grade_thresholds: One threshold for each grade from 1 to 4 of an ICDR grader. The answer is
            the highest grade for which P(that grade or worse) reaches the grade's threshold.
            Without thresholds, the answer is the most probable class.
    """

    probabilities: NDArray[np.float32]
    classes: tuple[str, ...] = ICDR_CLASSES
    grade_thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check that the probabilities are a distribution over the classes.

        Raises:
            PredictionFailed: The shape is wrong, a probability is negative or not finite, or the
                sum is not one.
        """
        if self.probabilities.shape != (len(self.classes),):
            raise PredictionFailed(
                f"The model gave an output of shape {self.probabilities.shape} "
                f"for {len(self.classes)} classes",
                remedy="Name as many classes in the manifest as the model has outputs",
            )
        if not np.all(np.isfinite(self.probabilities)):
            raise PredictionFailed("The model gave a value that is not a number")
        if not are_probability_distributions(self.probabilities[None]):
            what, remedy = explain_why_no_probabilities(self.probabilities[None])
            raise PredictionFailed(what, remedy=remedy)

    @cached_property
    def index(self) -> int:
        """The position of the predicted class; of equally probable classes, the first."""
        if self.grade_thresholds is None:
            return int(np.argmax(self.probabilities))
        return int(grades_from_probabilities(self.probabilities[None], self.grade_thresholds)[0])

    @property
    def label(self) -> str:
        """The name of the predicted class."""
        return self.classes[self.index]

    @property
    def is_icdr(self) -> bool:
        """Whether the classes are the five ICDR grades."""
        return self.classes == ICDR_CLASSES

    @property
    def grade(self) -> Grade | None:
        """The answer as an ICDR grade, or None for a classifier of something else."""
        return Grade(self.index) if self.is_icdr else None

    def probability_at_or_above(self, grade: Grade) -> float:
        """Return the probability of the given grade or a worse grade.

        Raises:
            PredictionFailed: The classes are not the ICDR grades.
        """
        if not self.is_icdr:
            raise PredictionFailed("Only an ICDR grader can give the probability of a grade")
        return float(self.probabilities[int(grade) :].sum())


def grades_from_probabilities(
    probabilities: NDArray[np.floating], grade_thresholds: tuple[float, ...] | None
) -> NDArray[np.intp]:
    """Turn the probabilities of many photographs into grades.

    Args:
        probabilities: Shape ``(n, 5)``.
        grade_thresholds: See :class:`Prediction`.

    Returns:
        Shape ``(n,)``, 0 to 4.
    """
    if grade_thresholds is None:
        most_probable: NDArray[np.intp] = np.argmax(probabilities, axis=1)
        return most_probable
    reached = probability_of_grade_or_worse(probabilities)[:, 1:] >= np.asarray(grade_thresholds)
    # argmax finds the first True; in the reversed columns, that is the highest grade.
    highest = reached.shape[1] - np.argmax(reached[:, ::-1], axis=1)
    grades: NDArray[np.intp] = np.where(reached.any(axis=1), highest, 0)
    return grades


def probability_of_grade_or_worse(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return P(grade >= g) for each grade g in shape ``(n, 5)``; the first column is 1."""
    return np.cumsum(probabilities[:, ::-1], axis=1)[:, ::-1]

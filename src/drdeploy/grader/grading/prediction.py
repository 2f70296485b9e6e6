"""A classifier's answer for one image, and how probabilities become grades."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import PredictionFailed
from drdeploy.grader.grading.grade import ICDR_CLASSES, Grade

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUM_TOLERANCE = 1e-2
"""How far the sum of an 8-bit softmax may be from one: its outputs are multiples of 1/256."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The probability of each class, and the class or grade that follows from them.

    Attributes:
        probabilities: Shape ``(classes,)``, float32, each in [0, 1], summing to one.
        classes: The class names.
        grade_thresholds: Of an ICDR grader, one for each grade from 1 to 4: the answer is the
            highest grade for which P(that grade or a worse one) reaches the threshold.  If
            None, the answer is the most probable class.
    """

    probabilities: NDArray[np.float32]
    classes: tuple[str, ...] = ICDR_CLASSES
    grade_thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check that the probabilities are a distribution over the classes.

        Raises:
            PredictionFailed: The shape is wrong, or they are not finite, negative or do not sum
                to one.
        """
        if self.probabilities.shape != (len(self.classes),):
            raise PredictionFailed(
                f"The model answered with shape {self.probabilities.shape} "
                f"for {len(self.classes)} classes",
                remedy="Name as many classes in the manifest as the model has outputs",
            )
        if not np.all(np.isfinite(self.probabilities)):
            raise PredictionFailed("The model answered with a value that is not a number")
        strays = abs(float(self.probabilities.sum()) - 1.0) > SUM_TOLERANCE
        if strays or float(self.probabilities.min()) < -SUM_TOLERANCE:
            raise PredictionFailed(
                "The model's outputs are not probabilities",
                remedy='If they are logits, say `output: "logits"` in the manifest',
            )

    @cached_property
    def index(self) -> int:
        """Position of the answered class; the first of equally probable ones."""
        if self.grade_thresholds is None:
            return int(np.argmax(self.probabilities))
        return int(grades_of(self.probabilities[None], self.grade_thresholds)[0])

    @property
    def label(self) -> str:
        """Name of the answered class."""
        return self.classes[self.index]

    @property
    def is_icdr(self) -> bool:
        """Whether the classes are the five ICDR grades."""
        return self.classes == ICDR_CLASSES

    @property
    def grade(self) -> Grade | None:
        """The answered ICDR grade; None from a classifier of something else."""
        return Grade(self.index) if self.is_icdr else None

    def probability_at_or_above(self, grade: Grade) -> float:
        """Probability of that grade or a worse one.

        Raises:
            PredictionFailed: The classes are not the ICDR grades.
        """
        if not self.is_icdr:
            raise PredictionFailed("Only an ICDR grader has probabilities of being referable")
        return float(self.probabilities[int(grade) :].sum())


def grades_of(
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
    reached = probabilities_or_worse(probabilities)[:, 1:] >= np.asarray(grade_thresholds)
    # argmax finds the first True; in the reversed columns, that is the highest grade.
    highest = reached.shape[1] - np.argmax(reached[:, ::-1], axis=1)
    grades: NDArray[np.intp] = np.where(reached.any(axis=1), highest, 0)
    return grades


def probabilities_or_worse(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return P(grade >= g) for each grade g, shape ``(n, 5)``; the first column is one."""
    return np.cumsum(probabilities[:, ::-1], axis=1)[:, ::-1]

"""A classifier's answer for one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import PredictionFailed
from drdeploy.grading.grade import ICDR_CLASSES, Grade

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUM_TOLERANCE = 1e-2
"""How far a softmax in reduced precision may stray from one (8-bit outputs step by 1/256)."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One probability per class, in the order of ``classes``.

    Attributes:
        probabilities: Shape ``(classes,)``, float32, each in [0, 1], summing to one.
        classes: The class names.
    """

    probabilities: NDArray[np.float32]
    classes: tuple[str, ...] = ICDR_CLASSES

    def __post_init__(self) -> None:
        """Refuse what is no distribution over the classes.

        Raises:
            PredictionFailed: Wrong shape, not finite, negative, or not summing to one.
        """
        if self.probabilities.shape != (len(self.classes),):
            raise PredictionFailed(
                f"The model answered with shape {self.probabilities.shape} "
                f"for {len(self.classes)} classes",
                remedy="Name as many classes in the manifest as the model has outputs",
            )
        if not np.all(np.isfinite(self.probabilities)):
            raise PredictionFailed("The model answered with a value that is no number")
        strays = abs(float(self.probabilities.sum()) - 1.0) > SUM_TOLERANCE
        if strays or float(self.probabilities.min()) < -SUM_TOLERANCE:
            raise PredictionFailed(
                "The model's outputs are no probabilities",
                remedy='If they are logits, say `output: "logits"` in the manifest',
            )

    @cached_property
    def index(self) -> int:
        """Position of the most probable class; the first of equals."""
        return int(np.argmax(self.probabilities))

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.classes[self.index]

    @property
    def is_icdr(self) -> bool:
        """Whether the classes are the five ICDR grades."""
        return self.classes == ICDR_CLASSES

    @property
    def grade(self) -> Grade | None:
        """The ICDR grade, or None for another classifier."""
        return Grade(self.index) if self.is_icdr else None

    def probability_at_or_above(self, grade: Grade) -> float:
        """Probability of that grade or a worse one (only for an ICDR grader)."""
        if not self.is_icdr:
            raise PredictionFailed("Only an ICDR grader has probabilities of being referable")
        return float(self.probabilities[int(grade) :].sum())

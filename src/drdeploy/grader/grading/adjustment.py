"""Adjust a grader's probabilities to the photographs of a clinic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def adjust_probabilities(
    probabilities: NDArray[np.floating], temperature: float, grade_weights: Sequence[float]
) -> NDArray[np.float64]:
    """Divide the logits by a temperature, and weight the grades.

    The temperature corrects probabilities that are too confident or not confident enough. The
    weights correct for the frequency of each grade, which differs between the clinic and the
    training photographs.

    Args:
        probabilities: Shape ``(n, 5)``.
        temperature: Above 0.
        grade_weights: One weight above 0 for each grade.

    Returns:
        Shape ``(n, 5)``, each row with the sum 1.
    """
    # A softmax of logits divided by T is proportional to the probabilities to the power of 1/T.
    # Dividing by the largest first keeps the powers from vanishing.
    given = probabilities.astype(np.float64)
    powers = (given / given.max(axis=1, keepdims=True)) ** (1 / temperature)
    weighted = powers * np.asarray(grade_weights, dtype=np.float64)
    adjusted: NDArray[np.float64] = weighted / weighted.sum(axis=1, keepdims=True)
    return adjusted

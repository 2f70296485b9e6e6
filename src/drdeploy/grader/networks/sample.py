"""A small batch of input for any network, the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.fundus.apply import model_input
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.synthetic.photograph import synthetic_photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.transform import FundusTransform

EYES_PER_GRADE = 2
WIDTH_PX, HEIGHT_PX = 1072, 712
"""A quarter of a fundus camera's sides: larger than any network's input."""


def sample_batch(transform: FundusTransform) -> NDArray[np.float32]:
    """Return synthetic photographs of every grade as a network's input, ``(10, h, w, 3)``."""
    photographs = (
        synthetic_photograph(seed, grade=grade, width_px=WIDTH_PX, height_px=HEIGHT_PX)
        for seed in range(EYES_PER_GRADE)
        for grade in Grade
    )
    return np.stack([model_input(transform, data) for data in photographs])

"""Make a small batch of photographs as a network's input; it is the same on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.fundus.apply import make_model_input
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.transform import FundusTransform

EYES_PER_GRADE = 2
WIDTH_PX, HEIGHT_PX = 1072, 712
"""The size of the synthetic photographs: a quarter of the width and height of a fundus camera's
photographs, and still larger than any network's input.
"""


def make_sample_batch(transform: FundusTransform) -> NDArray[np.float32]:
    """Return ten synthetic photographs, with all five grades among them, as a network's input."""
    photographs = (
        paint_synthetic_photograph(seed, grade=grade, width_px=WIDTH_PX, height_px=HEIGHT_PX)
        for seed in range(EYES_PER_GRADE)
        for grade in Grade
    )
    return np.stack([make_model_input(transform, data) for data in photographs])

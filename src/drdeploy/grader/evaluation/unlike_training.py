"""Compare a grader's results on photographs that are flagged as unusual, and on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.evaluation.metrics import estimate_kappa
from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.proportions import estimate_grouped_proportion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate


@dataclass(frozen=True)
class FlagQuality:
    """How often photographs are flagged, and how often the grader errs with and without a flag.

    Attributes:
        flagged: Share of the graded photographs that are flagged.
        risk_flagged: Share of the flagged photographs that the grader puts on the wrong side of
            grade 2.
        risk_unflagged: Share of the other photographs that the grader puts on the wrong side of
            grade 2.
        kappa_flagged: Quadratic weighted kappa on the flagged photographs.
        kappa_unflagged: Quadratic weighted kappa on the other photographs.
    """

    flagged: Estimate
    risk_flagged: Estimate
    risk_unflagged: Estimate
    kappa_flagged: Estimate
    kappa_unflagged: Estimate


def measure_unlike_training_flag(
    truth: NDArray[np.intp],
    grades: NDArray[np.intp],
    is_flagged: NDArray[np.bool_],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
) -> FlagQuality:
    """Measure how many photographs are flagged, and the grader's errors with and without a flag.

    Args:
        truth: Labels, shape ``(n,)``.
        grades: Answers, shape ``(n,)``.
        is_flagged: Whether each photograph is unlike the training photographs, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        seed: Seed of the bootstrap intervals.
    """
    is_wrong = (grades >= Grade.MODERATE) != (truth >= Grade.MODERATE)
    risks, kappas = [], []
    for side in (is_flagged, ~is_flagged):
        risks.append(estimate_grouped_proportion(is_wrong[side], groups[side]))
        kappas.append(estimate_kappa(truth[side], grades[side], groups[side], seed=seed))
    return FlagQuality(
        flagged=estimate_grouped_proportion(is_flagged, groups),
        risk_flagged=risks[0],
        risk_unflagged=risks[1],
        kappa_flagged=kappas[0],
        kappa_unflagged=kappas[1],
    )

"""Compare a grader's results on photographs unlike the training photographs, and on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.evaluation.evaluation import DecisionQuality
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
        kappa_flagged: Quadratic weighted kappa on the flagged photographs.
        kappa_unflagged: Quadratic weighted kappa on the other photographs.
        grade_flagged: How often the grader's grade is right about grade 2 or worse, on the flagged
            photographs.
        grade_unflagged: The same on the other photographs.
        high_sensitivity_flagged: How often the high-sensitivity point is right about grade 2 or
            worse, on the flagged photographs. None if the manifest has no such point.
        high_sensitivity_unflagged: The same on the other photographs.
    """

    flagged: Estimate
    kappa_flagged: Estimate
    kappa_unflagged: Estimate
    grade_flagged: DecisionQuality
    grade_unflagged: DecisionQuality
    high_sensitivity_flagged: DecisionQuality | None
    high_sensitivity_unflagged: DecisionQuality | None


def measure_unlike_training_flag(
    truth: NDArray[np.intp],
    grades: NDArray[np.intp],
    is_flagged: NDArray[np.bool_],
    groups: NDArray[np.generic],
    *,
    is_referred: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> FlagQuality:
    """Measure how many photographs are flagged, and the grader's errors with and without a flag.

    Args:
        truth: Labels, shape ``(n,)``.
        grades: Answers, shape ``(n,)``.
        is_flagged: Whether each photograph is unlike the training photographs, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        is_referred: The decision of the high-sensitivity point at grade 2 on each photograph, shape
            ``(n,)``. None if there is no such point.
        seed: Seed of the bootstrap intervals.
    """
    is_positive = truth >= Grade.MODERATE

    def measure_decision(
        is_referred: NDArray[np.bool_], side: NDArray[np.bool_]
    ) -> DecisionQuality:
        return DecisionQuality.measure(is_positive[side], is_referred[side], groups[side])

    by_grade = grades >= Grade.MODERATE
    kappas = [
        estimate_kappa(truth[side], grades[side], groups[side], seed=seed)
        for side in (is_flagged, ~is_flagged)
    ]
    return FlagQuality(
        flagged=estimate_grouped_proportion(is_flagged, groups),
        kappa_flagged=kappas[0],
        kappa_unflagged=kappas[1],
        grade_flagged=measure_decision(by_grade, is_flagged),
        grade_unflagged=measure_decision(by_grade, ~is_flagged),
        high_sensitivity_flagged=None
        if is_referred is None
        else measure_decision(is_referred, is_flagged),
        high_sensitivity_unflagged=None
        if is_referred is None
        else measure_decision(is_referred, ~is_flagged),
    )

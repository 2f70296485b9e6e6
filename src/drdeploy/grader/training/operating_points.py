"""Decisions, chosen on photographs that were not trained on and locked into the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from drdeploy.grader.artifacts import Clinical, OperatingPoint, Rate
from drdeploy.grader.evaluation.evaluation import rates
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import probabilities_or_worse
from drdeploy.grader.training.fit import MEDIAN_GRADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate

HIGH_SENSITIVITY: Final = 0.95
"""Sensitivity aimed at on validation photographs; on others it is expected to be a little less."""

DIGITS = 4
"""Of a threshold: more would say something of the last photograph alone."""


def choose_operating_points(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.floating],
    *,
    chosen_on: str,
    temperature: float,
    high_sensitivity: float = HIGH_SENSITIVITY,
) -> Clinical:
    """A high-sensitivity and a balanced point at grades 2 and 3.

    Args:
        labels: Shape ``(n,)``.
        probabilities: Shape ``(n, 5)``, calibrated, of photographs that were not trained on.
        chosen_on: Those photographs, in words.
        temperature: What the probabilities were calibrated with.
        high_sensitivity: Least share of diseased eyes that the first point flags.
    """
    or_worse = probabilities_or_worse(probabilities)
    points: list[OperatingPoint] = []
    for at_or_above in (2, 3):
        is_positive, scores = labels >= at_or_above, or_worse[:, at_or_above]
        if is_positive.all() or not is_positive.any():
            continue
        sensitive = _for_sensitivity(is_positive, scores, high_sensitivity)
        points.append(_point("high_sensitivity", at_or_above, sensitive, is_positive, scores))
        balanced = _youden(is_positive, scores)
        points.append(_point("balanced", at_or_above, balanced, is_positive, scores))
    return Clinical(
        chosen_on=chosen_on,
        temperature=temperature,
        grade_thresholds=MEDIAN_GRADE,
        operating_points=tuple(points),
    )


def _for_sensitivity(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating], wanted: float
) -> float:
    """The highest threshold that flags at least that share of the diseased."""
    ill = np.sort(scores[is_positive])
    misses = int((1 - wanted) * ill.size + 1e-9)
    return _rounded_down(float(ill[misses]))


def _youden(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The threshold with the largest sum of sensitivity and specificity (Youden 1950).

    The middle of the best stretch, so that it does not hang on one photograph.
    """
    candidates = np.unique(scores)
    ill, well = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    missed = np.searchsorted(ill, candidates, side="left") / ill.size
    cleared = np.searchsorted(well, candidates, side="left") / well.size
    best = int(np.argmax(cleared - missed))
    below = candidates[best - 1] if best else 0.0
    return _rounded_down(float(candidates[best] + below) / 2)


def _rounded_down(threshold: float) -> float:
    return float(np.floor(threshold * 10**DIGITS) / 10**DIGITS)


def _point(
    name: Literal["high_sensitivity", "balanced"],
    at_or_above: int,
    threshold: float,
    is_positive: NDArray[np.bool_],
    scores: NDArray[np.floating],
) -> OperatingPoint:
    sensitivity, specificity = rates(is_positive, scores >= threshold)
    return OperatingPoint(
        name=name,
        at_or_above=2 if at_or_above == Grade.MODERATE else 3,
        threshold=threshold,
        sensitivity=_rate(sensitivity),
        specificity=_rate(specificity),
    )


def _rate(estimate: Estimate) -> Rate:
    values = (estimate.value, estimate.low, estimate.high)
    value, low, high = (float("nan") if one is None else round(one, DIGITS) for one in values)
    return Rate(value, low, high, estimate.n)

"""Choose operating points on out-of-fold predictions, to be locked into the manifest.

Thresholds that are chosen on the photographs they are later evaluated on look better than they are,
so they are chosen once, here, and no evaluation changes them.
"""

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
"""Sensitivity of that point on the photographs it is chosen on; on others, expect a little less."""

DIGITS = 4
"""Decimals of a threshold; more would depend on a single photograph."""


def choose_operating_points(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.floating],
    *,
    chosen_on: str,
    temperature: float,
    high_sensitivity: float = HIGH_SENSITIVITY,
) -> Clinical:
    """Choose a high-sensitivity and a balanced point at grades 2 and 3.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Shape ``(n, 5)``, calibrated, of photographs that the network was not
            trained on.
        chosen_on: Those photographs, in words.
        temperature: What the probabilities were calibrated with.
        high_sensitivity: Least share of diseased eyes that the high-sensitivity point flags.
    """
    or_worse = probabilities_or_worse(probabilities)
    points: list[OperatingPoint] = []
    for at_or_above in (2, 3):
        is_positive, scores = labels >= at_or_above, or_worse[:, at_or_above]
        if is_positive.all() or not is_positive.any():
            continue
        sensitive = _threshold_for_sensitivity(is_positive, scores, high_sensitivity)
        points.append(
            _operating_point("high_sensitivity", at_or_above, sensitive, is_positive, scores)
        )
        balanced = _youden_threshold(is_positive, scores)
        points.append(_operating_point("balanced", at_or_above, balanced, is_positive, scores))
    return Clinical(
        chosen_on=chosen_on,
        temperature=temperature,
        grade_thresholds=MEDIAN_GRADE,
        operating_points=tuple(points),
    )


def _threshold_for_sensitivity(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating], least: float
) -> float:
    """The highest threshold that flags at least that share of the diseased eyes."""
    ill = np.sort(scores[is_positive])
    # (1 - 0.9) * 10 is 0.9999999999999998; without the small term, one miss fewer is allowed.
    misses = int((1 - least) * ill.size + 1e-9)
    return _round_down(float(ill[misses]))


def _youden_threshold(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The threshold with the largest sum of sensitivity and specificity (Youden 1950).

    Every threshold between two neighbouring scores gives the same sum.  The middle between them is
    taken, which depends least on one photograph.
    """
    candidates = np.unique(scores)
    ill, well = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    missed = np.searchsorted(ill, candidates, side="left") / ill.size
    cleared = np.searchsorted(well, candidates, side="left") / well.size
    best = int(np.argmax(cleared - missed))
    below = candidates[best - 1] if best else 0.0
    return _round_down(float(candidates[best] + below) / 2)


def _round_down(threshold: float) -> float:
    """Round down, so that no photograph that reached the threshold misses it."""
    return float(np.floor(threshold * 10**DIGITS) / 10**DIGITS)


def _operating_point(
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
        sensitivity=_rounded_rate(sensitivity),
        specificity=_rounded_rate(specificity),
    )


def _rounded_rate(estimate: Estimate) -> Rate:
    values = (estimate.value, estimate.low, estimate.high)
    value, low, high = (float("nan") if one is None else round(one, DIGITS) for one in values)
    return Rate(value, low, high, estimate.n)

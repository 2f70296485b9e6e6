"""Measure whether the probabilities P(grade >= g) agree with the labels.

The calibration intercept, and the ratio of observed to expected diseased photographs, say whether
the probabilities are right on average. The calibration slope says whether the probabilities are too
extreme (slope below 1) or too moderate (slope above 1). The terms are those of Van Calster et al.
(BMC Medicine 2019, 17:230); the slope goes back to Cox (Biometrika 1958, 45:562-565).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import Estimate
from drdeploy.statistics.proportions import (
    NO_PHOTOGRAPH,
    Z_TWO_SIDED,
    estimate_standard_error_over_groups,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from drdeploy.arrays import Floats

SMALLEST = 1e-6
"""The smallest distance of a probability from 0 and 1.

A probability that is closer to 0 or 1 is moved to this distance, because the logits of 0 and 1 are
infinite.
"""
STEPS = 100
TOLERANCE = 1e-10
LOGISTIC = "logistic regression, variance over groups"
RATIO = "ratio, variance over groups"


@dataclass(frozen=True)
class BinaryCalibration:
    """How well predicted probabilities of disease agree with how often disease was observed.

    Attributes:
        expected: Mean of the predicted probabilities. If the probabilities are right, their mean is
            about the share of diseased photographs.
        observed_over_expected: The number of diseased photographs, divided by the sum of the
            probabilities. If it is above 1, the probabilities are too low.
        intercept: The number that must be added to the logits so that the probabilities are right
            on average.
        slope: The factor by which the logits must be multiplied so that the probabilities are
            neither too extreme nor too moderate.
    """

    expected: float | None
    observed_over_expected: Estimate
    intercept: Estimate
    slope: Estimate


def estimate_binary_calibration(
    is_positive: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    groups: ArrayLike | None = None,
    weights: Floats | None = None,
) -> BinaryCalibration:
    """Estimate the ratio of observed to expected disease, and the calibration intercept and slope.

    Args:
        is_positive: Whether each photograph is diseased, shape ``(n,)``.
        probabilities: The predicted probabilities of disease, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        weights: How many times each photograph counts, shape ``(n,)``; None counts each once.
    """
    n = is_positive.size
    missing = (
        NO_PHOTOGRAPH
        if n == 0
        else "no healthy photograph"
        if is_positive.all()
        else ""
        if is_positive.any()
        else "no diseased photograph"
    )
    events = is_positive.astype(np.float64)
    chances = probabilities.astype(np.float64)
    if missing:
        nothing = Estimate(None, None, None, n, LOGISTIC, reason=missing)
        expected = float(np.average(chances, weights=weights)) if n else None
        return BinaryCalibration(expected, nothing, nothing, nothing)
    bounded = np.clip(chances, SMALLEST, 1 - SMALLEST)
    logits = np.log(bounded / (1 - bounded))
    counts = np.ones(n) if weights is None else weights
    return BinaryCalibration(
        expected=float(np.average(chances, weights=counts)),
        observed_over_expected=_estimate_observed_over_expected(events, chances, counts, groups),
        intercept=_fit_last_coefficient(np.ones((n, 1)), events, logits, counts, groups),
        slope=_estimate_slope(events, logits, counts, groups),
    )


def _estimate_observed_over_expected(
    events: Floats, chances: Floats, counts: Floats, groups: ArrayLike | None
) -> Estimate:
    expected, observed = float(counts @ chances), float(counts @ events)
    if expected <= 0:
        return Estimate(None, None, None, events.size, RATIO, reason="every probability is 0")
    ratio = observed / expected
    error = (
        estimate_standard_error_over_groups(counts * (events - ratio * chances), groups) / observed
    )
    if error <= 0:
        return Estimate(ratio, None, None, events.size, RATIO, reason="no interval: no spread")
    factor = math.exp(Z_TWO_SIDED * error)  # on the logarithm, so that no limit is below 0
    return Estimate(ratio, ratio / factor, ratio * factor, events.size, RATIO)


def _estimate_slope(
    events: Floats, logits: Floats, counts: Floats, groups: ArrayLike | None
) -> Estimate:
    is_ill = events > 0
    n = events.size
    if np.ptp(logits) == 0:
        reason = "all probabilities are the same"
        return Estimate(None, None, None, n, LOGISTIC, reason=reason)
    ill, well = logits[is_ill], logits[~is_ill]
    if ill.min() >= well.max() or ill.max() <= well.min():
        reason = "the probabilities separate diseased and healthy photographs without an overlap"
        return Estimate(None, None, None, n, LOGISTIC, reason=reason)
    design = np.stack([np.ones(n), logits], axis=1)
    return _fit_last_coefficient(design, events, np.zeros(n), counts, groups)


def _fit_last_coefficient(
    design: Floats, events: Floats, offset: Floats, counts: Floats, groups: ArrayLike | None
) -> Estimate:
    """Fit a logistic regression, and return the last coefficient with its 95 % interval.

    The variance of the coefficient is estimated by the sandwich estimator over groups (Liang and
    Zeger, Biometrika 1986, 73:13-22).
    """
    n = events.size
    coefficients = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chances = _logistic(design @ coefficients + offset)
        information = design.T @ (design * (counts * chances * (1 - chances))[:, None])
        try:
            bread = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            return Estimate(None, None, None, n, LOGISTIC, reason="the fit does not converge")
        step = bread @ (design.T @ (counts * (events - chances)))
        coefficients = coefficients + np.clip(step, -2, 2)  # a long step would overshoot
        if np.abs(step).max() < TOLERANCE:
            break
    else:
        return Estimate(None, None, None, n, LOGISTIC, reason="the fit does not converge")
    value = float(coefficients[-1])
    influence = (design * (counts * (events - chances))[:, None]) @ bread[:, -1]
    error = estimate_standard_error_over_groups(influence, groups)
    if error <= 0:
        return Estimate(value, None, None, n, LOGISTIC, reason="no interval: 1 group, 2 needed")
    half = Z_TWO_SIDED * error
    return Estimate(value, value - half, value + half, n, LOGISTIC)


def _logistic(values: Floats) -> Floats:
    chances: Floats = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return chances

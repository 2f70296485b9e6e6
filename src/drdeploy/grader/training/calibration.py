"""Calibrate a grader and choose its operating points on out-of-fold predictions.

After training, a network is usually overconfident: its probabilities are too close to 0 or 1.
Dividing the logits by one number, the temperature, corrects this on average. It does not change
which grade is the most probable (Guo et al., ICML 2017).

Thresholds look too good on the photographs on which they were chosen. They are therefore chosen
once, during training, together with the temperature. The manifest stores them, and a later
evaluation on other photographs uses the stored thresholds. To evaluate the thresholds fairly on the
training photographs, :func:`evaluate_cross_fitted_choices` evaluates each fold with a temperature
and thresholds that were chosen on the other folds. The grade itself needs no chosen threshold: it
is the highest grade g for which P(grade >= g) is at least 0.5 (the posterior median).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from drdeploy.grader.artifacts import Clinical, OperatingPoint, Rate
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import estimate_sensitivity_and_specificity
from drdeploy.grader.evaluation.metrics import estimate_calibration_error, estimate_kappa
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)
from drdeploy.grader.training.fit import MEDIAN_GRADE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Fold
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate

LEAST, MOST = 0.2, 5.0
"""Range of the temperature.  A network that needs a temperature outside this range has a fault that
no single number can repair."""
SMALLEST = 1e-12
"""Smaller probabilities are raised to this value before their logarithm is taken."""
HIGH_SENSITIVITY: Final = 0.95
"""Sensitivity that the threshold of the high-sensitivity operating point must reach on the
photographs on which it is chosen. Training, quantization and recalibration all use this target, and
the manifest stores it. On other photographs, the sensitivity is usually lower.
"""
PointName = Literal["high_sensitivity", "balanced"]
DIGITS = 4
"""The number of decimals of a threshold; further decimals would depend on a single photograph."""


def fit_temperature(labels: NDArray[np.intp], probabilities: NDArray[np.floating]) -> float:
    """Find the temperature under which the labels are most likely, rounded to three decimals.

    Args:
        labels: Shape ``(n,)``.
        probabilities: Predictions for photographs that the network was not trained on, shape ``(n,
            5)``.
    """
    from scipy.optimize import minimize_scalar

    def compute_log_loss(temperature: float) -> float:
        scaled = apply_temperature(probabilities, temperature)
        of_label = scaled[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(of_label, SMALLEST)).mean())

    found = minimize_scalar(compute_log_loss, bounds=(LEAST, MOST), method="bounded")
    return round(float(found.x), 3)


def apply_temperature(
    probabilities: NDArray[np.floating], temperature: float
) -> NDArray[np.float64]:
    """Divide the logits by the temperature and return the probabilities in shape ``(n, 5)``."""
    from scipy.special import softmax

    # Logarithms of the probabilities are the logits but for a constant, which softmax ignores.
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    scaled: NDArray[np.float64] = softmax(logs / temperature, axis=1)
    return scaled


def calibrate_cross_fitted(graded: GradedSet, folds: Sequence[Fold]) -> GradedSet:
    """Calibrate the predictions of each fold with a temperature chosen on the other folds.

    Photographs without a grade are left as they are.
    """
    calibrated = graded.probabilities.copy()
    for fold in folds:
        chosen_on = fold.train[graded.is_gradable[fold.train]]
        temperature = fit_temperature(graded.labels[chosen_on], graded.probabilities[chosen_on])
        applied_to = fold.validation[graded.is_gradable[fold.validation]]
        calibrated[applied_to] = apply_temperature(graded.probabilities[applied_to], temperature)
    return replace(graded, probabilities=calibrated)


def divide_last_layer_by_temperature(network: Any, temperature: float) -> None:
    """Divide the last layer's weights by the temperature, so that the network is calibrated."""
    last = network.get_layer("grades")
    last.kernel.assign(last.kernel / temperature)
    last.bias.assign(last.bias / temperature)


def choose_operating_points(
    labels: NDArray[np.intp],
    probabilities: NDArray[np.floating],
    *,
    chosen_on: str,
    temperature: float,
    high_sensitivity: float = HIGH_SENSITIVITY,
    groups: NDArray[np.generic] | None = None,
    folds: Sequence[Fold] = (),
) -> Clinical:
    """Choose a high-sensitivity and a balanced operating point at grades 2 and 3.

    If ``folds`` is given, the sensitivity and specificity of a point are cross-fitted: each
    photograph is flagged by a threshold that is chosen on the other folds.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Calibrated predictions for photographs that the network was not trained on,
            shape ``(n, 5)``.
        chosen_on: A description of the photographs, which the manifest shows.
        temperature: The temperature with which the probabilities were calibrated.
        high_sensitivity: The high-sensitivity point must flag at least this share of the diseased
            photographs.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        folds: Folds of the photographs, grouped by session or patient.
    """
    or_worse = probability_of_grade_or_worse(probabilities)
    flags = calibrate_and_flag_cross_fitted(labels, probabilities, folds)[1] if folds else {}
    points: list[OperatingPoint] = []
    for at_or_above in (2, 3):
        is_positive, scores = labels >= at_or_above, or_worse[:, at_or_above]
        if is_positive.all() or not is_positive.any():
            continue
        thresholds: tuple[tuple[PointName, float], ...] = (
            (
                "high_sensitivity",
                _highest_threshold_for_sensitivity(is_positive, scores, high_sensitivity),
            ),
            ("balanced", _youden_threshold(is_positive, scores)),
        )
        for name, threshold in thresholds:
            flagged = flags.get((name, at_or_above))
            sensitivity, specificity = estimate_sensitivity_and_specificity(
                is_positive, scores >= threshold if flagged is None else flagged, groups
            )
            points.append(
                OperatingPoint(
                    name=name,
                    at_or_above=2 if at_or_above == Grade.MODERATE else 3,
                    threshold=threshold,
                    sensitivity=make_rate_of_estimate(sensitivity),
                    specificity=make_rate_of_estimate(specificity),
                    cross_fitted=flagged is not None,
                    target_sensitivity=high_sensitivity if name == "high_sensitivity" else None,
                )
            )
    return Clinical(
        chosen_on=chosen_on,
        temperature=temperature,
        grade_thresholds=MEDIAN_GRADE,
        operating_points=tuple(points),
    )


def _highest_threshold_for_sensitivity(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating], least: float
) -> float:
    """Return the highest threshold that flags at least the given share of the diseased eyes."""
    ill = np.sort(scores[is_positive])
    # (1 - 0.9) * 10 is 0.9999999999999998; without the small term, one miss fewer is allowed.
    misses = int((1 - least) * ill.size + 1e-9)
    return _round_threshold_down(float(ill[misses]))


def _youden_threshold(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Return the threshold with the largest sum of sensitivity and specificity (Youden 1950).

    Every threshold between two neighbouring scores gives the same sum.  The middle between the two
    scores is returned, because it depends least on a single photograph.
    """
    candidates = np.unique(scores)
    ill, well = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    missed = np.searchsorted(ill, candidates, side="left") / ill.size
    cleared = np.searchsorted(well, candidates, side="left") / well.size
    best = int(np.argmax(cleared - missed))
    below = candidates[best - 1] if best else 0.0
    return _round_threshold_down(float(candidates[best] + below) / 2)


def _round_threshold_down(threshold: float) -> float:
    """Round a threshold down, so that every photograph that reached it still reaches it."""
    return float(np.floor(threshold * 10**DIGITS) / 10**DIGITS)


def make_rate_of_estimate(estimate: Estimate) -> Rate:
    """Return an estimate as it is written into a manifest, rounded to four decimals.

    The limits are NaN if the estimate has no interval.
    """
    values = (estimate.value, estimate.low, estimate.high)
    value, low, high = (float("nan") if one is None else round(one, DIGITS) for one in values)
    return Rate(value, low, high, estimate.n)


def evaluate_cross_fitted_choices(out_of_fold: GradedSet, folds: Sequence[Fold]) -> dict[str, Any]:
    """Evaluate each fold with the temperature and thresholds chosen on the other folds.

    The predictions may be calibrated or not; apart from rounding, the result is the same.

    Returns:
        A dictionary for JSON with kappa, the calibration error and the operating points, each with
            an interval. It contains only operating points that could be chosen for every fold.
    """
    labels, groups = out_of_fold.labels, out_of_fold.groups
    calibrated, flags = calibrate_and_flag_cross_fitted(labels, out_of_fold.probabilities, folds)
    points = [
        {
            "name": name,
            "at_or_above": grade,
            "sensitivity": estimate_as_dict(sensitivity),
            "specificity": estimate_as_dict(specificity),
        }
        for (name, grade), flagged in flags.items()
        for sensitivity, specificity in [
            estimate_sensitivity_and_specificity(labels >= grade, flagged, groups)
        ]
    ]
    return {
        "kappa": estimate_as_dict(
            estimate_kappa(labels, grades_from_probabilities(calibrated, MEDIAN_GRADE), groups)
        ),
        "ece": estimate_as_dict(estimate_calibration_error(labels, calibrated, groups)),
        "operating_points": points,
    }


def calibrate_and_flag_cross_fitted(
    labels: NDArray[np.intp], probabilities: NDArray[np.floating], folds: Sequence[Fold]
) -> tuple[NDArray[np.float64], dict[tuple[str, int], NDArray[np.bool_]]]:
    """Calibrate and flag each fold with a temperature and thresholds from the other folds.

    Returns:
        The calibrated probabilities, shape ``(n, 5)``, and a dictionary of flags. The key of an
        entry is an operating point's name and grade. The value is an array of shape ``(n,)`` that
        says which photographs the operating point flags. Operating points that could not be chosen
        for every fold are left out.
    """
    calibrated = np.empty(probabilities.shape)
    flags: dict[tuple[str, int], NDArray[np.bool_]] = {}
    choices: list[set[tuple[str, int]]] = []
    for fold in folds:
        temperature = fit_temperature(labels[fold.train], probabilities[fold.train])
        scaled = apply_temperature(probabilities, temperature)
        calibrated[fold.validation] = scaled[fold.validation]
        chosen = choose_operating_points(
            labels[fold.train], scaled[fold.train], chosen_on="", temperature=temperature
        ).operating_points
        or_worse = probability_of_grade_or_worse(scaled[fold.validation])
        for point in chosen:
            flagged = flags.setdefault((point.name, point.at_or_above), np.zeros(len(labels), bool))
            flagged[fold.validation] = point.reaches_threshold(or_worse[:, point.at_or_above])
        choices.append({(point.name, point.at_or_above) for point in chosen})
    in_all = set.intersection(*choices)
    return calibrated, {at: flagged for at, flagged in flags.items() if at in in_all}

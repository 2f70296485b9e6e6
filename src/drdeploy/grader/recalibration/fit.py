"""Find the temperature, the weights of the grades and the thresholds for a clinic's photographs.

The temperature and one weight for each grade are chosen so that the labels become most likely. The
method is bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar, ICML 2020). A
clinic may have only fifty photographs, so a prior keeps the values near 1, to avoid overfitting.
The prior was tested in simulations with the packaged grader's out-of-fold predictions. Some
simulations changed the logits and the shares of the grades, as another clinic might, and some
changed nothing. With the prior, recalibration did little harm where nothing was changed, and kept
most of the gain where something was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.adjustment import adjust_probabilities
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.training.calibration import LEAST, MOST, SMALLEST, choose_operating_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.datasets import Fold
    from drdeploy.grader.evaluation.predictions import GradedSet

    Floats = NDArray[np.float64]

PRIOR_WEIGHT = 1.0
"""Weight of the squared logarithms of temperature and grade weights in the prior.

With a weight of 1, a temperature or grade weight of 2 is about as unlikely as a normal variable
that is one standard deviation from its mean.
"""
DIGITS = 4
MOST_WEIGHT = 1000.0
"""Largest factor by which a weight may differ from 1.

A larger factor would depend on single photographs.
"""


@dataclass(frozen=True)
class Adjustment:
    """The numbers that adapt a grader's probabilities.

    Attributes:
        temperature: See :func:`drdeploy.grader.grading.adjustment.adjust_probabilities`.
        grade_weights: One weight for each grade. The geometric mean of the weights is 1.
    """

    temperature: float
    grade_weights: tuple[float, ...]

    def apply_to(self, probabilities: NDArray[np.floating]) -> Floats:
        """Return adapted probabilities in shape ``(n, 5)``."""
        return adjust_probabilities(probabilities, self.temperature, self.grade_weights)

    def move_to_prevalence(self, prevalence: float, share: float) -> Adjustment:
        """Return the adjustment for patients with another share of grade 2 or worse.

        Args:
            prevalence: The share of grade 2 or worse where the grader will be used.
            share: The share of grade 2 or worse among the photographs that the adjustment was
                fitted to.
        """
        ratios = [
            prevalence / share if grade >= Grade.MODERATE else (1 - prevalence) / (1 - share)
            for grade in Grade
        ]
        weights = [weight * ratio for weight, ratio in zip(self.grade_weights, ratios, strict=True)]
        return Adjustment(self.temperature, _normalise_weights(weights))


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Results on photographs that were not used to choose the adjustment and the thresholds.

    Attributes:
        probabilities: Adapted probabilities, shape ``(n, 5)``. Each row is adapted with numbers
            that were fitted to photographs of other patients. A stated prevalence is not applied
            here.
        flags: Under the name and grade of each operating point, an array of shape ``(n,)`` that
            says which photographs it flags. The threshold was chosen on photographs of other
            patients.
    """

    probabilities: Floats
    flags: dict[tuple[str, int], NDArray[np.bool_]]


def fit_adjustment(labels: NDArray[np.intp], probabilities: NDArray[np.floating]) -> Adjustment:
    """Find the most likely temperature and weights of the grades.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Predictions for photographs that the network was not trained on, shape ``(n,
            5)``.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    rows = np.arange(len(labels))

    def compute_log_loss(parameters: Floats) -> float:
        scaled = log_softmax(logs * np.exp(-parameters[0]) + parameters[1:], axis=1)
        return float(-scaled[rows, labels].sum() + PRIOR_WEIGHT * (parameters**2).sum())

    most = float(np.log(MOST_WEIGHT))
    bounds = [(float(np.log(LEAST)), float(np.log(MOST))), *[(-most, most)] * len(Grade)]
    found = minimize(compute_log_loss, np.zeros(1 + len(Grade)), bounds=bounds, method="L-BFGS-B").x
    return Adjustment(round(float(np.exp(found[0])), DIGITS), _normalise_weights(np.exp(found[1:])))


def _normalise_weights(weights: Sequence[float] | Floats) -> tuple[float, ...]:
    values = np.asarray(weights, dtype=np.float64)
    scaled = values / np.exp(np.log(values).mean())
    return tuple(float(f"{weight:.{DIGITS}g}") for weight in scaled)


def choose_operating_points_for_clinic(
    labels: NDArray[np.intp], adapted: Floats, *, original: Clinical | None, chosen_on: str
) -> Clinical:
    """Choose operating points on adapted probabilities, and keep the original grade thresholds.

    The rates of each point are measured on the photographs on which the point is chosen.
    """
    chosen = choose_operating_points(
        labels,
        adapted,
        chosen_on=chosen_on,
        temperature=1.0 if original is None else original.temperature,
    )
    if original is None:
        return chosen
    return msgspec.structs.replace(chosen, grade_thresholds=original.grade_thresholds)


def cross_fit_adjustment_and_thresholds(
    graded: GradedSet, folds: Sequence[Fold], *, prevalence: float | None
) -> CrossFit:
    """Adapt the predictions of each fold with an adjustment and thresholds from the other folds.

    Args:
        graded: The grader's own predictions; every photograph has a grade.
        folds: Folds of the photographs that keep each patient's photographs together.
        prevalence: Stated share of grade 2 or worse, for the thresholds, or None.

    Raises:
        InvalidInput: If one fold is left out, the others lack photographs for choosing a threshold.
    """
    adapted = np.empty_like(graded.probabilities)
    flags: dict[tuple[str, int], NDArray[np.bool_]] = {}
    for fold in folds:
        labels = graded.labels[fold.train]
        adjustment = fit_adjustment(labels, graded.probabilities[fold.train])
        adapted[fold.validation] = adjustment.apply_to(graded.probabilities[fold.validation])
        final = move_to_stated_prevalence(adjustment, labels, prevalence)
        scaled = final.apply_to(graded.probabilities)
        chosen = choose_operating_points_for_clinic(
            labels, scaled[fold.train], original=None, chosen_on=""
        ).operating_points
        for point in chosen:
            key = (point.name, point.at_or_above)
            flagged = flags.setdefault(key, np.zeros(len(graded), dtype=bool))
            shares = scaled[fold.validation, point.at_or_above :].sum(axis=1)
            flagged[fold.validation] = point.reaches_threshold(shares)
        if len(chosen) < 4:
            raise InvalidInput(
                "Almost all photographs below a grade, or of this grade and worse, are of a few "
                "patients. Without the photographs of some patients, no threshold can be chosen",
                remedy="Add graded photographs of other patients with these grades",
            )
    return CrossFit(adapted, flags)


def move_to_stated_prevalence(
    adjustment: Adjustment, labels: NDArray[np.intp], prevalence: float | None
) -> Adjustment:
    """Return the adjustment for the stated share of grade 2 or worse, if one is stated."""
    if prevalence is None:
        return adjustment
    return adjustment.move_to_prevalence(prevalence, float((labels >= Grade.MODERATE).mean()))

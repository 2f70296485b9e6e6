"""Find the temperature, the weights of the grades and the thresholds for a clinic's photographs.

The grader's probabilities are adapted with a temperature and with one weight for each grade. These
numbers are chosen by maximum likelihood, so that the grades that the clinic gave become as probable
as possible. The method is bias-corrected temperature scaling (Alexandari, Kundaje and Shrikumar,
ICML 2020). A clinic may have only fifty photographs. To avoid overfitting, a Bayesian prior
therefore keeps the temperature and the weights near 1. The prior was tested in simulations with the
packaged grader's out-of-fold predictions. Some simulations changed the logits and the shares of the
grades, to imitate a clinic with other cameras and patients. The others changed nothing. With the
prior, recalibration did little harm where nothing was changed, and kept most of the gain where
something was changed.
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

    from drdeploy.arrays import Floats
    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.datasets import Fold
    from drdeploy.grader.evaluation.predictions import GradedSet

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
    """The temperature and the grade weights with which a grader's probabilities are adapted.

    Attributes:
        temperature: The number that the logits are divided by; see
            :func:`drdeploy.grader.grading.adjustment.adjust_probabilities`.
        grade_weights: One weight for each grade. The geometric mean of the weights is 1.
    """

    temperature: float
    grade_weights: tuple[float, ...]

    def apply_to(self, probabilities: NDArray[np.floating]) -> Floats:
        """Return adapted probabilities in shape ``(n, 5)``."""
        return adjust_probabilities(probabilities, self.temperature, self.grade_weights)

    def move_to_prevalence(self, prevalence: float, share: float) -> Adjustment:
        """Return this adjustment, changed for patients with another share of grade 2 or worse.

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
            that were fitted to photographs of other patients. If the user stated a prevalence, it
            changes ``stated`` and ``flags``, but not these probabilities.
        stated: The probabilities at the prevalence that the user stated, shape ``(n, 5)``; the
            answered grades follow from them. They equal ``probabilities`` if none was stated.
        flags: A dictionary of arrays. Its keys are the name and grade of each operating point. An
            array has shape ``(n,)`` and says which photographs the operating point flags. The
            threshold for a photograph was chosen on photographs of other patients.
    """

    probabilities: Floats
    stated: Floats
    flags: dict[tuple[str, int], NDArray[np.bool_]]


def fit_adjustment(labels: NDArray[np.intp], probabilities: NDArray[np.floating]) -> Adjustment:
    """Find the temperature and the grade weights under which the labels are most likely.

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
    """Choose a clinic's operating points, and keep the grade thresholds of the original grader.

    The sensitivity and specificity of each point are measured on the photographs on which the point
    is chosen, so they look too good.
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
    """Adapt and flag the predictions of each fold with values that were chosen on the other folds.

    Args:
        graded: The grader's own predictions; every photograph has a grade.
        folds: Folds of the photographs that keep each patient's photographs together.
        prevalence: The share of grade 2 or worse that the user stated, or None. The thresholds and
            ``stated`` depend on it.

    Raises:
        InvalidInput: Without one of the folds, too few photographs are left to choose a threshold.
    """
    adapted, stated = np.empty_like(graded.probabilities), np.empty_like(graded.probabilities)
    flags: dict[tuple[str, int], NDArray[np.bool_]] = {}
    for fold in folds:
        labels = graded.labels[fold.train]
        adjustment = fit_adjustment(labels, graded.probabilities[fold.train])
        adapted[fold.validation] = adjustment.apply_to(graded.probabilities[fold.validation])
        final = move_to_stated_prevalence(adjustment, labels, prevalence)
        scaled = final.apply_to(graded.probabilities)
        stated[fold.validation] = scaled[fold.validation]
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
                "Almost all photographs below grade 2 or 3, or at or above it, are of a few "
                "patients. Without these patients, no threshold can be chosen, so the result "
                "cannot be checked",
                remedy="Add graded photographs of other patients with these grades",
            )
    return CrossFit(adapted, stated, flags)


def move_to_stated_prevalence(
    adjustment: Adjustment, labels: NDArray[np.intp], prevalence: float | None
) -> Adjustment:
    """Adapt an adjustment to a stated share of grade 2 or worse; unchanged if none is stated."""
    if prevalence is None:
        return adjustment
    return adjustment.move_to_prevalence(prevalence, float((labels >= Grade.MODERATE).mean()))

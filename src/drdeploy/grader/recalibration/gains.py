"""Measure the gain of a recalibration, on photographs that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drdeploy.grader.evaluation.calibration import BinaryCalibration, estimate_binary_calibration
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import estimate_sensitivity_and_specificity
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.training.calibration import SMALLEST
from drdeploy.statistics.proportions import estimate_grouped_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate

    Flags = Mapping[tuple[str, int], NDArray[np.bool_]]

GainOutcome = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class GraderState:
    """How good the probabilities and decisions are, before or after the recalibration.

    Attributes:
        calibration: How well the probability of grade 2 or worse is calibrated.
        log_loss: Mean negative logarithm of the probability of the true grade; smaller is better.
        points: Sensitivity and specificity of each operating point, by its name and grade.
    """

    calibration: BinaryCalibration
    log_loss: Estimate
    points: dict[tuple[str, int], tuple[Estimate, Estimate]]


@dataclass(frozen=True)
class RecalibrationGain:
    """The grader before and after the recalibration, on the same photographs.

    Attributes:
        before: The grader as it was.
        after: The recalibrated grader; the adjustment and thresholds for each photograph were
            chosen on photographs of other patients.
        log_loss_change: Mean change of a photograph's log loss; negative if the recalibrated grader
            is better.
    """

    before: GraderState
    after: GraderState
    log_loss_change: Estimate

    @property
    def outcome(self) -> GainOutcome:
        """How the log loss changed; ``no difference shown`` if the interval contains zero."""
        change = self.log_loss_change
        if change.high is not None and change.high < 0:
            return "better"
        return "worse" if change.low is not None and change.low > 0 else "no difference shown"

    @property
    def document(self) -> dict[str, Any]:
        """The gain as a dictionary for JSON."""
        return {
            "outcome": self.outcome,
            "before": _build_state_document(self.before),
            "after": _build_state_document(self.after),
            "log_loss_change": estimate_as_dict(self.log_loss_change),
        }


def measure_gain(
    graded: GradedSet, before: Floats, before_flags: Flags, after: Floats, after_flags: Flags
) -> RecalibrationGain:
    """Compare probabilities and flags before and after a recalibration.

    Args:
        graded: The photographs. Only their labels and groups are used, and not the predictions.
        before: Probabilities of the grader as it was, shape ``(n, 5)``.
        before_flags: For each operating point of the grader as it was, an array of shape ``(n,)``
            that says which photographs the point flags.
        after: Cross-fitted probabilities of the recalibrated grader, shape ``(n, 5)``.
        after_flags: For each new operating point, an array of the same form as in ``before_flags``.
            The threshold for a photograph was chosen on photographs of other patients.
    """
    change = _compute_log_losses(graded, after) - _compute_log_losses(graded, before)
    return RecalibrationGain(
        before=_measure_calibration_and_rates(graded, before, before_flags),
        after=_measure_calibration_and_rates(graded, after, after_flags),
        log_loss_change=estimate_grouped_mean(change, graded.groups),
    )


def _measure_calibration_and_rates(
    graded: GradedSet, probabilities: Floats, flags: Flags
) -> GraderState:
    is_positive = graded.labels >= Grade.MODERATE
    referable = probabilities[:, Grade.MODERATE :].sum(axis=1)
    return GraderState(
        calibration=estimate_binary_calibration(is_positive, referable, graded.groups),
        log_loss=estimate_grouped_mean(_compute_log_losses(graded, probabilities), graded.groups),
        points={
            key: estimate_sensitivity_and_specificity(
                graded.labels >= key[1], flagged, graded.groups
            )
            for key, flagged in flags.items()
        },
    )


def _compute_log_losses(graded: GradedSet, probabilities: Floats) -> Floats:
    of_label = probabilities[np.arange(len(graded)), graded.labels]
    losses: Floats = -np.log(np.maximum(of_label, SMALLEST))
    return losses


def _build_state_document(state: GraderState) -> dict[str, Any]:
    calibration = state.calibration
    return {
        "calibration_at_grade_2": {
            "intercept": estimate_as_dict(calibration.intercept),
            "slope": estimate_as_dict(calibration.slope),
            "observed_over_expected": estimate_as_dict(calibration.observed_over_expected),
        },
        "log_loss": estimate_as_dict(state.log_loss),
        "operating_points": [
            {
                "name": name,
                "at_or_above": grade,
                "sensitivity": estimate_as_dict(sensitivity),
                "specificity": estimate_as_dict(specificity),
            }
            for (name, grade), (sensitivity, specificity) in state.points.items()
        ],
    }

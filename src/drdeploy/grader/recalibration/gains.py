"""Measure the gain of a recalibration, on photographs that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drdeploy.grader.evaluation.calibration import BinaryCalibration, estimate_binary_calibration
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import estimate_sensitivity_and_specificity
from drdeploy.grader.evaluation.metrics import estimate_kappa
from drdeploy.grader.grading.grade import DEFAULT_MIN_SPECIFICITY, Grade
from drdeploy.grader.training.calibration import SMALLEST
from drdeploy.statistics.proportions import estimate_grouped_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.grader.evaluation.predictions import FlagsByPoint, GradedSet
    from drdeploy.statistics.estimate import Estimate


GainOutcome = Literal["better", "worse", "no difference shown"]
DEFAULT_POINT = ("high_sensitivity", int(Grade.MODERATE))
"""The operating point that decides ``referable`` in an answer."""


@dataclass(frozen=True)
class GraderState:
    """How good the probabilities and decisions are, before or after the recalibration.

    Attributes:
        calibration: How well the probability of grade 2 or worse is calibrated.
        log_loss: Mean negative logarithm of the probability of the true grade; smaller is better.
        kappa: Quadratic weighted kappa of the answered grade.
        answered: Sensitivity and specificity of the answered grade, by the lowest grade that counts
            as disease.
        points: Sensitivity and specificity of each operating point, by its name and grade.
    """

    calibration: BinaryCalibration
    log_loss: Estimate
    kappa: Estimate
    answered: dict[Grade, tuple[Estimate, Estimate]]
    points: dict[tuple[str, int], tuple[Estimate, Estimate]]

    @property
    def default_decision(self) -> tuple[Estimate, Estimate]:
        """Sensitivity and specificity of the decision ``referable`` in an answer.

        Without a high-sensitivity point for grade 2, the answered grade decides.
        """
        return self.points.get(DEFAULT_POINT, self.answered[Grade.MODERATE])


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a grader answers and decides for each photograph.

    Attributes:
        probabilities: Shape ``(n, 5)``.
        grades: The answered grades, shape ``(n,)``.
        flags: For each operating point, by its name and grade, an array of shape ``(n,)`` that says
            which photographs the point flags.
    """

    probabilities: Floats
    grades: NDArray[np.intp]
    flags: FlagsByPoint


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
    graded: GradedSet, before: Decisions, after: Decisions, *, seed: int = 0
) -> RecalibrationGain:
    """Compare a grader's answers before and after a recalibration.

    Args:
        graded: The photographs. Only their labels and groups are used, and not the predictions.
        before: The answers of the grader as it was.
        after: Cross-fitted answers of the recalibrated grader: the adjustment and the thresholds
            for a photograph were chosen on photographs of other patients.
        seed: Seed of the bootstrap interval of kappa.
    """
    change = _compute_log_losses(graded, after.probabilities) - _compute_log_losses(
        graded, before.probabilities
    )
    return RecalibrationGain(
        before=_measure_grader(graded, before, seed),
        after=_measure_grader(graded, after, seed),
        log_loss_change=estimate_grouped_mean(change, graded.groups),
    )


def warn_about_specificity(gain: RecalibrationGain) -> list[str]:
    """Return a warning if the recalibrated grader would refer most eyes that need no referral.

    The threshold is chosen to reach a sensitivity, however low the specificity is then. If a few
    diseased photographs have low probabilities, the threshold may flag nearly every photograph.
    """
    before, after = (state.default_decision[1] for state in (gain.before, gain.after))
    if after.value is None or after.value >= DEFAULT_MIN_SPECIFICITY:
        return []

    def as_percent(share: float) -> str:
        return f"{100 * share:.0f} %"

    interval = (
        ""
        if after.low is None or after.high is None
        else f" (95 % interval: {as_percent(after.low)} to {as_percent(after.high)})"
    )
    earlier = (
        "" if before.value is None else f" Before recalibration, it was {as_percent(before.value)}."
    )
    warning = (
        "The specificity of the default decision (`referable`) is only "
        f"{as_percent(after.value)}{interval}. The new artifact refers most of the eyes below "
        f"grade 2.{earlier} A grader saves little work if it clears less than "
        f"{as_percent(DEFAULT_MIN_SPECIFICITY)} of these eyes. The threshold depends on the few "
        "photographs of grade 2 or worse that have the lowest probabilities, so recalibrate with "
        "more photographs of grade 2 or worse. Before you use the new artifact, compare its "
        "sensitivity and specificity with those of the original artifact."
    )
    return [warning]


def _measure_grader(graded: GradedSet, found: Decisions, seed: int) -> GraderState:
    labels, groups = graded.labels, graded.groups
    referable = found.probabilities[:, Grade.MODERATE :].sum(axis=1)
    losses = _compute_log_losses(graded, found.probabilities)
    return GraderState(
        calibration=estimate_binary_calibration(labels >= Grade.MODERATE, referable, groups),
        log_loss=estimate_grouped_mean(losses, groups),
        kappa=estimate_kappa(labels, found.grades, groups, seed=seed),
        answered={
            grade: estimate_sensitivity_and_specificity(
                labels >= grade, found.grades >= grade, groups
            )
            for grade in (Grade.MODERATE, Grade.SEVERE)
        },
        points={
            key: estimate_sensitivity_and_specificity(labels >= key[1], flagged, groups)
            for key, flagged in found.flags.items()
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
        "kappa": estimate_as_dict(state.kappa),
        "answered_grade": [
            {
                "at_or_above": int(grade),
                "sensitivity": estimate_as_dict(sensitivity),
                "specificity": estimate_as_dict(specificity),
            }
            for grade, (sensitivity, specificity) in state.answered.items()
        ],
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

"""Choose a quantized grader's temperature and operating points on its own predictions.

Rounded weights change the probabilities, and often change all of them in the same direction. With
the original's thresholds, too many or too few eyes would then be flagged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets import Fold, split_into_grouped_folds
from drdeploy.grader.grading.prediction import probability_of_grade_or_worse
from drdeploy.grader.training.calibration import (
    apply_temperature,
    calibrate_and_flag_cross_fitted,
    calibrate_cross_fitted,
    choose_operating_points,
    fit_temperature,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.evaluation.predictions import FlagsByPoint, GradedSet


FEWEST_TO_CALIBRATE = 50
"""The smallest number of photographs on which a temperature is chosen.

With fewer, single photographs would decide the temperature.
"""
FOLDS = 5


@dataclass(frozen=True)
class OwnDecisions:
    """How a quantized grader turns its outputs into decisions, with values chosen for this grader.

    Attributes:
        clinical: Thresholds and operating points, or None if the original has none.
        temperature: The number by which the quantized model's logits must be divided; 1 changes
            nothing.
        cross_fitted: The predictions, each calibrated with a temperature that was chosen on other
            photographs. If there are too few photographs for this, the predictions are unchanged.
        flags: Which photographs each operating point flags, see :func:`flag_at_operating_points`.
            Each photograph is judged by a temperature and a threshold that were chosen on other
            photographs, if there are enough photographs for this.
    """

    clinical: Clinical | None
    temperature: float
    cross_fitted: GradedSet
    flags: FlagsByPoint = field(default_factory=dict)


def flag_at_operating_points(clinical: Clinical | None, graded: GradedSet) -> FlagsByPoint:
    """Return which photographs each operating point of a grader flags.

    Args:
        clinical: The operating points with their thresholds.
        graded: The predictions. A photograph without a grade is never flagged.

    Returns:
        A dictionary with an entry for each operating point. The key is the point's name and the
            grade that it looks for; the value has the shape ``(n,)``.
    """
    or_worse = probability_of_grade_or_worse(graded.probabilities)
    return {
        (point.name, point.at_or_above): or_worse[:, point.at_or_above] >= point.threshold
        for point in (clinical.operating_points if clinical is not None else ())
    }


def calibrate_quantized_grader(
    original: Clinical | None,
    quantized: GradedSet,
    dataset: Dataset,
    *,
    may_calibrate: bool = True,
    seed: int = 0,
) -> OwnDecisions:
    """Choose the temperature and the operating points of a quantized grader.

    Args:
        original: The thresholds and operating points of the original grader. The quantized grader
            keeps the grade thresholds, because they define the grades, and gets operating points of
            its own.
        quantized: Predictions of the quantized grader for every photograph of ``dataset``.
        dataset: The photographs.
        may_calibrate: Whether the model's logits can be divided by a temperature.
        seed: Seed of the folds.
    """
    if original is None:
        return OwnDecisions(None, 1.0, quantized)
    gradable = quantized.is_gradable
    labels, probabilities = quantized.labels[gradable], quantized.probabilities[gradable]
    temperature, cross_fitted = 1.0, quantized
    own_folds: tuple[Fold, ...] = ()
    if may_calibrate and len(labels) >= FEWEST_TO_CALIBRATE:
        try:
            folds = split_into_grouped_folds(dataset, FOLDS, seed=seed)
        except InvalidInput:  # too few sessions or grades for folds, so nothing can be cross-fitted
            folds = ()
        if folds:
            temperature = fit_temperature(labels, probabilities)
            cross_fitted = calibrate_cross_fitted(quantized, folds)
            own_folds = _remove_ungradable_from_folds(folds, gradable)
    clinical = choose_operating_points(
        labels,
        apply_temperature(probabilities, temperature),
        chosen_on=f"predictions of this model for {len(labels)} photographs of {dataset.name}",
        temperature=round(original.temperature * temperature, 3),
        groups=quantized.groups[gradable],
        folds=own_folds,
    )
    calibrated = apply_temperature(quantized.probabilities, temperature)
    flags = dict(flag_at_operating_points(clinical, replace(quantized, probabilities=calibrated)))
    if own_folds:
        _, cross_fitted_flags = calibrate_and_flag_cross_fitted(labels, probabilities, own_folds)
        for point, flagged in cross_fitted_flags.items():
            flags[point] = np.zeros(len(quantized), dtype=bool)
            flags[point][gradable] = flagged
    return OwnDecisions(
        msgspec.structs.replace(clinical, grade_thresholds=original.grade_thresholds),
        temperature,
        cross_fitted,
        flags,
    )


def _remove_ungradable_from_folds(
    folds: tuple[Fold, ...], gradable: NDArray[np.bool_]
) -> tuple[Fold, ...]:
    """Remove ungradable photographs from the folds, and renumber the gradable photographs."""
    position = np.cumsum(gradable) - 1
    return tuple(
        Fold(*(position[part[gradable[part]]] for part in (fold.train, fold.validation)))
        for fold in folds
    )

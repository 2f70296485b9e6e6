"""Estimate how the chosen thresholds do on photographs that they were not chosen on.

The temperature and the operating points are chosen on the out-of-fold predictions, so figures
computed from the same predictions are a little too good.  Here the predictions of every fold are
evaluated with the temperature and thresholds that the other folds alone would have chosen.  The
grade itself is the posterior median, for which nothing is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.evaluation.evaluation import rates
from drdeploy.grader.evaluation.metrics import expected_calibration_error, kappa
from drdeploy.grader.grading.prediction import grades_of, probabilities_or_worse
from drdeploy.grader.training.calibration import fit_temperature, with_temperature
from drdeploy.grader.training.fit import MEDIAN_GRADE
from drdeploy.grader.training.operating_points import choose_operating_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Fold
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate


@dataclass(frozen=True)
class CrossFittedPoint:
    """The quality of an operating point whose threshold was chosen for each fold on the others.

    Attributes:
        name: Of the operating point.
        at_or_above: The ICDR grade from which an eye should be flagged.
        sensitivity: Share of the diseased eyes that are flagged.
        specificity: Share of the other eyes that are not flagged.
    """

    name: str
    at_or_above: int
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class CrossFitted:
    """Figures with the temperature and thresholds chosen on other folds.

    Attributes:
        kappa: Quadratic weighted.
        ece: Expected calibration error.
        points: The operating points that could be chosen for every fold.
    """

    kappa: Estimate
    ece: Estimate
    points: tuple[CrossFittedPoint, ...]


def cross_fit(out_of_fold: GradedSet, folds: Sequence[Fold]) -> CrossFitted:
    """Evaluate each fold with the temperature and thresholds chosen on the others.

    Args:
        out_of_fold: Predictions by the networks of these folds; it makes no difference whether
            they are calibrated.
        folds: Every photograph validates once.
    """
    labels, groups = out_of_fold.labels, out_of_fold.groups
    calibrated = np.empty_like(out_of_fold.probabilities)
    flags: dict[tuple[str, int], NDArray[np.bool_]] = {}
    choices: list[set[tuple[str, int]]] = []
    for fold in folds:
        temperature = fit_temperature(labels[fold.train], out_of_fold.probabilities[fold.train])
        scaled = with_temperature(out_of_fold.probabilities, temperature)
        calibrated[fold.validation] = scaled[fold.validation]
        chosen = choose_operating_points(
            labels[fold.train], scaled[fold.train], chosen_on="", temperature=temperature
        ).operating_points
        or_worse = probabilities_or_worse(scaled[fold.validation])
        for point in chosen:
            flagged = flags.setdefault((point.name, point.at_or_above), np.zeros(len(labels), bool))
            flagged[fold.validation] = point.flags(or_worse[:, point.at_or_above])
        choices.append({(point.name, point.at_or_above) for point in chosen})
    in_all = set.intersection(*choices)
    return CrossFitted(
        kappa=kappa(labels, grades_of(calibrated, MEDIAN_GRADE), groups),
        ece=expected_calibration_error(labels, calibrated, groups),
        points=tuple(
            CrossFittedPoint(name, at_or_above, *rates(labels >= at_or_above, flagged))
            for (name, at_or_above), flagged in flags.items()
            if (name, at_or_above) in in_all
        ),
    )

"""What the chosen numbers do on photographs that they were not chosen on.

The temperature and the operating points are chosen on the out-of-fold predictions, so figures
from the same predictions flatter them a little.  Here every fold is judged with the numbers that
the other folds would have chosen.  The grade needs no such care: the posterior median has nothing
to choose.
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
    """An operating point whose threshold differs from fold to fold."""

    name: str
    at_or_above: int
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class CrossFitted:
    """Figures of numbers that were chosen on other folds.

    Attributes:
        points: Those that every fold could choose.
    """

    kappa: Estimate
    ece: Estimate
    points: tuple[CrossFittedPoint, ...]


def cross_fit(out_of_fold: GradedSet, folds: Sequence[Fold]) -> CrossFitted:
    """Choose on all folds but one and judge that one; for each.

    Args:
        out_of_fold: Predictions that are out of those folds; whether and how they are calibrated
            makes no difference.
        folds: Every photograph is validated once.
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

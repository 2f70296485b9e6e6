"""Single figures of a grader's quality, each with its interval.  Needs NumPy alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.proportions import bootstrap_over_groups, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate

    Floats = NDArray[np.float64]
    Grades = NDArray[np.intp]

GRADES = len(Grade)
CALIBRATION_BINS = 10


def confusion_matrix(labels: Grades, grades: Grades) -> NDArray[np.int64]:
    """Count photographs by label and answer, shape ``(5, 5)``: rows are labels, columns answers."""
    counts = np.bincount(labels * GRADES + grades, minlength=GRADES * GRADES)
    return counts.reshape(GRADES, GRADES).astype(np.int64)


def quadratic_weighted_kappa(confusion: NDArray[np.generic]) -> Floats:
    """Compute Cohen's kappa with quadratic weights (Cohen, Psychol. Bull. 1968, 70:213-220).

    An error counts by the square of its distance in grades, relative to what chance would give:
    1 is perfect agreement, 0 that of chance.

    Args:
        confusion: Shape ``(..., 5, 5)``.

    Returns:
        Shape ``(...)``; NaN where labels and answers are all the same grade.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    distance = np.subtract.outer(np.arange(GRADES), np.arange(GRADES)) ** 2
    by_label, by_answer = counts.sum(axis=-1), counts.sum(axis=-2)
    expected = by_label[..., :, None] * by_answer[..., None, :]
    observed = (counts * distance).sum(axis=(-2, -1)) * counts.sum(axis=(-2, -1))
    chance = (expected * distance).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa: Floats = np.asarray(1.0 - observed / chance, dtype=np.float64)
    return kappa


def kappa(
    labels: Grades, grades: Grades, groups: NDArray[np.generic] | None = None, *, seed: int = 0
) -> Estimate:
    """Estimate the quadratic weighted kappa, with its bootstrap interval."""
    return bootstrap_over_groups(cells(labels, grades), kappa_of_cells, groups, seed=seed)


def accuracy(
    labels: Grades, grades: Grades, groups: NDArray[np.generic] | None = None, *, seed: int = 0
) -> Estimate:
    """Estimate the share of photographs that get the label's grade, with its bootstrap interval.

    If all of them do, or none does, every resample gives the same share and the bootstrap has no
    interval.  Then it is Wilson's interval for as many photographs as there are groups.
    """
    found = bootstrap_over_groups(cells(labels, grades), _accuracy_of_cells, groups, seed=seed)
    if found.value not in {0.0, 1.0}:
        return found
    count = len(labels) if groups is None else len(np.unique(groups))
    limits = wilson(count if found.value else 0, count)
    return replace(limits, n=found.n, method="Wilson over groups")


def expected_calibration_error(
    labels: Grades,
    probabilities: NDArray[np.floating],
    groups: NDArray[np.generic] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean distance between confidence and accuracy, over ten bins of confidence.

    Confidence is the probability of the most probable grade (Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017).

    Noise adds to this error and never cancels, so a sample is worse calibrated than its population
    and a resample worse than the sample.  Both percentiles of the bootstrap are therefore too
    high.  The upper one is kept; the lower limit lies as far below the value as the upper one lies
    above it, as in the basic bootstrap.
    """
    confidence = probabilities.max(axis=1, initial=0.0)
    is_right = probabilities.argmax(axis=1) == labels if len(labels) else np.zeros(0, dtype=bool)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    summands = np.zeros((len(labels), 2, CALIBRATION_BINS))
    place = np.arange(len(labels))
    summands[place, 0, bins] = 1.0
    summands[place, 1, bins] = confidence - is_right
    flat = summands.reshape(len(labels), 2 * CALIBRATION_BINS)
    found = bootstrap_over_groups(flat, _ece_of_bins, groups, seed=seed)
    if found.value is None or found.high is None:
        return found
    return replace(found, low=max(0.0, 2 * found.value - found.high))


def brier_score(
    labels: Grades,
    probabilities: NDArray[np.floating],
    groups: NDArray[np.generic] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean squared distance of the probabilities from the label, 0 to 2.

    This is Brier's original form, over all five grades (Mon. Weather Rev. 1950, 78:1-3).
    """
    distances = ((probabilities - np.eye(GRADES)[labels]) ** 2).sum(axis=1)
    summands = np.stack([distances, np.ones(len(labels))], axis=1)
    return bootstrap_over_groups(summands, lambda sums: sums[:, 0] / sums[:, 1], groups, seed=seed)


def cells(labels: Grades, grades: Grades) -> Floats:
    """Return what each photograph adds to a confusion matrix, shape ``(n, 25)``."""
    added = np.zeros((len(labels), GRADES * GRADES))
    added[np.arange(len(labels)), labels * GRADES + grades] = 1.0
    return added


def kappa_of_cells(sums: Floats) -> Floats:
    """Compute kappa from sums of :func:`cells`, shape ``(b, 25)`` to ``(b,)``."""
    return quadratic_weighted_kappa(sums.reshape(-1, GRADES, GRADES))


def _accuracy_of_cells(sums: Floats) -> Floats:
    confusion = sums.reshape(-1, GRADES, GRADES)
    right: Floats = np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))
    return right


def _ece_of_bins(sums: Floats) -> Floats:
    counted, gaps = sums[:, :CALIBRATION_BINS], sums[:, CALIBRATION_BINS:]
    error: Floats = np.abs(gaps).sum(axis=1) / counted.sum(axis=1)
    return error

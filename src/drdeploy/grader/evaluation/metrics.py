"""Compute measures of a grader's quality, with their confidence intervals, and curves.

The only library that this module needs is NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.proportions import estimate_by_group_bootstrap, estimate_proportion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.statistics.estimate import Estimate

    Grades = NDArray[np.intp]

GRADES = len(Grade)
CALIBRATION_BINS = 10


def count_confusion_matrix(labels: Grades, grades: Grades) -> NDArray[np.int64]:
    """Count photographs by label (row) and by the grader's grade (column), in shape ``(5, 5)``."""
    counts = np.bincount(labels * GRADES + grades, minlength=GRADES * GRADES)
    return counts.reshape(GRADES, GRADES).astype(np.int64)


def compute_quadratic_weighted_kappa(confusion: NDArray[np.generic]) -> Floats:
    """Compute Cohen's kappa with quadratic weights (Cohen 1968).

    Each error is weighted by the square of its distance in grades. A kappa of 1 is perfect
    agreement, and 0 is the agreement that chance alone would give.

    Args:
        confusion: Shape ``(..., 5, 5)``.

    Returns:
        Shape ``(...)``; NaN if all labels and all answers are the same grade.
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


def estimate_kappa(
    labels: Grades, grades: Grades, groups: NDArray[np.generic] | None = None, *, seed: int = 0
) -> Estimate:
    """Estimate the quadratic weighted kappa, with a bootstrap confidence interval."""
    return estimate_by_group_bootstrap(
        one_hot_encode_confusion_cells(labels, grades),
        compute_kappa_from_cell_sums,
        groups,
        seed=seed,
    )


def estimate_accuracy(
    labels: Grades, grades: Grades, groups: NDArray[np.generic] | None = None, *, seed: int = 0
) -> Estimate:
    """Estimate the share of photographs that get the right grade, with a confidence interval.

    The interval comes from a bootstrap. If all grades are right or all are wrong, every resample
    gives the same share, so the bootstrap gives no interval. In this case Wilson's interval is
    returned, which counts each group of photographs (a patient or a capture session) once.
    """
    found = estimate_by_group_bootstrap(
        one_hot_encode_confusion_cells(labels, grades), _accuracy_from_cell_sums, groups, seed=seed
    )
    if found.value not in {0.0, 1.0}:
        return found
    count = len(labels) if groups is None else len(np.unique(groups))
    limits = estimate_proportion(count if found.value else 0, count)
    return replace(limits, n=found.n, method="Wilson over groups")


def estimate_calibration_error(
    labels: Grades,
    probabilities: NDArray[np.floating],
    groups: NDArray[np.generic] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean distance between confidence and accuracy, over ten bins of confidence.

    Confidence is the probability of the most probable grade (Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017).

    Chance makes the calibration error larger: it is larger in a sample than in the population, and
    larger still in a bootstrap resample. Therefore both ends of the bootstrap interval are too
    high. The upper end is kept, because it errs on the safe side. The lower end is set so that the
    interval is symmetric around the value.
    """
    confidence = probabilities.max(axis=1, initial=0.0)
    is_right = probabilities.argmax(axis=1) == labels if len(labels) else np.zeros(0, dtype=bool)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    summands = np.zeros((len(labels), 2, CALIBRATION_BINS))
    place = np.arange(len(labels))
    summands[place, 0, bins] = 1.0
    summands[place, 1, bins] = confidence - is_right
    flat = summands.reshape(len(labels), 2 * CALIBRATION_BINS)
    found = estimate_by_group_bootstrap(flat, _calibration_error_from_bin_sums, groups, seed=seed)
    if found.value is None or found.high is None:
        return found
    return replace(found, low=max(0.0, 2 * found.value - found.high))


def estimate_brier_score(
    labels: Grades,
    probabilities: NDArray[np.floating],
    groups: NDArray[np.generic] | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate the Brier score: how far the probabilities are from the labels, from 0 to 2.

    For each photograph, five squares are summed. One is the square of 1 minus the probability of
    the true grade. The others are the squares of the other four probabilities. The score is the
    mean over the photographs (Brier, Monthly Weather Review 1950, 78:1-3).
    """
    distances = ((probabilities - np.eye(GRADES)[labels]) ** 2).sum(axis=1)
    summands = np.stack([distances, np.ones(len(labels))], axis=1)
    return estimate_by_group_bootstrap(
        summands, lambda sums: sums[:, 0] / sums[:, 1], groups, seed=seed
    )


def one_hot_encode_confusion_cells(labels: Grades, grades: Grades) -> Floats:
    """Return 25 numbers per photograph: a 1 for its cell of the confusion matrix, otherwise 0."""
    added = np.zeros((len(labels), GRADES * GRADES))
    added[np.arange(len(labels)), labels * GRADES + grades] = 1.0
    return added


def compute_kappa_from_cell_sums(sums: Floats) -> Floats:
    """Compute kappa for each of ``b`` confusion matrices. The cells have the shape ``(b, 25)``."""
    return compute_quadratic_weighted_kappa(sums.reshape(-1, GRADES, GRADES))


def _accuracy_from_cell_sums(sums: Floats) -> Floats:
    confusion = sums.reshape(-1, GRADES, GRADES)
    right: Floats = np.trace(confusion, axis1=1, axis2=2) / confusion.sum(axis=(1, 2))
    return right


def _calibration_error_from_bin_sums(sums: Floats) -> Floats:
    counted, gaps = sums[:, :CALIBRATION_BINS], sums[:, CALIBRATION_BINS:]
    error: Floats = np.abs(gaps).sum(axis=1) / counted.sum(axis=1)
    return error


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The points of a ROC curve, from the highest threshold to the lowest.

    Attributes:
        of_healthy: Share of healthy eyes that each threshold flags, shape ``(points,)``, from 0 to
            1.
        of_diseased: Share of diseased eyes that each threshold flags, shape ``(points,)``, from 0
            to 1.
    """

    of_healthy: Floats
    of_diseased: Floats


def compute_roc_curve(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating]
) -> RocCurve | None:
    """Compute the ROC curve, one point for each distinct score.

    Returns:
        None if all eyes are healthy or all are diseased.
    """
    ill, well = np.sort(scores[is_positive]), np.sort(scores[~is_positive])
    if min(ill.size, well.size) == 0:
        return None
    thresholds = np.append(np.inf, np.unique(scores)[::-1])
    return RocCurve(
        of_healthy=1 - np.searchsorted(well, thresholds) / well.size,
        of_diseased=1 - np.searchsorted(ill, thresholds) / ill.size,
    )


@dataclass(frozen=True)
class ReliabilityBin:
    """The photographs for which a grader predicts about the same probability of an event.

    The event is, for example, that the eye is diseased, or that the grade is right.

    Attributes:
        probability: Mean of the predicted probabilities.
        share: Share of these photographs for which the event came true.
    """

    probability: float
    share: Estimate


def compute_reliability_bins(
    probabilities: NDArray[np.floating], came_true: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """Compare predicted probabilities with how often the event came true, in ten bins."""
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    return tuple(
        ReliabilityBin(
            probability=float(probabilities[bins == at].mean()),
            share=estimate_proportion(int(came_true[bins == at].sum()), int((bins == at).sum())),
        )
        for at in np.unique(bins)
    )


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """How often the grader is wrong if people grade the photographs about which it is least sure.

    Attributes:
        coverage: Share of the photographs that keep the grader's answer, shape ``(points,)``,
            rising to 1.
        risk: Share of wrong answers among the kept answers, shape ``(points,)``.
    """

    coverage: Floats
    risk: Floats


def compute_risk_over_coverage(
    confidence: NDArray[np.floating], is_wrong: NDArray[np.bool_]
) -> RiskCoverage:
    """Compute the share of wrong answers among the kept answers, for every number of kept answers.

    The least confident answers are dropped first (El-Yaniv and Wiener, JMLR 2010, 11:1605-1641).
    ``confidence`` holds the probability that the grader gives to its answer, in shape ``(n,)``.
    Answers with equal confidence are kept or dropped together, because no threshold separates them.
    Together, they give one point of the curve.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)[: ordered.size]
    kept = np.arange(1, ordered.size + 1)
    wrong = np.cumsum(is_wrong[order])
    return RiskCoverage(kept[is_last] / max(1, ordered.size), wrong[is_last] / kept[is_last])

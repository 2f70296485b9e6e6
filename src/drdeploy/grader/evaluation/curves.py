"""Compute the curves of an evaluation: ROC, reliability, risk over coverage.  Needs NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.proportions import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate

    Floats = NDArray[np.float64]

BINS = 10


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The shares of eyes that are flagged as the threshold falls.

    Attributes:
        of_healthy: 1 - specificity, shape ``(points,)``, rising from 0 to 1.
        of_diseased: Sensitivity, shape ``(points,)``, rising from 0 to 1.
    """

    of_healthy: Floats
    of_diseased: Floats


def roc_curve(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> RocCurve | None:
    """Compute the ROC curve, one point for each distinct score.

    Returns:
        None if all eyes are healthy, or all diseased.
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
    """Photographs with about the same predicted probability of an event.

    Attributes:
        probability: Mean of the predicted probabilities.
        share: How often the event came true.
    """

    probability: float
    share: Estimate


def reliability(
    probabilities: NDArray[np.floating], came_true: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """Compare predicted probabilities with how often the event came true, in ten equal bins.

    Args:
        probabilities: Of the event, shape ``(n,)``.
        came_true: Whether it did, shape ``(n,)``.
    """
    bins = np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)
    return tuple(
        ReliabilityBin(
            probability=float(probabilities[bins == at].mean()),
            share=wilson(int(came_true[bins == at].sum()), int((bins == at).sum())),
        )
        for at in np.unique(bins)
    )


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The share of wrong answers if the least confident ones are left to a human.

    Attributes:
        coverage: Share of the photographs that keep the grader's answer, rising to 1.
        risk: Share of wrong answers among these; of the same shape ``(points,)``.
    """

    coverage: Floats
    risk: Floats


def risk_coverage(confidence: NDArray[np.floating], is_wrong: NDArray[np.bool_]) -> RiskCoverage:
    """Compute risk over coverage (El-Yaniv and Wiener, JMLR 2010, 11:1605-1641).

    No threshold separates answers of equal confidence, so they share one point.

    Args:
        confidence: Probability of the answer, shape ``(n,)``.
        is_wrong: Whether the answer is wrong, shape ``(n,)``.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)[: ordered.size]
    kept = np.arange(1, ordered.size + 1)
    wrong = np.cumsum(is_wrong[order])
    return RiskCoverage(kept[is_last] / max(1, ordered.size), wrong[is_last] / kept[is_last])

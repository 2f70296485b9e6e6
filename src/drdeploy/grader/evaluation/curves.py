"""What the pictures of an evaluation show: ROC, reliability, risk over coverage.  NumPy alone."""

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
    """Shares flagged as the threshold falls; both of shape ``(points,)``, from 0 to 1."""

    of_healthy: Floats
    of_diseased: Floats


def roc_curve(is_positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> RocCurve | None:
    """The ROC curve, one point for each distinct score; None where a side is empty."""
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
    """Photographs of about the same probability.

    Attributes:
        probability: Their mean.
        share: How often it came true.
    """

    probability: float
    share: Estimate


def reliability(
    probabilities: NDArray[np.floating], came_true: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """How often what was said to be that probable is so, in ten bins of equal width.

    Args:
        probabilities: Of one event, shape ``(n,)``.
        came_true: Shape ``(n,)``.
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
    """What is wrong among the surest answers, if the others go to a human.

    Attributes:
        coverage: Share of the photographs that keep their answer, shape ``(n,)``, rising to 1.
        risk: Share of wrong answers among these, shape ``(n,)``.
    """

    coverage: Floats
    risk: Floats


def risk_coverage(confidence: NDArray[np.floating], is_wrong: NDArray[np.bool_]) -> RiskCoverage:
    """Risk over coverage (El-Yaniv and Wiener, JMLR 2010, 11:1605-1641).

    Of equally sure answers none can be kept alone: they share one point, that of all of them.

    Args:
        confidence: Probability of what was answered, shape ``(n,)``.
        is_wrong: Shape ``(n,)``.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    is_last = np.append(ordered[1:] != ordered[:-1], True)[: ordered.size]
    kept = np.arange(1, ordered.size + 1)
    wrong = np.cumsum(is_wrong[order])
    return RiskCoverage(kept[is_last] / max(1, ordered.size), wrong[is_last] / kept[is_last])

"""Measure how often the most confident decisions are wrong, at several coverages.

The coverage is the share of the photographs whose decision is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.evaluation.evaluation import DecisionQuality
from drdeploy.grader.grading.grade import Grade

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class RiskAtCoverage:
    """The share of wrong decisions if only the most confident decisions are kept.

    Attributes:
        at_least: The share of the decisions that should be kept.
        coverage: The share of the decisions that are kept. It is larger than ``at_least`` if
            several decisions have exactly the same confidence as the last one that is kept.
        quality: How often the kept decisions are right about grade 2 or worse.
    """

    at_least: float
    coverage: float
    quality: DecisionQuality


def measure_risk_at_coverages(
    truth: NDArray[np.intp],
    is_referred: NDArray[np.bool_],
    or_worse: NDArray[np.floating],
    groups: NDArray[np.generic],
) -> tuple[RiskAtCoverage, ...]:
    """Measure how often the most confident decisions are wrong, at each coverage.

    Args:
        truth: Labels, shape ``(n,)``.
        is_referred: The decision on each photograph, shape ``(n,)``.
        or_worse: P(grade >= g) for each grade g, shape ``(n, 5)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
    """
    if not truth.size:
        return ()
    confidence = compute_confidence_at_grade_2(is_referred, or_worse)
    is_positive = truth >= Grade.MODERATE
    ordered = np.sort(confidence)[::-1]
    found = []
    for share in COVERAGES:
        is_kept = confidence >= ordered[math.ceil(share * truth.size) - 1]
        quality = DecisionQuality.measure(
            is_positive[is_kept], is_referred[is_kept], groups[is_kept]
        )
        found.append(RiskAtCoverage(share, float(is_kept.mean()), quality))
    return tuple(found)


def compute_confidence_at_grade_2(
    is_referred: NDArray[np.bool_], or_worse: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return, for each eye, the probability that the decision to refer it or not is right."""
    referable = or_worse[:, Grade.MODERATE]
    return np.where(is_referred, referable, 1 - referable)

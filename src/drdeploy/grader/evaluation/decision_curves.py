"""Compute decision curves, which show whether the grader's referrals do more good than harm.

An eye is referred if its probability of disease reaches a threshold. A low threshold means that
many needless referrals are acceptable for each diseased eye that is found. For example, a threshold
of 20 % has the odds 1 to 4, so it accepts four needless referrals for each diseased eye.

The net benefit is the share of all eyes that are rightly referred, minus a penalty. The penalty is
the share of all eyes that are needlessly referred, times the odds of the threshold (Vickers and
Elkin, Medical Decision Making 2006, 26:565-574).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.proportions import estimate_grouped_mean

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from drdeploy.statistics.estimate import Estimate

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""The threshold probabilities for which the net benefit is computed."""


@dataclass(frozen=True)
class NetBenefit:
    """The net benefit of three ways to decide at one threshold probability.

    Attributes:
        threshold: Probability from which an eye is referred.
        grader: Net benefit of referring the eyes whose probability reaches the threshold.
        refer_all: Net benefit of referring every eye; referring none has a net benefit of 0.
    """

    threshold: float
    grader: Estimate
    refer_all: Estimate


def compute_net_benefits(
    is_positive: NDArray[np.bool_],
    probabilities: NDArray[np.floating],
    groups: ArrayLike | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> tuple[NetBenefit, ...]:
    """Compute the net benefit at each threshold, if disease is as common as in the photographs.

    Args:
        is_positive: Whether each photograph is diseased, shape ``(n,)``.
        probabilities: The predicted probabilities of disease, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        thresholds: Probabilities between 0 and 1.
    """
    found = []
    for threshold in thresholds:
        odds = threshold / (1 - threshold)
        value = np.where(is_positive, 1.0, -odds)
        grader = estimate_grouped_mean(value * (probabilities >= threshold), groups)
        found.append(NetBenefit(threshold, grader, estimate_grouped_mean(value, groups)))
    return tuple(found)

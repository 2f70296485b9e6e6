"""Estimate how much worse a quantized grader's probabilities are than those of its original.

The functions ``estimate_...`` return how a measure changes from the original to the quantized
grader. A negative change always means a loss. For kappa, the change is the quantized grader's value
minus the original's value. The Brier score and the calibration gap are better if they are smaller,
so their change is the original's value minus the quantized grader's value. The limits of a change
are one-sided 95 % bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.evaluation.comparison import (
    concatenate_confusion_cells_of_two_graders,
    kappa_difference_from_cell_sums,
)
from drdeploy.statistics.proportions import Z_ONE_SIDED, estimate_by_group_bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.arrays import Floats
    from drdeploy.statistics.estimate import Estimate

ONE_SIDED_TAIL = 0.05


def estimate_calibration_gap_change(
    is_positive: NDArray[np.bool_],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate by how much quantization reduces the calibration gap.

    The calibration gap is the distance between the mean predicted probability of disease and the
    observed share of diseased eyes. The literature calls it calibration in the large (Van Calster
    et al., BMC Medicine 2019, 17:230). The function returns the original's gap minus the quantized
    grader's gap.

    Args:
        is_positive: Whether each eye is diseased, shape ``(n,)``.
        first: The original's probabilities of disease, shape ``(n,)``.
        second: The quantized grader's probabilities of disease, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        seed: Seed of the bootstrap.
    """
    summands = np.stack(
        [np.ones(len(is_positive)), first - is_positive, second - is_positive], axis=1
    )

    def compute_gap_change(sums: Floats) -> Floats:
        before, after = np.abs(sums[:, 1:]).T / sums[:, 0]
        difference: Floats = before - after
        return difference

    return estimate_by_group_bootstrap(
        summands, compute_gap_change, groups, seed=seed, tail=ONE_SIDED_TAIL
    )


def estimate_brier_change(
    labels: NDArray[np.intp],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate the Brier score of the original minus the Brier score of the quantized grader.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        before: The original's probabilities, shape ``(n, 5)``.
        after: The quantized grader's probabilities, shape ``(n, 5)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        seed: Seed of the bootstrap.
    """
    right = np.eye(before.shape[1])[labels]
    first, second = (((one - right) ** 2).sum(axis=1) for one in (before, after))
    summands = np.stack([first - second, np.ones(len(labels))], axis=1)
    return estimate_by_group_bootstrap(
        summands, lambda sums: sums[:, 0] / sums[:, 1], groups, seed=seed, tail=ONE_SIDED_TAIL
    )


def estimate_kappa_change(
    labels: NDArray[np.intp],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    groups: NDArray[np.generic],
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate kappa of the quantized grader minus kappa of the original.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        first: Grades by the original, shape ``(n,)``.
        second: Grades by the quantized grader, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        seed: Seed of the bootstrap.
    """
    return estimate_by_group_bootstrap(
        concatenate_confusion_cells_of_two_graders(labels, first, second),
        kappa_difference_from_cell_sums,
        groups,
        seed=seed,
        tail=ONE_SIDED_TAIL,
    )


def lower_bound_without_spread(value: float, n: int) -> float:
    """Return a one-sided lower 95 % bound of a change that is the same in all bootstrap resamples.

    If the change is the same in every resample, a bootstrap interval has zero width. With few
    photographs, this interval would claim too much certainty. Instead, the bound is ``value`` minus
    the upper limit of Wilson's score interval for 0 events in ``n`` photographs.
    """
    z2 = Z_ONE_SIDED**2
    return value - z2 / (n + z2)

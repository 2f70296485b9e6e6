"""Compare two graders on the same photographs.

The comparison is paired.  Two intervals side by side would hide what changed: both graders find the
same easy eyes and miss the same hard ones, so that the uncertainty they share drops out of the
difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.evaluation.metrics import cells, kappa_of_cells
from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.estimate import Estimate
from drdeploy.statistics.proportions import (
    NO_PHOTOGRAPH,
    Z_ONE_SIDED,
    Z_TWO_SIDED,
    bootstrap_over_groups,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

BISECTIONS = 60
"""Enough to halve an interval of length 2 down to the precision of a float."""


@dataclass(frozen=True)
class PairedRate:
    """The difference of a rate, such as the sensitivity, between two graders.

    Attributes:
        difference: Second minus first, with its two-sided 95 % score interval.
        lower_bound: One-sided 95 % bound: with 95 % confidence the difference is not below it.
        upper_bound: One-sided 95 % bound on the other side.
        gained: Photographs that only the second grader has right.
        lost: Photographs that only the first grader has right.
        p_value: Of McNemar's exact test that both graders are equally good.
    """

    difference: Estimate
    lower_bound: float | None
    upper_bound: float | None
    gained: int
    lost: int
    p_value: float | None


@dataclass(frozen=True)
class GradeChange:
    """A photograph that the two graders grade differently.

    Attributes:
        position: In the order of the comparison.
        label: The right grade.
        first: The first grader's.
        second: The second grader's.
    """

    position: int
    label: Grade
    first: Grade
    second: Grade

    @property
    def is_new_miss(self) -> bool:
        """Whether it is severe or worse, and only the first grader found it so."""
        return self.label >= Grade.SEVERE and self.first >= Grade.SEVERE > self.second


@dataclass(frozen=True)
class GraderComparison:
    """The second grader against the first.

    Attributes:
        n: Photographs that both graded.
        kappa: Difference of quadratic weighted kappa, second minus first.
        sensitivity: Difference by the grade at or above which an eye should be found.
        specificity: Difference by the same grades.
        changes: Every photograph that the two grade differently.
    """

    n: int
    kappa: Estimate
    sensitivity: dict[Grade, PairedRate]
    specificity: dict[Grade, PairedRate]
    changes: tuple[GradeChange, ...]

    @property
    def new_misses(self) -> tuple[GradeChange, ...]:
        """Photographs at severe or worse that only the first grader found so."""
        return tuple(change for change in self.changes if change.is_new_miss)


def compare(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> GraderComparison:
    """Compare two graders' grades of the same photographs.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        first: Grades of the first, shape ``(n,)``.
        second: Grades of the second, shape ``(n,)``.
        groups: Capture sessions or patients, shape ``(n,)``.
        seed: Of the bootstrap interval of kappa.
    """
    truth, one, two = (np.asarray(values, dtype=np.intp) for values in (labels, first, second))
    summands = np.concatenate([cells(truth, one), cells(truth, two)], axis=1)
    thresholds = (Grade.MODERATE, Grade.SEVERE)
    return GraderComparison(
        n=truth.size,
        kappa=bootstrap_over_groups(summands, _kappa_gain, groups, seed=seed),
        sensitivity={
            grade: _paired(one >= grade, two >= grade, truth >= grade) for grade in thresholds
        },
        specificity={
            grade: _paired(one < grade, two < grade, truth < grade) for grade in thresholds
        },
        changes=tuple(
            GradeChange(int(at), Grade(int(truth[at])), Grade(int(one[at])), Grade(int(two[at])))
            for at in np.flatnonzero(one != two)
        ),
    )


def _kappa_gain(sums: Floats) -> Floats:
    half = sums.shape[1] // 2
    return kappa_of_cells(sums[:, half:]) - kappa_of_cells(sums[:, :half])


def _paired(
    first: NDArray[np.bool_], second: NDArray[np.bool_], among: NDArray[np.bool_]
) -> PairedRate:
    gained = int((~first & second & among).sum())
    lost = int((first & ~second & among).sum())
    return paired_rate(gained, lost, int(among.sum()))


def paired_rate(gained: int, lost: int, n: int) -> PairedRate:
    """Estimate the difference of two paired rates from the photographs on which they differ.

    The interval is Tango's score interval (Stat. Med. 1998, 17:891-908).  Quantized graders answer
    almost as their originals do, and Wald's interval shrinks to nothing if no photograph changes.
    The score interval does not: its lower bound is then ``-z² / (n + z²)``.

    Args:
        gained: Photographs that only the second has right.
        lost: Photographs that only the first has right.
        n: All photographs that the rate is about.
    """
    method = "Tango's score"
    if n == 0:
        nothing = Estimate(None, None, None, 0, method, reason=NO_PHOTOGRAPH)
        return PairedRate(nothing, None, None, 0, 0, None)
    low, high = score_limits(gained, lost, n, Z_TWO_SIDED)
    bounds = score_limits(gained, lost, n, Z_ONE_SIDED)
    difference = Estimate((gained - lost) / n, low, high, n, method)
    return PairedRate(difference, *bounds, gained, lost, mcnemar(gained, lost))


def score_limits(gained: float, lost: float, n: int, z: float) -> tuple[float, float]:
    """Return the two differences at which the score statistic reaches ``z`` standard errors.

    Args:
        gained: Photographs that only the second has right; may be a fraction in planning.
        lost: Photographs that only the first has right; may be a fraction in planning.
        n: All photographs that the rate is about.
        z: Quantile of the normal distribution.
    """
    observed = (gained - lost) / n
    return (
        _crossing(gained, lost, n, (-1.0, observed), z),
        _crossing(gained, lost, n, (1.0, observed), -z),
    )


def _crossing(gained: float, lost: float, n: int, between: tuple[float, float], z: float) -> float:
    """Bisect between a difference that is excluded and one that is not.

    The statistic rises monotonically with the distance from the observed difference, so there is
    one crossing on each side.
    """
    outside, inside = between
    for _ in range(BISECTIONS):
        middle = (outside + inside) / 2
        if abs(_score(gained, lost, n, middle)) > abs(z):
            outside = middle
        else:
            inside = middle
    return inside


def _score(gained: float, lost: float, n: int, difference: float) -> float:
    """How many standard errors the counts are from what a true difference would give.

    The variance needs the probability that only the first is right, given that difference.  Its
    maximum-likelihood estimate is the larger root of a quadratic equation (Tango 1998, section 2).
    """
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
    rate_lost = (root - linear) / (4 * n)
    variance = n * (2 * rate_lost + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value that gains and losses are equally likely.

    McNemar, Psychometrika 1947, 12:153-157.
    """
    n, least = gained + lost, min(gained, lost)
    tail: float = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, 2 * tail)

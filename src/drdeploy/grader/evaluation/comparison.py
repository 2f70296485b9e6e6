"""Compare two graders on the same photographs.

The comparison is paired: it compares the two graders' decisions on each photograph. Two graders
tend to find the same easy eyes and to miss the same hard eyes. If the photographs happen to be
easy, both graders look good. The difference between the graders therefore depends less on chance
than each grader's own results do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.evaluation.metrics import (
    compute_kappa_from_cell_sums,
    one_hot_encode_confusion_cells,
)
from drdeploy.grader.grading.grade import Grade
from drdeploy.statistics.estimate import Estimate
from drdeploy.statistics.proportions import (
    NO_PHOTOGRAPH,
    Z_ONE_SIDED,
    Z_TWO_SIDED,
    estimate_by_group_bootstrap,
    estimate_design_effect,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from drdeploy.arrays import Floats

BISECTIONS = 60
"""The number of bisections that narrow an interval of length 2 down to the precision of a float."""


@dataclass(frozen=True)
class PairedRate:
    """The difference of a rate, such as the sensitivity, between two graders.

    Attributes:
        difference: Rate of the second grader minus rate of the first, with a two-sided 95 %
            interval.
        lower_bound: One-sided lower 95 % bound of the difference.
        gained: Number of photographs that only the second grader grades correctly.
        lost: Number of photographs that only the first grader grades correctly.
        p_value: P-value of McNemar's exact test; the null hypothesis is that both rates are equal.
        design_effect: How many times larger the variance of the difference is than it would be if
            all photographs were independent; at least 1. It is above 1 if the graders tend to
            differ on all photographs of one patient, and on no photograph of another patient.
    """

    difference: Estimate
    lower_bound: float | None
    gained: int
    lost: int
    p_value: float | None
    design_effect: float = 1.0


@dataclass(frozen=True)
class GradeChange:
    """A photograph to which the two graders give different grades.

    Attributes:
        position: Position of the photograph in the comparison.
        label: The expert's grade.
        first: The first grader's grade.
        second: The second grader's grade.
    """

    position: int
    label: Grade
    first: Grade
    second: Grade

    @property
    def is_new_miss(self) -> bool:
        """Whether the eye has severe disease or worse, and only the second grader misses it."""
        return self.label >= Grade.SEVERE and self.first >= Grade.SEVERE > self.second


@dataclass(frozen=True)
class GraderComparison:
    """The comparison of a second grader with a first grader on the same photographs.

    Attributes:
        n: Number of photographs that both graders graded.
        kappa: Quadratic weighted kappa of the second grader minus that of the first.
        sensitivity: Difference of the sensitivities. The key is the lowest grade that counts as
            diseased.
        specificity: Difference of the specificities. The key is the lowest grade that counts as
            diseased.
        changes: Every photograph that the two graders grade differently.
    """

    n: int
    kappa: Estimate
    sensitivity: dict[Grade, PairedRate]
    specificity: dict[Grade, PairedRate]
    changes: tuple[GradeChange, ...]

    @property
    def new_misses(self) -> tuple[GradeChange, ...]:
        """The eyes with severe disease or worse that only the second grader misses."""
        return tuple(change for change in self.changes if change.is_new_miss)


def compare_grades(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> GraderComparison:
    """Compare the grades that two graders gave to the same photographs.

    Args:
        labels: Shape ``(n,)``, 0 to 4.
        first: Grades by the first grader, shape ``(n,)``.
        second: Grades by the second grader, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
        seed: Seed of the bootstrap interval of kappa.
    """
    truth, one, two = (np.asarray(values, dtype=np.intp) for values in (labels, first, second))
    summands = concatenate_confusion_cells_of_two_graders(truth, one, two)
    thresholds = (Grade.MODERATE, Grade.SEVERE)
    return GraderComparison(
        n=truth.size,
        kappa=estimate_by_group_bootstrap(
            summands, kappa_difference_from_cell_sums, groups, seed=seed
        ),
        sensitivity={
            grade: compare_right_decisions(one >= grade, two >= grade, truth >= grade, groups)
            for grade in thresholds
        },
        specificity={
            grade: compare_right_decisions(one < grade, two < grade, truth < grade, groups)
            for grade in thresholds
        },
        changes=tuple(
            GradeChange(int(at), Grade(int(truth[at])), Grade(int(one[at])), Grade(int(two[at])))
            for at in np.flatnonzero(one != two)
        ),
    )


def concatenate_confusion_cells_of_two_graders(
    labels: NDArray[np.intp], first: NDArray[np.intp], second: NDArray[np.intp]
) -> Floats:
    """Return a row for each photograph, with a 1 for its cell in each grader's confusion matrix.

    The shape is ``(n, 50)``: the 25 cells of the first grader's matrix, and then the 25 cells of
    the second grader's matrix. All other numbers in a row are 0.
    """
    return np.concatenate(
        [
            one_hot_encode_confusion_cells(labels, first),
            one_hot_encode_confusion_cells(labels, second),
        ],
        axis=1,
    )


def kappa_difference_from_cell_sums(sums: Floats) -> Floats:
    """Compute the second grader's kappa minus the first grader's kappa, for ``b`` samples.

    ``sums`` holds the cells of both confusion matrices, in shape ``(b, 50)``; see
    :func:`concatenate_confusion_cells_of_two_graders`. The result has the shape ``(b,)``.
    """
    half = sums.shape[1] // 2
    return compute_kappa_from_cell_sums(sums[:, half:]) - compute_kappa_from_cell_sums(
        sums[:, :half]
    )


def compare_right_decisions(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    among: NDArray[np.bool_],
    groups: ArrayLike | None,
) -> PairedRate:
    """Compare how often two graders decide rightly, for example to refer a diseased eye.

    Args:
        first: Whether the first grader's decision is right, shape ``(n,)``.
        second: Whether the second grader's decision is right, shape ``(n,)``.
        among: Whether a photograph is counted, shape ``(n,)``. For a sensitivity, for example, only
            diseased photographs are counted.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
    """
    gained = int((~first & second & among).sum())
    lost = int((first & ~second & among).sum())
    effect = 1.0
    if groups is not None and gained + lost:
        changes = second[among].astype(np.float64) - first[among]
        effect = estimate_design_effect(changes, np.asarray(groups)[among])
    return estimate_paired_rate(gained, lost, int(among.sum()), design_effect=effect)


def estimate_paired_rate(
    gained: int, lost: int, n: int, *, design_effect: float = 1.0
) -> PairedRate:
    """Estimate the difference of two graders' rates from the photographs on which they differ.

    The interval is Tango's score interval (Statistics in Medicine 1998, 17:891-908). Score
    intervals are used because a quantized grader may change no grade at all. In that case, the
    usual interval (Wald's) would have zero width, and claim too much certainty. The lower bound of
    the score interval is then ``-z² / (n + z²)``. Photographs of one patient are not independent,
    so the counts are divided by the design effect (Rao and Scott, Biometrics 1992, 48:577-585).

    Args:
        gained: Number of photographs that only the second grader grades correctly.
        lost: Number of photographs that only the first grader grades correctly.
        n: Number of photographs that the rate refers to.
        design_effect: See :attr:`PairedRate.design_effect`.
    """
    method = "Tango's score" if design_effect == 1 else "Tango's score over groups"
    if n == 0:
        nothing = Estimate(None, None, None, 0, method, reason=NO_PHOTOGRAPH)
        return PairedRate(nothing, None, 0, 0, None)
    counts = (gained / design_effect, lost / design_effect, n / design_effect)
    low, high = tango_score_limits(*counts, Z_TWO_SIDED)
    lower_bound, _ = tango_score_limits(*counts, Z_ONE_SIDED)
    difference = Estimate((gained - lost) / n, low, high, n, method)
    return PairedRate(
        difference, lower_bound, gained, lost, mcnemar_p_value(gained, lost), design_effect
    )


def tango_score_limits(gained: float, lost: float, n: float, z: float) -> tuple[float, float]:
    """Return the lower and the upper limit of Tango's interval for a difference of two rates.

    The limits are the two differences for which the score statistic is ``z`` or ``-z``.

    The arguments ``gained``, ``lost`` and ``n`` are those of :func:`estimate_paired_rate`. The
    counts may be fractions, which is useful to plan a study.
    """
    observed = (gained - lost) / n
    return (
        _bisect_to_score_limit(gained, lost, n, (-1.0, observed), z),
        _bisect_to_score_limit(gained, lost, n, (1.0, observed), -z),
    )


def _bisect_to_score_limit(
    gained: float, lost: float, n: float, between: tuple[float, float], z: float
) -> float:
    """Find one limit of the interval by bisection.

    ``between`` holds two differences: one outside the interval, and then one inside it.

    The score statistic grows with the distance from the observed difference, so there is exactly
    one limit on each side.
    """
    outside, inside = between
    for _ in range(BISECTIONS):
        middle = (outside + inside) / 2
        if abs(_tango_score_statistic(gained, lost, n, middle)) > abs(z):
            outside = middle
        else:
            inside = middle
    return inside


def _tango_score_statistic(gained: float, lost: float, n: float, difference: float) -> float:
    """Return how many standard errors lie between the observed and the assumed difference of rates.

    The variance depends on the probability that only the first grader is right. For a given
    difference, the maximum-likelihood estimate of this probability is the larger root of a
    quadratic equation (Tango 1998, section 2).
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


def mcnemar_p_value(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    The null hypothesis is that ``gained`` and ``lost`` are equally likely.

    McNemar, Psychometrika 1947, 12:153-157.
    """
    n, least = gained + lost, min(gained, lost)
    tail: float = sum(math.comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, 2 * tail)

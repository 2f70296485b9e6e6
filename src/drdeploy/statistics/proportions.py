"""Estimate proportions, areas under ROC curves, and other statistics of photographs.

Photographs of one capture session are not independent, because they show the same patient. An
interval that treats photographs of one session as independent is too short. For proportions, means
and areas under curves, the variance is therefore computed over sessions. For other statistics, a
bootstrap resamples whole sessions. This module needs only NumPy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from drdeploy.arrays import Floats

Z_TWO_SIDED = 1.959963984540054
"""Normal quantile of 0.975."""
Z_ONE_SIDED = 1.6448536269514722
"""Normal quantile of 0.95."""

RESAMPLES = 1999
"""The number of bootstrap resamples. With this number, the lower limit of a 95 % interval
lies between the 50th and the 51st smallest resampled value. The upper limit lies between the 50th
and the 51st largest value.
"""
DRAWN_AT_ONCE = 200
"""How many resamples are in memory at the same time."""
BISECTIONS = 60
"""The number of bisection steps, enough to find a share to the last bit of a float."""
ROUNDING = 1e-12
"""Values that differ by less than this are taken as equal."""
BOOTSTRAP = "bootstrap over groups"
NORMAL = "normal over groups"
NO_PHOTOGRAPH = "there is no photograph"
ONE_GROUP = "no interval: 1 group, 2 needed"
NO_SPREAD = "no interval: the values do not vary between photographs or groups"


def estimate_proportion(successes: int, n: int) -> Estimate:
    """Estimate a proportion, with Wilson's interval (Wilson 1927).

    The textbook interval (share plus or minus two standard errors) has length zero if all attempts
    succeed or all fail. Wilson's interval never has length zero.
    """
    if n == 0:
        return Estimate(None, None, None, 0, "Wilson", reason=NO_PHOTOGRAPH)
    share = successes / n
    return Estimate(share, *_compute_wilson_limits(share, n), n, "Wilson")


def estimate_grouped_proportion(
    is_success: NDArray[np.bool_], groups: ArrayLike | None = None
) -> Estimate:
    """Estimate a proportion of photographs that come in groups, with Wilson's interval.

    If one photograph of a patient is graded wrongly, the patient's other photographs often are too.
    The number of photographs is therefore divided by the design effect before the limits are
    computed (Rao and Scott, Biometrics 1992, 48:577-585). The design effect is the factor by which
    the groups enlarge the variance. It cannot be estimated if all photographs succeed, if all fail,
    or if there is only one group. Each group then counts as one photograph, as if its photographs
    always had the same result.

    Args:
        is_success: Shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``. If None,
            photographs count as independent.
    """
    n = is_success.size
    found = estimate_proportion(int(is_success.sum()), n)
    if groups is None or found.value is None:
        return found
    group_count = np.unique(np.asarray(groups)).size
    if found.value in {0.0, 1.0} or group_count == 1:
        effect = n / group_count
    else:
        effect = estimate_design_effect(is_success.astype(np.float64), np.asarray(groups))
    if effect <= 1:
        return found
    limits = _compute_wilson_limits(found.value, n / effect)
    return Estimate(found.value, *limits, n, "Wilson over groups")


def _compute_wilson_limits(share: float, n: float) -> tuple[float, float]:
    z2 = Z_TWO_SIDED**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_TWO_SIDED / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    return low, 1.0 if share == 1 else min(1.0, centre + half)


def estimate_design_effect(values: Floats, groups: NDArray[np.generic]) -> float:
    """Estimate the design effect: how much larger a mean's variance is because of groups.

    The variance over groups is divided by the variance of independent photographs (Kish, Survey
    Sampling, 1965). A result below 1 is replaced by 1, because with few groups it may be too small
    by chance.

    Args:
        values: Value of each photograph, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``.
    """
    departures = values - values.mean()
    independent = float(departures @ departures)
    _, member_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(member_of, weights=departures)
    # If each photograph is a group of its own, rounding must not make the effect larger than 1.
    if independent <= 0 or sums.size < 2 or sums.size == values.size:
        return 1.0
    return max(1.0, float(sums @ sums) / independent)


def estimate_grouped_mean(values: Floats, groups: ArrayLike | None = None) -> Estimate:
    """Estimate a mean over photographs, with a normal interval from the variance between groups.

    Args:
        values: Value of each photograph, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``. If None,
            photographs count as independent.
    """
    if not values.size:
        return Estimate(None, None, None, 0, NORMAL, reason=NO_PHOTOGRAPH)
    mean = float(values.mean())
    if groups is not None and np.unique(np.asarray(groups)).size < 2:
        return Estimate(mean, None, None, values.size, NORMAL, reason=ONE_GROUP)
    error = estimate_standard_error_over_groups(values - mean, groups) / values.size
    if error <= ROUNDING:
        return Estimate(mean, None, None, values.size, NORMAL, reason=NO_SPREAD)
    half = Z_TWO_SIDED * error
    return Estimate(mean, mean - half, mean + half, values.size, NORMAL)


def estimate_standard_error_over_groups(
    departures: Floats, groups: ArrayLike | None = None
) -> float:
    """Return the standard error of a sum over photographs that come in groups.

    ``departures`` holds the deviation of each photograph from the mean. The deviations of each
    group are added up before they are squared (Liang and Zeger, Biometrika 1986, 73:13-22). The
    result is 0 if there is only one group.
    """
    _, member_of = np.unique(
        np.arange(departures.size) if groups is None else np.asarray(groups), return_inverse=True
    )
    sums = np.bincount(member_of, weights=departures)
    if sums.size < 2:
        return 0.0
    return math.sqrt(sums.size / (sums.size - 1) * float(sums @ sums))


def estimate_auroc(
    is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None
) -> Estimate:
    """Estimate the area under the ROC curve: how often positives score above negatives.

    The variance is that of DeLong and others (Biometrics 1988, 44:837-845), computed from mid-ranks
    (Sun and Xu, IEEE Signal Processing Letters 2014, 21:1389-1393). Obuchowski extended this
    variance to grouped photographs (Biometrics 1997, 53:567-578). The interval is computed on the
    logit scale, so that its limits stay between 0 and 1. If every positive photograph scores above
    every negative one, this variance is zero. If all positive or all negative photographs belong to
    one group, the variance cannot be computed. In both cases, :func:`newcombe_limits_of_auroc`
    computes the interval from the numbers of groups.

    Args:
        is_positive: Shape ``(n,)``, boolean.
        scores: Shape ``(n,)``; the higher the score, the more likely the photograph is positive.
        groups: Capture session or patient of each photograph, shape ``(n,)``. If None,
            photographs count as independent.
    """
    positive = np.asarray(is_positive, dtype=bool)
    values, n = np.asarray(scores, dtype=np.float64), positive.size
    if not positive.any() or positive.all():
        return _make_undefined_auroc_estimate(positive)
    area, departures = _compute_auroc_and_deviations(positive, values)
    _, member_of = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    among = _count_groups_on_each_side(positive, member_of)
    variance = _variance_of_auroc(departures, positive, member_of) if min(among) > 1 else 0.0
    if variance <= 0 or not 0 < area < 1:
        limits = newcombe_limits_of_auroc(area, *among)
        return Estimate(area, *limits, n, "Newcombe's method 5")
    half = Z_TWO_SIDED * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimate(area, _logistic(logit - half), _logistic(logit + half), n, "DeLong over groups")


def estimate_auroc_change(
    is_positive: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    z: float = Z_TWO_SIDED,
) -> Estimate:
    """Estimate how much the AUROC changes from a first to a second score of the same photographs.

    The variance of the difference is that of DeLong and others (1988) for paired scores, with
    Obuchowski's extension to grouped photographs.

    Args:
        is_positive: Shape ``(n,)``, boolean.
        first: Scores by the first grader, shape ``(n,)``.
        second: Scores by the second grader, shape ``(n,)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``. If None,
            photographs count as independent.
        z: How many standard errors each limit lies away from the difference.

    Returns:
        The change of the AUROC. It has no limits if no photograph changed its rank, or if all
        positive or all negative photographs belong to one group.
    """
    positive = np.asarray(is_positive, dtype=bool)
    if not positive.any() or positive.all():
        return _make_undefined_auroc_estimate(positive)
    before, from_before = _compute_auroc_and_deviations(
        positive, np.asarray(first, dtype=np.float64)
    )
    after, from_after = _compute_auroc_and_deviations(
        positive, np.asarray(second, dtype=np.float64)
    )
    change, n = after - before, positive.size
    _, member_of = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    if min(_count_groups_on_each_side(positive, member_of)) < 2:
        return Estimate(change, None, None, n, "DeLong, paired", reason=ONE_GROUP)
    variance = _variance_of_auroc(from_after - from_before, positive, member_of)
    if variance <= ROUNDING**2:
        reason = "no interval: no photograph changed its rank"
        return Estimate(change, None, None, n, "DeLong, paired", reason=reason)
    half = z * math.sqrt(variance)
    return Estimate(change, change - half, change + half, n, "DeLong over groups, paired")


def _make_undefined_auroc_estimate(positive: NDArray[np.bool_]) -> Estimate:
    missing = "healthy" if positive.any() else "diseased"
    return Estimate(None, None, None, positive.size, "DeLong", reason=f"no {missing} photograph")


def _count_groups_on_each_side(
    positive: NDArray[np.bool_], member_of: NDArray[np.intp]
) -> tuple[int, int]:
    return np.unique(member_of[positive]).size, np.unique(member_of[~positive]).size


def _compute_auroc_and_deviations(
    positive: NDArray[np.bool_], values: Floats
) -> tuple[float, Floats]:
    """Return the area under the ROC curve, and how far each photograph's share is from the area.

    The share of a positive photograph is the share of negative photographs with a lower score. The
    share of a negative photograph is the share of positive photographs with a higher score. Equal
    scores count half. The area is the mean share of the positive photographs, and also of the
    negative ones.
    """
    ill, well = values[positive], values[~positive]
    # A photograph has one rank among all photographs, and one among those of its own side (ill or
    # well). The difference is the number of photographs of the other side with a lower score, where
    # equal scores count half. So the pairs need not be compared one by one.
    ranks = _rank_with_mean_rank_for_ties(np.concatenate([ill, well]))
    wins = (ranks[: ill.size] - _rank_with_mean_rank_for_ties(ill)) / well.size
    losses = 1.0 - (ranks[ill.size :] - _rank_with_mean_rank_for_ties(well)) / ill.size
    area = float(wins.mean())
    departures = np.empty(positive.size)
    departures[positive], departures[~positive] = wins - area, losses - area
    return area, departures


def _variance_of_auroc(
    departures: Floats, positive: NDArray[np.bool_], member_of: NDArray[np.intp]
) -> float:
    """Return the variance of an AUROC, or of a difference of two AUROCs.

    ``departures`` holds the deviation of each photograph, from
    :func:`_compute_auroc_and_deviations`. If a group has both positive and negative photographs,
    their covariance is included. If each group has only one photograph, the variance is DeLong's.
    """
    ill, well = (
        np.bincount(member_of, weights=departures * side) / side.sum()
        for side in (positive, ~positive)
    )

    def compute_bessel_correction(count: int) -> float:
        return count / (count - 1)

    variance = 2 * compute_bessel_correction(ill.size) * float(ill @ well)
    for side, sums in ((positive, ill), (~positive, well)):
        variance += compute_bessel_correction(np.unique(member_of[side]).size) * float(sums @ sums)
    return variance


def newcombe_limits_of_auroc(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return 95 % limits of an AUROC from the numbers of independent positives and negatives.

    The method is number 5 of Newcombe (Statistics in Medicine 2006, 25:559-573). Each limit lies
    1.96 standard errors away from the observed area. Hanley and McNeil's formula gives the standard
    error for a true area, and here, the limit itself is used as the true area. Newcombe's method
    also works if the observed area is 0 or 1.
    """

    def is_auroc_within_limit(limit: float) -> bool:
        extra = (positives + negatives) / 2 - 1
        spread = 1 + extra * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        error = math.sqrt(limit * (1 - limit) * spread / (positives * negatives))
        return abs(area - limit) <= Z_TWO_SIDED * error

    return _bisect_to_last_value_within(
        area, 0.0, is_auroc_within_limit
    ), _bisect_to_last_value_within(area, 1.0, is_auroc_within_limit)


def _bisect_to_last_value_within(
    inside: float, outside: float, is_within: Callable[[float], bool]
) -> float:
    """Find by bisection the value at which a condition ceases to hold.

    The condition holds at ``inside``, and does not hold at ``outside``.
    """
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_within(middle) else (inside, middle)
    return inside


def estimate_by_group_bootstrap(
    summands: Floats,
    statistic: Callable[[Floats], Floats],
    groups: ArrayLike | None = None,
    *,
    seed: int = 0,
    tail: float = TAIL,
) -> Estimate:
    """Estimate a statistic that depends only on sums over photographs, by a bootstrap of groups.

    For example, kappa is a function of the 25 counts of a confusion matrix of five grades. Each
    count is a sum over photographs. A resample contains each group zero, one or several times, so
    its counts are a weighted sum of the groups' counts. The counts of many resamples are therefore
    computed with one matrix product.

    Args:
        summands: What each of the n photographs adds to each of the k sums, shape ``(n, k)``.
        statistic: Function that computes the statistic of b resamples, shape ``(b,)``, from their
            sums, shape ``(b, k)``.
        groups: Capture session or patient of each photograph, shape ``(n,)``; photographs
            of one group are drawn together. If None, photographs count as independent.
        seed: Seed for drawing the resamples.
        tail: Share of the resamples below the lower limit, and above the upper limit.
    """
    n = len(summands)
    if n == 0:
        return Estimate(None, None, None, 0, BOOTSTRAP, reason=NO_PHOTOGRAPH)
    value = float(statistic(summands.sum(axis=0, keepdims=True))[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n, BOOTSTRAP, reason="undefined for these photographs")
    # Groups with the same sums are one kind, and a resample only draws how often each kind occurs.
    # A thousand photographs, for example, fall into the 25 cells of a confusion matrix.
    kinds, counts = np.unique(_sum_per_group(summands, groups), axis=0, return_counts=True)
    if counts.sum() < 2:
        return Estimate(value, None, None, n, BOOTSTRAP, reason=ONE_GROUP)
    random = np.random.default_rng(seed)
    group_count = int(counts.sum())
    sizes = [min(DRAWN_AT_ONCE, RESAMPLES - at) for at in range(0, RESAMPLES, DRAWN_AT_ONCE)]
    drawn = [
        statistic(random.multinomial(group_count, counts / group_count, size=size) @ kinds)
        for size in sizes
    ]
    low, high = np.nanquantile(np.concatenate(drawn), [tail, 1 - tail])
    # If every photograph is right, or no grade changed, all resamples are the same. This does not
    # mean that the value is certain: other photographs would show some spread.
    if high - low < ROUNDING:
        reason = "no interval: all bootstrap resamples give the same value"
        return Estimate(value, None, None, n, BOOTSTRAP, reason=reason)
    return Estimate(value, float(low), float(high), n, BOOTSTRAP)


def _sum_per_group(summands: Floats, groups: ArrayLike | None) -> Floats:
    """Return the sum of each group's summands, in shape ``(groups, k)``."""
    if groups is None:
        return summands
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    per_group = np.zeros((len(names), summands.shape[1]))
    np.add.at(per_group, member_of, summands)
    return per_group


def _rank_with_mean_rank_for_ties(values: Floats) -> Floats:
    """Return the rank of each value, from 1; equal values all get the mean of their ranks."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    ranks: Floats = (below + up_to + 1) / 2.0
    return ranks


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))

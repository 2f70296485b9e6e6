"""Estimate proportions, areas under ROC curves, and other statistics of photographs.

Photographs of one capture session are not independent: they show the same patient.  If an interval
takes them as independent, it is too short.  So areas get a variance over sessions, and other
statistics a bootstrap that resamples whole sessions.  Needs NumPy alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Z_TWO_SIDED = 1.959963984540054
"""Normal quantile of 0.975."""
Z_ONE_SIDED = 1.6448536269514722
"""Normal quantile of 0.95."""

RESAMPLES = 1999
"""(RESAMPLES + 1) * 0.025 is whole, so the limits are order statistics."""
DRAWN_AT_ONCE = 200
"""Resamples that are in memory at the same time."""
BISECTIONS = 60
"""Enough to find a share to the last bit of a float."""
ROUNDING = 1e-12
"""Values that differ by less are taken as equal."""
BOOTSTRAP = "bootstrap over groups"
NO_PHOTOGRAPH = "there is no photograph"


def wilson(successes: int, n: int) -> Estimate:
    """Estimate a proportion, with Wilson's interval (J. Am. Stat. Assoc. 1927, 22:209-212).

    The textbook interval (share plus or minus two standard errors) is of length zero if all or
    none succeed; Wilson's is not.
    """
    if n == 0:
        return Estimate(None, None, None, 0, "Wilson", reason=NO_PHOTOGRAPH)
    share, z2 = successes / n, Z_TWO_SIDED**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_TWO_SIDED / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(share, low, high, n, "Wilson")


def auroc(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Estimate the area under the ROC curve: the chance that a positive scores above a negative.

    The variance is that of DeLong et al. (Biometrics 1988, 44:837-845), computed from mid-ranks
    (Sun and Xu, IEEE Signal Process. Lett. 2014, 21:1389-1393) and extended to grouped photographs
    by Obuchowski (Biometrics 1997, 53:567-578).  The interval is made on the logit scale, so that
    it stays between 0 and 1.  If every positive scores above every negative, that variance is
    zero; then the interval is :func:`newcombe_limits` for as many photographs as there are groups.

    Args:
        is_positive: Shape ``(n,)``, boolean.
        scores: Shape ``(n,)``; a higher one is more likely positive.
        groups: Capture sessions or patients, shape ``(n,)``.
    """
    positive = np.asarray(is_positive, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    ill, well, n = values[positive], values[~positive], positive.size
    if min(ill.size, well.size) == 0:
        missing = "diseased" if ill.size == 0 else "healthy"
        return Estimate(None, None, None, n, "DeLong", reason=f"no {missing} photograph")
    # The rank among all, less the rank among its own side, counts the photographs of the other
    # side that score below; equal scores count half. So there is no need to compare all pairs.
    ranks = _mid_ranks(np.concatenate([ill, well]))
    wins = (ranks[: ill.size] - _mid_ranks(ill)) / well.size
    losses = 1.0 - (ranks[ill.size :] - _mid_ranks(well)) / ill.size
    area = float(wins.mean())
    departures = np.empty(n)
    departures[positive], departures[~positive] = wins - area, losses - area
    _, member_of = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    among = [np.unique(member_of[side]).size for side in (positive, ~positive)]
    variance = _area_variance(departures, positive, member_of) if min(among) > 1 else 0.0
    if variance <= 0 or not 0 < area < 1:
        limits = newcombe_limits(area, *among)
        return Estimate(area, *limits, n, "Newcombe's method 5")
    half = Z_TWO_SIDED * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimate(area, _logistic(logit - half), _logistic(logit + half), n, "DeLong over groups")


def _area_variance(
    departures: Floats, positive: NDArray[np.bool_], member_of: NDArray[np.intp]
) -> float:
    """Variance of an area, from how far the share of each photograph departs from it.

    A group with photographs on both sides adds a covariance.  With one photograph in each group
    the variance is DeLong's.
    """
    ill, well = (
        np.bincount(member_of, weights=departures * side) / side.sum()
        for side in (positive, ~positive)
    )

    def unbiased(count: int) -> float:
        return count / (count - 1)

    variance = 2 * unbiased(ill.size) * float(ill @ well)
    for side, sums in ((positive, ill), (~positive, well)):
        variance += unbiased(np.unique(member_of[side]).size) * float(sums @ sums)
    return variance


def newcombe_limits(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Return 95 % limits of an area from the number of independent photographs on each side.

    This is method 5 of Newcombe (Stat. Med. 2006, 25:559-573): the limit is that true area from
    which the observed one is 1.96 standard errors away, with the error that Hanley and McNeil
    give for the true area.  Hence it also works for an observed area of 0 or 1.
    """

    def is_within(limit: float) -> bool:
        extra = (positives + negatives) / 2 - 1
        spread = 1 + extra * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        error = math.sqrt(limit * (1 - limit) * spread / (positives * negatives))
        return abs(area - limit) <= Z_TWO_SIDED * error

    return _last_within(area, 0.0, is_within), _last_within(area, 1.0, is_within)


def _last_within(inside: float, outside: float, is_within: Callable[[float], bool]) -> float:
    """Find by bisection the last value, on the way from inside to outside, that is within."""
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_within(middle) else (inside, middle)
    return inside


def bootstrap_over_groups(
    summands: Floats,
    statistic: Callable[[Floats], Floats],
    groups: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """Estimate a statistic of sums over photographs, by percentile bootstrap over groups.

    Kappa, for example, is a function of 25 counts, each a sum over photographs.  A resample of
    groups is then a weighted sum of their sums, and thousands of resamples are one matrix product.

    Args:
        summands: What each photograph adds to the k sums, shape ``(n, k)``.
        statistic: Computes values ``(b,)`` from sums ``(b, k)``.
        groups: Capture sessions or patients, shape ``(n,)``; photographs of one group are drawn
            together.
        seed: Of the resamples.
    """
    n = len(summands)
    if n == 0:
        return Estimate(None, None, None, 0, BOOTSTRAP, reason=NO_PHOTOGRAPH)
    value = float(statistic(summands.sum(axis=0, keepdims=True))[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n, BOOTSTRAP, reason="undefined for these photographs")
    # Groups with the same sums are of one kind, and only the kinds are drawn: a thousand
    # photographs fall into 25 cells of a confusion matrix.
    kinds, counts = np.unique(_sums_per_group(summands, groups), axis=0, return_counts=True)
    if counts.sum() < 2:
        return Estimate(value, None, None, n, BOOTSTRAP, reason="no interval: 1 group, 2 needed")
    random = np.random.default_rng(seed)
    group_count = int(counts.sum())
    sizes = [min(DRAWN_AT_ONCE, RESAMPLES - at) for at in range(0, RESAMPLES, DRAWN_AT_ONCE)]
    drawn = [
        statistic(random.multinomial(group_count, counts / group_count, size=size) @ kinds)
        for size in sizes
    ]
    low, high = np.nanquantile(np.concatenate(drawn), [TAIL, 1 - TAIL])
    # If every photograph is right, or no grade changed, all resamples are the same. That proves no
    # certainty: other photographs would show some spread.
    if high - low < ROUNDING:
        reason = "no interval: every resample gives this value"
        return Estimate(value, None, None, n, BOOTSTRAP, reason=reason)
    return Estimate(value, float(low), float(high), n, BOOTSTRAP)


def _sums_per_group(summands: Floats, groups: ArrayLike | None) -> Floats:
    """Add up the summands of each group, shape ``(groups, k)``."""
    if groups is None:
        return summands
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    per_group = np.zeros((len(names), summands.shape[1]))
    np.add.at(per_group, member_of, summands)
    return per_group


def _mid_ranks(values: Floats) -> Floats:
    """Rank values from 1; equal values share the mean of their ranks."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    ranks: Floats = (below + up_to + 1) / 2.0
    return ranks


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))

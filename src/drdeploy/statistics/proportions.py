"""Intervals for what is counted and ranked.  Needs NumPy alone.

Photographs of one capture session are not independent: what is no plain share gets a bootstrap
that resamples whole sessions.
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
BISECTIONS = 60
"""Enough for the last bit of a share."""
ROUNDING = 1e-12
"""Values that differ by less are the same."""
BOOTSTRAP = "bootstrap over groups"
NO_PHOTOGRAPH = "no photograph to tell it from"


def wilson(successes: int, n: int) -> Estimate:
    """A share with its 95 % interval (Wilson, J. Am. Stat. Assoc. 1927, 22:209-212)."""
    if n == 0:
        return Estimate(None, None, None, 0, "Wilson", reason=NO_PHOTOGRAPH)
    share, z2 = successes / n, Z_TWO_SIDED**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_TWO_SIDED / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(share, low, high, n, "Wilson")


def auroc(is_positive: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    Variance of DeLong et al. (Biometrics 1988, 44:837-845) from mid-ranks (Sun and Xu 2014), for
    photographs in groups as Obuchowski extends it (Biometrics 1997, 53:567-578), on the logit
    scale so that the interval stays within 0 and 1.  Where the two sides do not overlap that
    variance is zero; there the interval is :func:`newcombe_limits` of the groups.

    Args:
        is_positive: Shape ``(n,)``, boolean.
        scores: Shape ``(n,)``; higher is more likely positive.
        groups: Shape ``(n,)``: capture sessions or patients.
    """
    positive = np.asarray(is_positive, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    ill, well, n = values[positive], values[~positive], positive.size
    if min(ill.size, well.size) == 0:
        missing = "diseased" if ill.size == 0 else "healthy"
        return Estimate(None, None, None, n, "DeLong", reason=f"no {missing} photograph")
    ranks = _mid_ranks(np.concatenate([ill, well]))
    wins = (ranks[: ill.size] - _mid_ranks(ill)) / well.size
    losses = 1.0 - (ranks[ill.size :] - _mid_ranks(well)) / ill.size
    area = float(wins.mean())
    departures = np.empty(n)
    departures[positive], departures[~positive] = wins - area, losses - area
    _, member_of = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    among = [np.unique(member_of[side]).size for side in (positive, ~positive)]
    variance = _variance(departures, positive, member_of) if min(among) > 1 else 0.0
    if variance <= 0 or not 0 < area < 1:
        limits = newcombe_limits(area, *among)
        return Estimate(area, *limits, n, "Newcombe's method 5")
    half = Z_TWO_SIDED * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimate(area, _logistic(logit - half), _logistic(logit + half), n, "DeLong over groups")


def _variance(
    departures: Floats, positive: NDArray[np.bool_], member_of: NDArray[np.intp]
) -> float:
    """Of an area, from how far each photograph's own share is off it.

    With one photograph in each group it is DeLong's.
    """
    ill, well = (
        np.bincount(member_of, weights=departures * side) / side.sum()
        for side in (positive, ~positive)
    )
    variance = 2 * _more(ill.size) * float(ill @ well)
    for side, sums in ((positive, ill), (~positive, well)):
        variance += _more(np.unique(member_of[side]).size) * float(sums @ sums)
    return variance


def _more(count: int) -> float:
    """What makes a sum of squares over that many groups unbiased."""
    return count / (count - 1)


def newcombe_limits(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % limits of an area from how many independent ones stand on each side alone.

    Newcombe, Stat. Med. 2006, 25:559-573, method 5: where the area is one standard error of
    Hanley and McNeil's, times the normal quantile, from the limit.  It holds at areas of 0 and 1.
    """

    def is_within(limit: float) -> bool:
        extra = (positives + negatives) / 2 - 1
        spread = 1 + extra * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        error = math.sqrt(limit * (1 - limit) * spread / (positives * negatives))
        return abs(area - limit) <= Z_TWO_SIDED * error

    return _farthest(area, 0.0, is_within), _farthest(area, 1.0, is_within)


def _farthest(inside: float, outside: float, is_within: Callable[[float], bool]) -> float:
    """The last value on the way from inside to outside that is within, by bisection."""
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_within(middle) else (inside, middle)
    return inside


def of_sums(
    summands: Floats,
    statistic: Callable[[Floats], Floats],
    groups: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> Estimate:
    """A statistic of sums over photographs, with the percentile bootstrap over groups.

    Args:
        summands: Shape ``(n, k)``: what each photograph adds to the k sums.
        statistic: From sums ``(b, k)`` to values ``(b,)``.
        groups: Shape ``(n,)``; photographs of one group are drawn together.
        seed: Of the resamples.
    """
    n = len(summands)
    if n == 0:
        return Estimate(None, None, None, 0, BOOTSTRAP, reason=NO_PHOTOGRAPH)
    value = float(statistic(summands.sum(axis=0, keepdims=True))[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n, BOOTSTRAP, reason="undefined for these photographs")
    alike, counts = np.unique(_sums_per_group(summands, groups), axis=0, return_counts=True)
    if counts.sum() < 2:
        return Estimate(value, None, None, n, BOOTSTRAP, reason="no interval: 1 group, 2 needed")
    random = np.random.default_rng(seed)
    drawn = [statistic(weights @ alike) for weights in _weights(counts, random)]
    low, high = np.nanquantile(np.concatenate(drawn), [TAIL, 1 - TAIL])
    if (
        high - low < ROUNDING
    ):  # all right, or nothing changed: more photographs would show some spread
        reason = "no interval: every resample gives this value"
        return Estimate(value, None, None, n, BOOTSTRAP, reason=reason)
    return Estimate(value, float(low), float(high), n, BOOTSTRAP)


def _sums_per_group(summands: Floats, groups: ArrayLike | None) -> Floats:
    """The sums of each group, shape ``(groups, k)``."""
    if groups is None:
        return summands
    names, member_of = np.unique(np.asarray(groups), return_inverse=True)
    per_group = np.zeros((len(names), summands.shape[1]))
    np.add.at(per_group, member_of, summands)
    return per_group


def _weights(counts: NDArray[np.int64], random: np.random.Generator) -> list[NDArray[np.int64]]:
    """How often each kind of group is drawn in each resample, a few resamples at a time.

    Groups that add the same are one kind: a thousand photographs have 25 cells to fall in.
    """
    n = int(counts.sum())
    sizes = [min(DRAWN_AT_ONCE, RESAMPLES - at) for at in range(0, RESAMPLES, DRAWN_AT_ONCE)]
    return [random.multinomial(n, counts / n, size=size) for size in sizes]


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    ranks: Floats = (below + up_to + 1) / 2.0
    return ranks


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))

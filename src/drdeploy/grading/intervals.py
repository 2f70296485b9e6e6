"""Intervals for what is counted and ranked.  Needs NumPy alone.

Photographs of one capture session are not independent: what is no plain share gets a bootstrap
that resamples whole sessions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.estimate import TAIL, Estimate

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


def auroc(is_positive: ArrayLike, scores: ArrayLike) -> Estimate:
    """Area under the ROC curve: the chance that a positive scores above a negative.

    Variance of DeLong et al. (Biometrics 1988, 44:837-845) from mid-ranks (Sun and Xu 2014), on
    the logit scale so that the interval stays within 0 and 1.

    Args:
        is_positive: Shape ``(n,)``, boolean.
        scores: Shape ``(n,)``; higher is more likely positive.
    """
    positive = np.asarray(is_positive, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    ill, well = values[positive], values[~positive]
    n = positive.size
    if min(ill.size, well.size) == 0:
        missing = "diseased" if ill.size == 0 else "healthy"
        return Estimate(None, None, None, n, "DeLong", reason=f"no {missing} photograph")
    ranks = _mid_ranks(np.concatenate([ill, well]))
    wins = (ranks[: ill.size] - _mid_ranks(ill)) / well.size
    losses = 1.0 - (ranks[ill.size :] - _mid_ranks(well)) / ill.size
    area = float(wins.mean())
    if min(ill.size, well.size) == 1 or not 0 < area < 1:
        reason = "no interval: one photograph on a side, or no overlap of the two"
        return Estimate(area, None, None, n, "DeLong", reason=reason)
    variance = wins.var(ddof=1) / ill.size + losses.var(ddof=1) / well.size
    half = Z_TWO_SIDED * math.sqrt(variance) / (area * (1 - area))
    logit = math.log(area / (1 - area))
    return Estimate(area, _logistic(logit - half), _logistic(logit + half), n, "DeLong")


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
    names = np.arange(n) if groups is None else np.asarray(groups)
    method = "bootstrap over groups"
    if n == 0:
        return Estimate(None, None, None, 0, method, reason=NO_PHOTOGRAPH)
    value = float(statistic(summands.sum(axis=0, keepdims=True))[0])
    _, member_of = np.unique(names, return_inverse=True)
    count = int(member_of.max()) + 1
    if not math.isfinite(value):
        return Estimate(None, None, None, n, method, reason="undefined for these photographs")
    if count < 2:
        return Estimate(value, None, None, n, method, reason="no interval: 1 group, 2 needed")
    per_group = np.zeros((count, summands.shape[1]))
    np.add.at(per_group, member_of, summands)
    drawn = np.concatenate(
        [statistic(weights @ per_group) for weights in _weights(count, np.random.default_rng(seed))]
    )
    low, high = np.nanquantile(drawn, [TAIL, 1 - TAIL])
    return Estimate(value, float(low), float(high), n, method)


def _weights(count: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """How often each group is drawn in each resample, a few resamples at a time."""
    shares = np.full(count, 1.0 / count)
    sizes = [min(DRAWN_AT_ONCE, RESAMPLES - at) for at in range(0, RESAMPLES, DRAWN_AT_ONCE)]
    return [random.multinomial(count, shares, size=size) for size in sizes]


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    ranks: Floats = (below + up_to + 1) / 2.0
    return ranks


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))

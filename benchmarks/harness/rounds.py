"""Side by side: everything is measured once in each round, in turn.

What disturbs the machine for a while disturbs all that are compared.  The sample is one value
per round (the calls of a round stand or fall together), and a ratio is formed within its round.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drdeploy.statistics.means import Estimate, median
from drdeploy.statistics.notation import interval, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

K = TypeVar("K")
V = TypeVar("V")

PAUSE_S = 0.05
"""Between two, so that the threads of one runtime do not spin while the other computes."""


def interleaved(
    measured: Mapping[K, Callable[[], V]], rounds: int, *, seed: int = 1
) -> dict[K, list[V]]:
    """A value per round of each, in an order that changes from round to round."""
    values: dict[K, list[V]] = {name: [] for name in measured}
    order = list(measured)
    shuffle = random.Random(seed).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            time.sleep(PAUSE_S)
            values[name].append(measured[name]())
    return values


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Median of the rounds' ratios, with its 95 % interval."""
    return median(np.asarray(numerator, dtype=float) / np.asarray(denominator, dtype=float))


def written(estimate: Estimate, unit: str = "") -> str:
    """``2.11 ms (2.09 to 2.15)``; the value alone where there is no interval."""
    if estimate.value is None:
        return "—"
    limits = interval(estimate)
    value = f"{number(estimate.value)} {unit}".rstrip()
    return f"{value} ({limits})" if limits else value

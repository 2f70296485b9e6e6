"""Measure several functions in rounds. In each round, every function is measured once.

If other programs slow down the machine for a while, they slow down all functions that are compared.
A round gives one value for each function, even if it calls the function many times, because the
calls of a round are not independent. A ratio is computed from two values of the same round.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drdeploy.statistics.notation import format_interval, format_number
from drdeploy.statistics.percentiles import estimate_median

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike

    from drdeploy.statistics.estimate import Estimate

K = TypeVar("K")
V = TypeVar("V")

PAUSE_S = 0.05
"""Pause between two measurements: idle threads of one runtime may spin for a while, and would slow
down the next measurement.
"""


def interleaved(
    measured: Mapping[K, Callable[[], V]], rounds: int, *, seed: int = 1
) -> dict[K, list[V]]:
    """Call each function once per round, in random order; return each function's values."""
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
    """Divide the two values of each round; return the median ratio with its 95 % interval."""
    return estimate_median(
        np.asarray(numerator, dtype=float) / np.asarray(denominator, dtype=float)
    )


def written(estimate: Estimate, unit: str = "") -> str:
    """Format an estimate like ``2.11 ms (2.09 to 2.15)``, or ``2.11 ms`` if it has no interval."""
    if estimate.value is None:
        return "—"
    limits = format_interval(estimate)
    value = f"{format_number(estimate.value)} {unit}".rstrip()
    return f"{value} ({limits})" if limits else value

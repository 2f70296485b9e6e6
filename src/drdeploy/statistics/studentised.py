"""Limits by Student's pivot: how far resamples lie from the sample, in their own standard errors.

The studentised bootstrap is Efron and Tibshirani, An Introduction to the Bootstrap (1993),
section 12.5, here of the log, which steadies the variance.  Its tails are calibrated (ibid.,
chapter 18, after Loh, J. Am. Stat. Assoc. 1987, 82:155-162): latencies have slow rows of which a
small sample often holds none, so that the plain 2.5 % on each side miss the truth too often.
``benchmarks/interval_coverage.py`` shows what either gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import TAIL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 1999
"""(RESAMPLES + 1) times each tail below is whole, so the limits are order statistics."""


@dataclass(frozen=True)
class Tails:
    """Shares of resampled pivots that are cut off.

    Attributes:
        above: Beyond the upper limit.
        below: Beyond the lower limit.
    """

    above: float
    below: float


OF_A_MEAN = Tails(above=0.005, below=TAIL)
"""A slow row that is missing lowers a mean and its spread at once: the upper limit yields."""
OF_A_COMPARISON = Tails(above=0.015, below=0.015)
"""Either side may lack its slow row."""


@dataclass(frozen=True)
class Pivot:
    """A statistic, on whatever scale, and its squared standard error, each of shape ``(k,)``."""

    centre: Floats
    squared_error: Floats

    def minus(self, other: Pivot) -> Pivot:
        """The difference of two independent statistics."""
        return Pivot(self.centre - other.centre, self.squared_error + other.squared_error)


def log_means(samples: Floats) -> Pivot:
    """Log mean of each row of ``(k, n)`` and its squared standard error (delta method)."""
    means = samples.mean(axis=1)
    return Pivot(np.log(means), samples.var(axis=1, ddof=1) / samples.shape[1] / means**2)


def means(samples: Floats) -> Pivot:
    """Mean of each row of ``(k, n)`` and its squared standard error."""
    return Pivot(samples.mean(axis=1), samples.var(axis=1, ddof=1) / samples.shape[1])


def log_shares(samples: Floats) -> Pivot:
    """Log ratio of the two means of each ``(n, 2)`` sample of ``(k, n, 2)``; rows are paired."""
    centre = samples.mean(axis=1)
    residuals = samples[..., 0] / centre[:, :1] - samples[..., 1] / centre[:, 1:]
    logs = np.log(centre[:, 0] / centre[:, 1])
    return Pivot(logs, residuals.var(axis=1, ddof=1) / samples.shape[1])


def resampled(values: Floats, rng: np.random.Generator) -> Floats:
    """Shape ``(RESAMPLES, n, ...)``: rows drawn with replacement; pairs stay together."""
    drawn: Floats = values[rng.integers(0, len(values), (RESAMPLES, len(values)))]
    return drawn


def bootstrap_limits(observed: Pivot, resamples: Pivot, tails: Tails) -> tuple[float, float]:
    """Limits on the scale of the pivot."""
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    usable = np.isfinite(resamples.centre) & (resamples.squared_error > 0)
    pivots = (resamples.centre[usable] - centre) / np.sqrt(resamples.squared_error[usable])
    lower, upper = np.quantile(pivots, [tails.above, 1 - tails.below])
    return centre - float(upper) * error, centre - float(lower) * error


def students_limits(observed: Pivot, freedom: float) -> tuple[float, float]:
    """Limits of Student's t, for samples too small to resample."""
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    reach = float(stats.t.ppf(1 - TAIL, freedom)) * error
    return centre - reach, centre + reach


def welch(above: Pivot, n_above: int, below: Pivot, n_below: int) -> float:
    """Degrees of freedom of a difference of two means (Welch and Satterthwaite)."""
    one, other = float(above.squared_error[0]), float(below.squared_error[0])
    return (one + other) ** 2 / (one**2 / (n_above - 1) + other**2 / (n_below - 1))

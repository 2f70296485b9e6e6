"""The studentised bootstrap: intervals from how far resamples lie from the sample.

A sample of latencies is small and skewed, so that a normal interval around its mean misses the
truth too often.  The bootstrap draws resamples from the sample and looks at how far their means are
from the sample's mean.  Studentised means that each distance is divided by the resample's own
standard error, which corrects for skewness: in a resample without slow rows, both the mean and the
error are too small (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5).
It is done for the logarithm of the mean, whose error depends less on the mean.

The pivot of a resample is (its log mean - the sample's log mean) / its standard error.  The limits
are the sample's log mean minus quantiles of the pivots times the sample's standard error.

Cutting off 2.5 % of the pivots on each side still misses the truth too often, because a small
sample often has none of the slow rows at all.  So the tails are calibrated: smaller shares are cut
off, chosen so that simulated intervals cover 95 % (ibid., chapter 18; Loh, J. Am. Stat. Assoc.
1987, 82:155-162).  ``benchmarks/interval_coverage.py`` shows the coverage with and without.
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
"""(RESAMPLES + 1) times each tail below is a whole number, so the limits are order statistics."""


@dataclass(frozen=True)
class Tails:
    """The shares of pivots that are cut off.

    Attributes:
        above: For the upper limit.
        below: For the lower limit.
    """

    above: float
    below: float


OF_A_MEAN = Tails(above=0.005, below=TAIL)
"""Tails for a mean.  A sample that lacks its slow row has too small a mean and too small a spread
at once, so the upper limit is moved further out."""
OF_A_COMPARISON = Tails(above=0.015, below=0.015)
"""Tails for a comparison, where either of the two samples may lack its slow row."""


@dataclass(frozen=True)
class Pivot:
    """A statistic of k samples with its standard error, from which pivots are made.

    Attributes:
        centre: The statistic, shape ``(k,)``.
        squared_error: Its squared standard error, shape ``(k,)``.
    """

    centre: Floats
    squared_error: Floats

    def minus(self, other: Pivot) -> Pivot:
        """Return the difference of two independent statistics; their squared errors add up."""
        return Pivot(self.centre - other.centre, self.squared_error + other.squared_error)


def log_means(samples: Floats) -> Pivot:
    """Compute the log mean of each row of ``(k, n)``; its error is by the delta method."""
    means = samples.mean(axis=1)
    return Pivot(np.log(means), samples.var(axis=1, ddof=1) / samples.shape[1] / means**2)


def means(samples: Floats) -> Pivot:
    """Compute the mean of each row of ``(k, n)``."""
    return Pivot(samples.mean(axis=1), samples.var(axis=1, ddof=1) / samples.shape[1])


def log_shares(samples: Floats) -> Pivot:
    """Compute the log ratio of the two means of each paired sample in ``(k, n, 2)``."""
    centre = samples.mean(axis=1)
    residuals = samples[..., 0] / centre[:, :1] - samples[..., 1] / centre[:, 1:]
    logs = np.log(centre[:, 0] / centre[:, 1])
    return Pivot(logs, residuals.var(axis=1, ddof=1) / samples.shape[1])


def resampled(values: Floats, rng: np.random.Generator) -> Floats:
    """Draw rows with replacement, shape ``(RESAMPLES, n, ...)``; pairs stay together."""
    drawn: Floats = values[rng.integers(0, len(values), (RESAMPLES, len(values)))]
    return drawn


def bootstrap_limits(observed: Pivot, resamples: Pivot, tails: Tails) -> tuple[float, float]:
    """Return the limits of the statistic, on its own scale (the logarithm, for a mean).

    Args:
        observed: The statistic of the sample.
        resamples: The statistic of each resample.
        tails: Shares of the pivots to cut off.
    """
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    # A resample may draw the same row every time; without a spread it has no pivot.
    usable = np.isfinite(resamples.centre) & (resamples.squared_error > 0)
    pivots = (resamples.centre[usable] - centre) / np.sqrt(resamples.squared_error[usable])
    lower, upper = np.quantile(pivots, [tails.above, 1 - tails.below])
    # The two change places: a pivot far above zero means that the sample may lie that far above
    # the truth, which is therefore further down.
    return centre - float(upper) * error, centre - float(lower) * error


def students_limits(observed: Pivot, freedom: float) -> tuple[float, float]:
    """Return the limits by Student's t, for samples too small to resample."""
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    reach = float(stats.t.ppf(1 - TAIL, freedom)) * error
    return centre - reach, centre + reach


def welch(above: Pivot, n_above: int, below: Pivot, n_below: int) -> float:
    """Return the degrees of freedom of a difference of two means (Welch and Satterthwaite)."""
    one, other = float(above.squared_error[0]), float(below.squared_error[0])
    return (one + other) ** 2 / (one**2 / (n_above - 1) + other**2 / (n_below - 1))

"""Compute intervals with the studentised bootstrap.

Samples of latencies are small and skewed, so a normal interval around the mean misses the true
value too often. The bootstrap draws resamples from the sample, and measures how far their means are
from the sample's mean. In the studentised bootstrap, each distance is divided by the resample's own
standard error. The division corrects for skewness: in a resample without slow rows, the mean is too
small, and so is the standard error (Efron and Tibshirani, 1993, section 12.5). The method is
applied to the logarithm of the mean. The standard error of a mean grows with the mean, but that of
its logarithm stays about the same.

The pivot of a resample is its log mean minus the sample's log mean, divided by the standard error
of the resample. To find the limits, the quantiles of the pivots are multiplied by the sample's
standard error. The products are subtracted from the sample's log mean.

An interval that cuts off 2.5 % of the pivots on each side still misses the true value too often,
because a small sample often has no slow rows. The tails are therefore calibrated: smaller shares
are cut off, so that 95 % of simulated intervals contain the true value. The method is in Efron and
Tibshirani (1993, chapter 18) and Loh (Journal of the American Statistical Association 1987,
82:155-162). ``benchmarks/interval_coverage.py`` measures how often the calibrated intervals contain
the true value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics.estimate import TAIL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.arrays import Floats

RESAMPLES = 1999
"""The number of bootstrap resamples. With this number, about ten pivots are cut off even at the
smallest of the tails that are defined in this module.
"""
ROUNDING = 1e-24
"""A squared error of a logarithm up to this value is only a rounding error.

If all rows are equal, their mean may still differ from them in the last bit.
"""


@dataclass(frozen=True)
class Tails:
    """The shares of the pivots that are cut off on each side (see the module's description).

    Attributes:
        above: The share of all pivots that is cut off at the low end. A limit is the statistic
            minus the product of a pivot and the standard error, so the smallest pivot that remains
            gives the upper limit.
        below: The share of all pivots that is cut off at the high end. The largest pivot that
            remains gives the lower limit.
    """

    above: float
    below: float


OF_A_MEAN = Tails(above=0.005, below=TAIL)
"""Tails for a mean. A sample without slow rows has both too small a mean and too small a spread, so
the upper limit is moved further out."""
OF_A_COMPARISON = Tails(above=0.015, below=0.015)
"""Tails for a comparison of two samples; each of the two may lack slow rows."""


@dataclass(frozen=True)
class StatisticWithError:
    """A statistic of each of ``k`` samples, with its standard error.

    Attributes:
        centre: The statistic, shape ``(k,)``.
        squared_error: The squared standard error of the statistic, shape ``(k,)``.
    """

    centre: Floats
    squared_error: Floats

    def subtract_independent_statistic(self, other: StatisticWithError) -> StatisticWithError:
        """Return the difference of two independent statistics, whose squared errors add up."""
        return StatisticWithError(
            self.centre - other.centre, self.squared_error + other.squared_error
        )


def compute_log_means(samples: Floats) -> StatisticWithError:
    """Compute the log of the mean of each of ``k`` samples, with its error (delta method)."""
    means = samples.mean(axis=1)
    return StatisticWithError(
        np.log(means), samples.var(axis=1, ddof=1) / samples.shape[1] / means**2
    )


def compute_log_ratios_of_paired_means(samples: Floats) -> StatisticWithError:
    """Compute the log of the ratio of the means of paired values, for each of ``k`` samples."""
    centre = samples.mean(axis=1)
    residuals = samples[..., 0] / centre[:, :1] - samples[..., 1] / centre[:, 1:]
    logs = np.log(centre[:, 0] / centre[:, 1])
    return StatisticWithError(logs, residuals.var(axis=1, ddof=1) / samples.shape[1])


def draw_resamples(values: Floats, rng: np.random.Generator) -> Floats:
    """Return resamples of the rows, drawn with replacement, in shape ``(RESAMPLES, n, ...)``.

    If each row is a pair of values, the pair stays together.
    """
    drawn: Floats = values[rng.integers(0, len(values), (RESAMPLES, len(values)))]
    return drawn


def studentised_bootstrap_limits(
    observed: StatisticWithError, resamples: StatisticWithError, tails: Tails
) -> tuple[float, float]:
    """Return the lower and upper limit of a statistic by the studentised bootstrap.

    The limits have the scale of the statistic. If the statistic is a log mean, they are logarithms
    too.

    Args:
        observed: The statistic of the sample.
        resamples: The statistic of each resample.
        tails: Shares of the pivots to cut off.
    """
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    # A resample may consist of copies of one row. It has no spread, and therefore no pivot.
    usable = np.isfinite(resamples.centre) & (resamples.squared_error > ROUNDING)
    pivots = (resamples.centre[usable] - centre) / np.sqrt(resamples.squared_error[usable])
    lower, upper = np.quantile(pivots, [tails.above, 1 - tails.below])
    # The upper pivot gives the lower limit, and the lower pivot gives the upper limit. If the mean
    # of a resample lies far above that of the sample, the mean of the sample may lie as far above
    # the true mean.
    return centre - float(upper) * error, centre - float(lower) * error


def student_t_limits(observed: StatisticWithError, freedom: float) -> tuple[float, float]:
    """Return the limits of a statistic by Student's t, for samples too small for a bootstrap."""
    centre, error = float(observed.centre[0]), float(np.sqrt(observed.squared_error[0]))
    reach = float(stats.t.ppf(1 - TAIL, freedom)) * error
    return centre - reach, centre + reach


def degrees_of_freedom(pivots: Sequence[StatisticWithError], sizes: Sequence[int]) -> float:
    """Return the degrees of freedom of a mean (n - 1), or of a difference of means (Welch)."""
    errors = [float(pivot.squared_error[0]) for pivot in pivots]
    if len(errors) == 1:
        return sizes[0] - 1
    return sum(errors) ** 2 / sum(e**2 / (n - 1) for e, n in zip(errors, sizes, strict=True))

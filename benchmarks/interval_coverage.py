"""Measure how often drdeploy's 95 % intervals contain the true value, on simulated latencies.

Each repetition draws a sample of latencies, and computes an interval from it with the functions of
``drdeploy.statistics``. The latencies are log-normal. In some samples, a few of the latencies are
two to four times as long. The coverage is the share of repetitions whose interval contains the true
value. The first line of the output gives the standard error of a coverage. A coverage outside 93-98
% is marked with a star.

    python benchmarks/interval_coverage.py [--repetitions 1000 | --smoke]
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from drdeploy.statistics import means as statistics
from drdeploy.statistics import percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.statistics.estimate import Estimate

    Floats = np.ndarray

SIZES = (10, 25, 100)
LEAST, MOST = 0.93, 0.98


@dataclass(frozen=True)
class Latencies:
    """A log-normal distribution of latencies, in which some can be several times as long.

    On average, the share ``share`` of the latencies is multiplied by ``factor``.
    """

    sigma: float
    share: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        tail = f", {100 * self.share:.0f} % x {self.factor:g}" if self.share else ""
        return f"sigma {self.sigma:g}{tail}"

    def draw(self, rng: np.random.Generator, size: int) -> Floats:
        """Return independent latencies."""
        slow = np.where(rng.random(size) < self.share, self.factor, 1.0)
        return rng.lognormal(0, self.sigma, size) * slow

    @property
    def mean(self) -> float:
        """The true mean."""
        return math.exp(self.sigma**2 / 2) * (1 + self.share * (self.factor - 1))

    def quantile(self, share: float) -> float:
        """Return the true percentile of the distribution, found by bisection."""
        low, high = 1e-6, 1e6
        for _ in range(200):
            middle = math.sqrt(low * high)
            below = (1 - self.share) * stats.norm.cdf(math.log(middle) / self.sigma)
            below += self.share * stats.norm.cdf(math.log(middle / self.factor) / self.sigma)
            low, high = (middle, high) if below < share else (low, middle)
        return middle


PLAIN = (Latencies(0.1), Latencies(0.25), Latencies(0.5), Latencies(0.8))
TAILED = (
    Latencies(0.25, 0.05, 2.5),
    Latencies(0.3, 0.05, 3.0),
    Latencies(0.2, 0.10, 2.0),
    Latencies(0.3, 0.02, 4.0),
)


@dataclass(frozen=True)
class EstimatedStatistic:
    """A statistic whose interval is checked, its true value, and a function that draws samples."""

    name: str
    estimate: Callable[..., Estimate]
    truth: Callable[[Latencies], float]
    sizes: tuple[int, ...] = SIZES
    samples: int = 1
    is_paired: bool = False

    def covers(self, latencies: Latencies, rng: np.random.Generator, n: int) -> bool:
        """Draw a sample; return whether its interval contains the true value."""
        drawn = [latencies.draw(rng, n) for _ in range(self.samples)]
        if self.is_paired:  # both sides of a pair vary together
            shared = rng.lognormal(0, latencies.sigma, n)
            drawn = [sample * shared for sample in drawn]
        found = self.estimate(*drawn)
        return found.has_interval and not found.interval_excludes(self.truth(latencies))


STATISTICS = (
    EstimatedStatistic("mean", statistics.estimate_mean, lambda d: d.mean),
    EstimatedStatistic("median", percentiles.estimate_median, lambda d: d.quantile(0.5)),
    EstimatedStatistic(
        "ratio of means", statistics.estimate_ratio_of_means, lambda _: 1.0, samples=2
    ),
    EstimatedStatistic(
        "ratio of medians", statistics.estimate_ratio_of_medians, lambda _: 1.0, samples=2
    ),
    EstimatedStatistic(
        "paired ratio",
        statistics.estimate_paired_ratio_of_means,
        lambda _: 1.0,
        samples=2,
        is_paired=True,
    ),
    EstimatedStatistic(
        "p95",
        lambda x: percentiles.estimate_percentile(x, 0.95),
        lambda d: d.quantile(0.95),
        (100,),
    ),
)


def coverage(
    statistic: EstimatedStatistic, latencies: Latencies, n: int, repetitions: int
) -> float:
    """Return the share of repetitions whose interval contains the true value."""
    rng = np.random.default_rng([2023, n])
    return float(np.mean([statistic.covers(latencies, rng, n) for _ in range(repetitions)]))


def main() -> int:
    """Print the table; the exit status is 1 if a coverage is outside 93-98 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--repetitions", type=int, default=1000)
    size.add_argument("--smoke", action="store_true", help="two repetitions, which prove nothing")
    options = parser.parse_args()
    repetitions = 2 if options.smoke else options.repetitions
    error = 100 * math.sqrt(0.95 * 0.05 / repetitions)
    print(f"coverage in per cent of {repetitions} repetitions (one standard error: {error:.1f})")
    outside = 0
    for statistic in STATISTICS:
        print(f"\n{statistic.name:22s}" + "".join(f"{f'n = {n}':>9s}" for n in statistic.sizes))
        for latencies in PLAIN + TAILED:
            shares = [coverage(statistic, latencies, n, repetitions) for n in statistic.sizes]
            marks = [" " if LEAST <= share <= MOST else "*" for share in shares]
            outside += marks.count("*")
            cells = "".join(
                f"{100 * share:8.1f}{mark}" for share, mark in zip(shares, marks, strict=True)
            )
            print(f"{latencies!s:22s}{cells}", flush=True)
    print(f"\n{outside} outside {100 * LEAST:.0f}-{100 * MOST:.0f} %")
    short = percentiles.estimate_percentile(np.arange(1.0, 11.0), 0.95)
    print(f"p95 of 10 rows: {short.reason}")
    return int(outside > 0 and not options.smoke)


if __name__ == "__main__":
    sys.exit(main())

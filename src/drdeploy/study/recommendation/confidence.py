"""How sure the decision is: a bootstrap of the measured rows.

Each resample draws every configuration's rows again, with replacement, and recomputes what every
option costs and its p95.  That gives the 95 % interval of both, and the share of resamples in which
the winner stays the winner.

The simulation is not repeated for each resample.  Which requests find a container warm, and how
long one waits for an instance, hardly depend on which rows were drawn, and 400 simulations of every
option would take minutes.  So a serverless p95 is that of the mixture of resampled warm and cold
rows with the simulated shares, and a real-time p95 that of the simulated waits plus resampled rows.

All options of one configuration share its resampled rows: their differences are not blurred by
differences between draws.  What rows cannot know (another day, another machine, other prices) is
not in it, and with a few dozen rows a bootstrap of a p95 is rather too narrow than too wide: it
cannot draw a slower request than the slowest that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL
from drdeploy.study.recommendation.simulation.outcome import WAITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import Requirements
    from drdeploy.study.recommendation.simulation.service import ServiceTimes

RESAMPLES = 400


@dataclass(frozen=True)
class Confidence:
    """The share of the resamples that each option wins.

    Attributes:
        share: Share of the resamples that the winner wins; None where there is no winner.
        resamples: Number of resamples.
        others: Shares of other options that win, by name, the largest first; an empty name where
            none meets the requirements.
    """

    share: float | None
    resamples: int
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class ResampledOption:
    """Monthly cost and p95 of one option in every resample; arrays of shape ``(resamples,)``.

    Attributes:
        usd: Not a number where the cost is not known.
        p95_s: Infinite where so many requests are refused that it has no end.
    """

    name: str
    usd: NDArray[np.float64]
    p95_s: NDArray[np.float64]


def resample(
    options: Sequence[Option], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, ResampledOption]:
    """Recompute cost and p95 of every option with rows drawn again, by the option's name."""
    rng = np.random.default_rng(seed)
    found: dict[str, ResampledOption] = {}
    for _, group in groupby(options, key=lambda option: option.measured.name):
        priced = [_PricedOption.of(option) for option in group]
        times = priced[0].option.measured.times
        # One draw of rows for all options of the configuration: their difference is not noise.
        usd = np.empty((len(priced), resamples))
        p95_s = np.empty_like(usd)
        for at in range(resamples):
            drawn = times.resampled(rng)
            for row, one in enumerate(priced):
                usd[row, at], p95_s[row, at] = one.usd(drawn), one.p95_s(drawn)
        for row, one in enumerate(priced):
            name = one.option.name
            found[name] = ResampledOption(name, usd[row], p95_s[row])
    return found


def confidence(
    winner: str | None, contenders: Sequence[ResampledOption], required: Requirements
) -> Confidence:
    """Count in how many resamples each option is the cheapest that meets the requirements.

    Args:
        winner: Name of the winner on the rows as measured, or None.
        contenders: Options that fail on nothing that resampling cannot change (sensitivity,
            refused requests, unknown prices).
        required: What they must meet.
    """
    resamples = contenders[0].usd.size if contenders else 0
    wins: dict[str, int] = {}
    usd = np.array([_usd_if_met(one, required) for one in contenders])
    for at in range(resamples):
        cheapest = int(usd[:, at].argmin())
        name = contenders[cheapest].name if np.isfinite(usd[cheapest, at]) else ""
        wins[name] = wins.get(name, 0) + 1
    shares = {name: count / resamples for name, count in wins.items()}
    share = None if winner is None else shares.pop(winner, 0.0)
    others = sorted(shares.items(), key=lambda item: -item[1])
    return Confidence(share, resamples, tuple(others))


def limits(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95 % of resamples; None where a limit is not finite."""
    # A p95 has no end where more than 5 % of the requests are refused; nor has its interval then.
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _usd_if_met(one: ResampledOption, required: Requirements) -> NDArray[np.float64]:
    """The cost in each resample, infinite in those that miss a requirement."""
    missed = np.zeros(one.usd.size, dtype=bool)
    if required.budget_usd is not None:
        missed |= one.usd > required.budget_usd
    if required.p95_s is not None:
        missed |= one.p95_s > required.p95_s
    return np.where(missed, np.inf, one.usd)


@dataclass(frozen=True, eq=False)
class _PricedOption:
    """An option's bill split into what depends on the rows and what does not.

    Attributes:
        fixed_usd: The part of a month's bill that does not depend on the rows.
        on_demand_usd: Price of a billed second on demand.
        at_work_usd: Price of a second that a provisioned container works.
        warm: Requests a month answered warm on demand, keep-warm ones among them.
        cold: Requests a month answered by a container that had to start.
        provisioned: Requests a month answered by provisioned containers.
    """

    option: Option
    fixed_usd: float
    on_demand_usd: float
    at_work_usd: float
    warm: float
    cold: float
    provisioned: float

    @classmethod
    def of(cls, option: Option) -> _PricedOption:
        simulated, months = option.simulated, option.months
        on_demand_usd = at_work_usd = 0.0
        for entry in option.bill.entries if option.bill else ():
            if entry.price.item.startswith("serverless ") and entry.price.unit == "second":
                on_demand_usd = entry.price.usd
            if entry.price.item.endswith("at work"):
                at_work_usd = entry.price.usd
        served = simulated.warm + simulated.keep_warm_requests
        varying = cls(
            option=option,
            fixed_usd=0.0,
            on_demand_usd=on_demand_usd,
            at_work_usd=at_work_usd,
            warm=served / months if option.policy else 0.0,
            cold=simulated.cold / months,
            provisioned=simulated.provisioned / months,
        )
        # By subtraction, so that with the rows as measured the parts sum to the bill exactly.
        bill_usd = option.bill.usd if option.bill else float("nan")
        return replace(varying, fixed_usd=bill_usd - varying.usd(option.measured.times))

    def usd(self, times: ServiceTimes) -> float:
        """A month's cost with these times."""
        warm_s = times.warm.mean_busy_s
        cold_s = times.cold.mean_busy_s if times.cold else 0.0
        used = self.on_demand_usd * (self.warm * warm_s + self.cold * cold_s)
        return self.fixed_usd + used + self.at_work_usd * self.provisioned * warm_s

    def p95_s(self, times: ServiceTimes) -> float:
        """The 95th percentile of all requests with these times."""
        simulated = self.option.simulated
        if times.cold is None:
            # Rows come in random order already, so repeating them pairs them with the waits.
            return float(
                np.quantile(simulated.waits_s + np.resize(times.warm.total_s, WAITS), 0.95)
            )
        answered = 1 - simulated.throttled_share
        return mixture_percentile(
            (times.warm.total_s, (1 - simulated.cold_share) * answered),
            (times.cold.total_s, simulated.cold_share * answered),
            0.95,
        )


def mixture_percentile(
    one: tuple[NDArray[np.float64], float], other: tuple[NDArray[np.float64], float], share: float
) -> float:
    """Percentile of a mixture of two samples, each with its weight.

    The weights sum to at most 1; what is missing to 1 counts as infinite.
    """
    values = np.concatenate([one[0], other[0]])
    weights = np.concatenate(
        [np.full(sample.size, weight / sample.size) for sample, weight in (one, other)]
    )
    order = np.argsort(values)
    # Weights that sum to 0.95 may come out as 0.9499999999999998, and must count as 0.95.
    at = int(np.searchsorted(np.cumsum(weights[order]), share - 1e-12))
    return float(values[order][at]) if at < values.size else float("inf")

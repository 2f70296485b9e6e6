"""Compute the confidence of a decision by a bootstrap of the measured rows.

For each resample, rows of every configuration are drawn from the measured rows with replacement.
The cost and the p95 of every option are then computed again. The resamples give 95 % intervals of
cost and p95, and the share of resamples in which the winner is still chosen.

The simulation is not repeated for each resample, because simulating every option 400 times would
take minutes. The share of cold starts and the waiting times hardly depend on the drawn rows, so
they are taken from the one simulation. The p95 of a serverless option is computed from a mixture of
resampled warm and cold rows, with the simulated share of cold starts. The p95 of a real-time option
is computed from simulated waiting times plus the latencies of resampled rows.

All options of one configuration use the same resampled rows, so a resample with slow rows makes all
of them slower. The confidence does not cover another day, another machine or other prices. With a
few dozen rows, the interval of a p95 is too narrow, because no resample holds a slower request than
the slowest measured one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL
from drdeploy.study.recommendation.choice import NONE, SameCost, choose_option_in_each_case
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
    """How often the winner, and each other option, is chosen in the bootstrap resamples.

    Attributes:
        share: The share of the resamples in which the winner is chosen, or None if there is no
            winner.
        others: The name of each other option that is chosen in some resample, with the share of
            those resamples. The option with the largest share comes first. An entry with an empty
            name gives the share of the resamples in which no option meets the requirements.
    """

    share: float | None
    resamples: int
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class ResampledOption:
    """The monthly cost and the p95 of one option in every resample, as arrays.

    Attributes:
        usd: The monthly cost in each resample; NaN if the cost is not known.
        p95_s: The p95 in each resample; infinite if more than 5 % of the requests are refused.
        p95_as_measured_s: The p95 computed from the times measured on this machine, with the share
            of cold starts that ``p95_s`` has. None if ``p95_s`` itself is computed from measured
            times.
    """

    name: str
    usd: NDArray[np.float64]
    p95_s: NDArray[np.float64]
    p95_as_measured_s: float | None = None


def resample_cost_and_p95(
    options: Sequence[Option], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, ResampledOption]:
    """Compute the cost and the p95 of every option in each resample, by the option's name."""
    rng = np.random.default_rng(seed)
    found: dict[str, ResampledOption] = {}
    for _, group in groupby(options, key=lambda option: option.measured.name):
        priced = [_PricedOption.from_option_with_bill_split(option) for option in group]
        times = priced[0].option.measured.service_times
        # All options of a configuration use the same drawn rows, so that differences between the
        # options are not due to chance.
        usd = np.empty((len(priced), resamples))
        p95_s = np.empty_like(usd)
        for at in range(resamples):
            drawn = times.draw_bootstrap_resample(rng, at)
            for row, one in enumerate(priced):
                usd[row, at], p95_s[row, at] = (
                    one.compute_monthly_usd(drawn),
                    one.compute_p95_s(drawn),
                )
        for row, one in enumerate(priced):
            name, here = one.option.name, times.locally_measured_times
            p95_here_s = None if here is times else one.compute_p95_s(here)
            found[name] = ResampledOption(name, usd[row], p95_s[row], p95_here_s)
    return found


def compute_confidence_of_winner(
    winner: str | None,
    contenders: Sequence[tuple[ResampledOption, int]],
    required: Requirements,
) -> Confidence:
    """Count in how many resamples each option is chosen.

    Args:
        winner: The name of the option that wins with the measured rows, or None if there is no
            winner.
        contenders: The options that may be chosen in a resample, each with the number of components
            that someone must operate for it. Each of these options can be deployed, has known
            prices, and meets the requirements on sensitivity, refused requests and late results.
            Resampling does not change these properties.
        required: The requirements.
    """
    if not contenders:
        return Confidence(None if winner is None else 0.0, 0, ())
    usd = np.array([_compute_usd_if_requirements_met(one, required) for one, _ in contenders])
    chosen = choose_option_in_each_case(
        usd,
        np.array([one.p95_s for one, _ in contenders]),
        np.array([parts for _, parts in contenders]),
        SameCost.from_requirements(required),
    )
    names = {NONE: "", **{at: one.name for at, (one, _) in enumerate(contenders)}}
    counts = zip(*np.unique(chosen, return_counts=True), strict=True)
    shares = {names[int(at)]: int(count) / chosen.size for at, count in counts}
    share = None if winner is None else shares.pop(winner, 0.0)
    others = sorted(shares.items(), key=lambda item: -item[1])
    return Confidence(share, chosen.size, tuple(others))


def compute_interval_of_middle_95_percent(
    values: NDArray[np.float64],
) -> tuple[float, float] | None:
    """Return the limits of the middle 95 % of the resampled values.

    The result is None if a value is not finite.
    """
    # If more than 5 % of the requests are refused, the p95 is infinite, and has no interval.
    if not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _compute_usd_if_requirements_met(
    one: ResampledOption, required: Requirements
) -> NDArray[np.float64]:
    """Return the cost in each resample; the cost is infinite if a requirement is missed."""
    missed = np.zeros(one.usd.size, dtype=bool)
    if required.budget_usd is not None:
        missed |= one.usd > required.budget_usd
    if required.p95_s is not None:
        missed |= one.p95_s > required.p95_s
    return np.where(missed, np.inf, one.usd)


@dataclass(frozen=True, eq=False)
class _PricedOption:
    """An option's bill in two parts: one depends on the measured times, and the other is fixed.

    Attributes:
        fixed_usd: The part of the monthly bill that does not depend on the measured times.
        on_demand_usd: The price of a second in which an on-demand container works.
        at_work_usd: The price of a second in which a provisioned container works.
        warm: The monthly number of requests to warm on-demand containers, including keep-warm
            requests.
        cold: The monthly number of requests for which a container had to start.
        provisioned: The monthly number of requests to provisioned containers.
    """

    option: Option
    fixed_usd: float
    on_demand_usd: float
    at_work_usd: float
    warm: float
    cold: float
    provisioned: float

    @classmethod
    def from_option_with_bill_split(cls, option: Option) -> _PricedOption:
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
        # The fixed part is computed by subtraction, so that for the measured rows both parts add up
        # exactly to the bill.
        bill_usd = option.bill.usd if option.bill else float("nan")
        return replace(
            varying, fixed_usd=bill_usd - varying.compute_monthly_usd(option.measured.service_times)
        )

    def compute_monthly_usd(self, times: ServiceTimes) -> float:
        """Return the cost of a month if requests take the given times."""
        warm_s = times.warm.mean_busy_s
        cold_s = times.cold.mean_busy_s if times.cold else 0.0
        used = self.on_demand_usd * (self.warm * warm_s + self.cold * cold_s)
        return self.fixed_usd + used + self.at_work_usd * self.provisioned * warm_s

    def compute_p95_s(self, times: ServiceTimes) -> float:
        """Return the 95th percentile of the latency if requests take the given times."""
        simulated = self.option.simulated
        if times.cold is None:
            # The rows are in random order already. They are repeated until there is a row for each
            # wait.
            return float(
                np.quantile(
                    simulated.waits_s + np.resize(times.warm.total_s, WAITS),
                    # The waits are those of answered requests only. Refused requests count as
                    # infinitely slow, so a higher percentile of the answered requests is taken.
                    min(0.95 / (1 - simulated.throttled_share), 1.0),
                )
                if simulated.throttled_share < 0.05
                else np.inf
            )
        answered = 1 - simulated.throttled_share
        return compute_mixture_percentile(
            (times.warm.total_s, (1 - simulated.cold_share) * answered),
            (times.cold.total_s, simulated.cold_share * answered),
            0.95,
        )


def compute_mixture_percentile(
    one: tuple[NDArray[np.float64], float], other: tuple[NDArray[np.float64], float], share: float
) -> float:
    """Return a percentile of a mixture of two samples, each with a weight.

    If the weights add up to less than 1, the rest stands for refused requests, whose values count
    as infinitely large.
    """
    values = np.concatenate([one[0], other[0]])
    weights = np.concatenate(
        [np.full(sample.size, weight / sample.size) for sample, weight in (one, other)]
    )
    order = np.argsort(values)
    # The sum of weights may be 0.9499999999999998 instead of 0.95, and must count as 0.95.
    at = int(np.searchsorted(np.cumsum(weights[order]), share - 1e-12))
    return float(values[order][at]) if at < values.size else float("inf")

"""How sure the answer is: the share of bootstrap resamples in which the winner stays the winner.

Each resample draws every configuration's rows anew, and recomputes what every option costs and its
p95.  The simulation is not repeated: which requests find a container warm, and how long one waits
for an instance, hardly depend on which rows were drawn.  So a serverless p95 is that of the mixture
of resampled warm and cold rows with the simulated shares, and a real-time one that of the simulated
waiting plus resampled rows.  What the rows cannot know (another day, another machine, prices) is
not in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

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
    """Shares of resamples.

    Attributes:
        share: In which the winner stays the winner; None where there is none.
        resamples: How many.
        others: Shares of other options that win, by name, the largest first; an empty name where
            none meets the requirements.
    """

    share: float | None
    resamples: int
    others: tuple[tuple[str, float], ...]


def confidence(
    winner: str | None,
    options: Sequence[Option],
    required: Requirements,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Confidence:
    """Bootstrap the choice.

    Args:
        winner: Its name, or None.
        options: That fail on nothing that resampling cannot change (sensitivity, unknown prices).
        required: What they must meet.
        seed: Of the resamples.
        resamples: How many.
    """
    rng = np.random.default_rng(seed)
    contenders = [_Contender.of(option) for option in options]
    wins: dict[str, int] = {}
    for _ in range(resamples):
        name = _winner(contenders, required, rng)
        wins[name] = wins.get(name, 0) + 1
    shares = {name: count / resamples for name, count in wins.items()}
    share = None if winner is None else shares.pop(winner, 0.0)
    others = sorted(shares.items(), key=lambda item: -item[1])
    return Confidence(share, resamples, tuple(others))


def _winner(contenders: list[_Contender], required: Requirements, rng: np.random.Generator) -> str:
    drawn: dict[str, ServiceTimes] = {}
    best, least = "", np.inf
    for one in contenders:
        hosted = one.option.hosted
        if hosted.name not in drawn:
            drawn[hosted.name] = hosted.times.resampled(rng)
        usd = one.usd(drawn[hosted.name])
        if usd >= least or (required.budget_usd is not None and usd > required.budget_usd):
            continue
        if required.p95_s is not None and one.p95_s(drawn[hosted.name], rng) > required.p95_s:
            continue
        best, least = one.option.name, usd
    return best


@dataclass(frozen=True, eq=False)
class _Contender:
    """An option with what a resample needs of it.

    Attributes:
        fixed_usd: Of the bill, what does not depend on the rows.
        second_usd: Per billed second on demand, and per second at work provisioned.
        warm: Requests of a month that were answered warm on demand, keep-warm ones among them.
        cold: The same, cold.
        provisioned: The same, by provisioned containers.
    """

    option: Option
    fixed_usd: float
    second_usd: tuple[float, float]
    warm: float
    cold: float
    provisioned: float
    waits_s: NDArray[np.float64]

    @classmethod
    def of(cls, option: Option) -> _Contender:
        figures, months = option.figures, option.months
        served = figures.warm + figures.keep_warm_requests
        bare = cls(
            option=option,
            fixed_usd=0.0,
            second_usd=_by_second(option),
            warm=served / months if option.policy else 0.0,
            cold=figures.cold / months,
            provisioned=figures.provisioned / months,
            waits_s=figures.waits_s,
        )
        bill_usd = option.bill.usd if option.bill else 0.0
        return replace(bare, fixed_usd=bill_usd - bare.usd(option.hosted.times))

    def usd(self, service: ServiceTimes) -> float:
        """A month with these rows."""
        warm_s = service.warm.mean_busy_s
        cold_s = service.cold.mean_busy_s if service.cold else 0.0
        on_demand, at_work = self.second_usd
        used = on_demand * (self.warm * warm_s + self.cold * cold_s)
        return self.fixed_usd + used + at_work * self.provisioned * warm_s

    def p95_s(self, service: ServiceTimes, rng: np.random.Generator) -> float:
        """With these rows."""
        figures = self.option.figures
        if service.cold is None:
            drawn = service.warm.total_s[rng.integers(0, service.warm.n, WAITS)]
            return float(np.quantile(self.waits_s + drawn, 0.95))
        answered = 1 - figures.throttled_share
        return mixture_percentile(
            (service.warm.total_s, (1 - figures.cold_share) * answered),
            (service.cold.total_s, figures.cold_share * answered),
            0.95,
        )


def mixture_percentile(
    one: tuple[NDArray[np.float64], float], other: tuple[NDArray[np.float64], float], share: float
) -> float:
    """Percentile of a mixture of two samples with weights that sum to 1 at the most.

    What is missing to 1 counts as infinite.
    """
    values = np.concatenate([one[0], other[0]])
    weights = np.concatenate(
        [np.full(sample.size, weight / sample.size) for sample, weight in (one, other)]
    )
    order = np.argsort(values)
    at = int(np.searchsorted(np.cumsum(weights[order]), share - 1e-12))
    return float(values[order][at]) if at < values.size else float("inf")


def _by_second(option: Option) -> tuple[float, float]:
    """Prices of a second on demand and of one at work provisioned, as far as they are billed."""
    on_demand = at_work = 0.0
    for line in option.bill.lines if option.bill else ():
        if line.price.item.startswith("serverless ") and line.price.unit == "second":
            on_demand = line.price.usd
        if line.price.item.endswith("at work"):
            at_work = line.price.usd
    return on_demand, at_work

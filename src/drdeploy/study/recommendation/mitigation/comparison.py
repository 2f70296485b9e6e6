"""What each policy avoids and costs, and the best for this traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.mitigation.policies import Policy
    from drdeploy.study.recommendation.simulation.outcome import Figures


@dataclass(frozen=True, eq=False)
class SimulatedPolicy:
    """A policy on simulated traffic.

    Attributes:
        months: Of requests that were simulated.
        usd: Of a month; None where a price is not known, which ``no_cost`` then names.
    """

    policy: Policy
    figures: Figures
    months: float
    usd: float | None
    no_cost: str = ""


@dataclass(frozen=True)
class MitigationResult:
    """One line of the comparison.

    Attributes:
        policy: Its name.
        told: What it does.
        cold_share: Of the answered requests.
        cold_starts: Of clients' requests, a month.
        p95_s: Of all requests, cold starts among them.
        usd: A month.
        usd_per_avoided: More than doing nothing, over the cold starts that it spares; None where
            it spares none, or no cost is known.
        keep_warm_requests: A month.
        note: Why there is no figure.
    """

    policy: str
    told: str
    cold_share: float
    cold_starts: float
    p95_s: float
    usd: float | None
    usd_per_avoided: float | None
    keep_warm_requests: float
    note: str


@dataclass(frozen=True)
class MitigationComparison:
    """All policies on one configuration and traffic.

    Attributes:
        lines: In the order in which they were played.
        best: The cheapest that keeps the required p95; where none does, or none is required, the
            one with the lowest cost per avoided cold start.
        why: In a sentence.
    """

    lines: tuple[MitigationResult, ...]
    best: str
    why: str


def compare(played: Sequence[SimulatedPolicy], *, p95_s: float | None) -> MitigationComparison:
    """Compare policies that were played on the same traffic with the same seed.

    Args:
        played: The first does nothing.
        p95_s: The requirement, if there is one.
    """
    nothing = played[0]
    lines = tuple(_line(one, nothing) for one in played)
    best, why = _best(lines, p95_s)
    return MitigationComparison(lines, best, why)


def _line(one: SimulatedPolicy, nothing: SimulatedPolicy) -> MitigationResult:
    cold = one.figures.cold / one.months
    avoided = nothing.figures.cold / nothing.months - cold
    per_avoided, note = None, one.no_cost
    if one is not nothing and one.usd is not None and nothing.usd is not None:
        if avoided > 0:
            per_avoided = (one.usd - nothing.usd) / avoided
        else:
            note = "it avoids no cold start"
    return MitigationResult(
        policy=one.policy.name,
        told=one.policy.told,
        cold_share=one.figures.cold_share,
        cold_starts=cold,
        p95_s=one.figures.p95_s,
        usd=one.usd,
        usd_per_avoided=per_avoided,
        keep_warm_requests=one.figures.keep_warm_requests / one.months,
        note=note,
    )


def _best(lines: Sequence[MitigationResult], p95_s: float | None) -> tuple[str, str]:
    priced = [line for line in lines if line.usd is not None]
    quick = [line for line in priced if p95_s is None or line.p95_s <= p95_s]
    if p95_s is not None and quick:
        best = min(quick, key=lambda line: line.usd or 0.0)
        return best.policy, f"the cheapest whose p95 is within {p95_s:g} s"
    paying = [line for line in priced if line.usd_per_avoided is not None]
    if not paying:
        return lines[0].policy, "no other avoids a cold start at a known price"
    best = min(paying, key=lambda line: line.usd_per_avoided or 0.0)
    unmet = "" if p95_s is None else f"none keeps a p95 of {p95_s:g} s; "
    return best.policy, f"{unmet}it has the lowest cost per avoided cold start"

"""How many cold starts each policy avoids and at what cost, and which is the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.mitigation.policies import Policy
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary


@dataclass(frozen=True, eq=False)
class SimulatedPolicy:
    """The simulated outcome and cost of a policy.

    Attributes:
        months: How many months of requests were simulated.
        usd: A month's cost; None where a price is not known, which ``no_cost`` then names.
    """

    policy: Policy
    simulated: SimulationSummary
    months: float
    usd: float | None
    no_cost: str = ""


@dataclass(frozen=True)
class MitigationResult:
    """One policy's line in the comparison.

    Attributes:
        policy: The policy's name.
        description: What it does.
        cold_share: Share of the answered requests that met a cold start.
        cold_starts: Cold starts of clients' requests in a month.
        p95_s: The 95th percentile of the latency, cold starts included.
        usd: A month's cost.
        usd_per_avoided: Cost beyond that of doing nothing, per cold start that is avoided; None
            where none is avoided, or a cost is not known.
        keep_warm_requests: Requests sent in a month to keep containers warm.
        note: Why there is no ``usd_per_avoided``.
    """

    policy: str
    description: str
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
        lines: One for each policy; the first does nothing.
        best: The cheapest policy within the required p95; where none is, or no p95 is required,
            the one with the lowest cost per avoided cold start.
        why: Why it is the best, as a clause.
    """

    lines: tuple[MitigationResult, ...]
    best: str
    why: str


def compare(policies: Sequence[SimulatedPolicy], *, p95_s: float | None) -> MitigationComparison:
    """Compare policies that were simulated on the same traffic with the same seed.

    Args:
        policies: The policies; the first does nothing.
        p95_s: The required p95, if there is one.
    """
    nothing = policies[0]
    lines = tuple(_result(one, nothing) for one in policies)
    best, why = _best(lines, p95_s)
    return MitigationComparison(lines, best, why)


def _result(one: SimulatedPolicy, nothing: SimulatedPolicy) -> MitigationResult:
    cold = one.simulated.cold / one.months
    avoided = nothing.simulated.cold / nothing.months - cold
    per_avoided, note = None, one.no_cost
    if one is not nothing and one.usd is not None and nothing.usd is not None:
        if avoided > 0:
            per_avoided = (one.usd - nothing.usd) / avoided
        else:
            note = "it avoids no cold start"
    return MitigationResult(
        policy=one.policy.name,
        description=one.policy.description,
        cold_share=one.simulated.cold_share,
        cold_starts=cold,
        p95_s=one.simulated.p95_s,
        usd=one.usd,
        usd_per_avoided=per_avoided,
        keep_warm_requests=one.simulated.keep_warm_requests / one.months,
        note=note,
    )


def _best(lines: Sequence[MitigationResult], p95_s: float | None) -> tuple[str, str]:
    priced = [line for line in lines if line.usd is not None]
    fast = [line for line in priced if p95_s is not None and line.p95_s <= p95_s]
    if fast:
        best = min(fast, key=lambda line: line.usd or 0.0)
        return best.policy, f"the cheapest whose p95 is within {p95_s:g} s"
    effective = [line for line in priced if line.usd_per_avoided is not None]
    if not effective:
        return lines[0].policy, "no other avoids a cold start at a known price"
    best = min(effective, key=lambda line: line.usd_per_avoided or 0.0)
    unmet = "" if p95_s is None else f"none keeps a p95 of {p95_s:g} s; "
    return best.policy, f"{unmet}it has the lowest cost per avoided cold start"

"""Compare how many cold starts each policy avoids and at what cost, and choose the best policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.mitigation.policies import MitigationPolicy
    from drdeploy.study.recommendation.simulation.outcome import SimulationSummary


@dataclass(frozen=True, eq=False)
class SimulatedPolicy:
    """The simulated outcome and cost of a policy.

    Attributes:
        months: The number of months that the simulation covers.
        usd: The cost of a month in USD; None if a price is not known.
        no_cost: A sentence that names the unknown price; empty if the cost is known.
    """

    policy: MitigationPolicy
    simulated: SimulationSummary
    months: float
    usd: float | None
    no_cost: str = ""


@dataclass(frozen=True)
class MitigationResult:
    """What one policy achieves and costs, as one line of the comparison.

    Attributes:
        cold_share: The share of the answered requests that had to wait for a cold start.
        cold_starts: The number of client requests in a month that had to wait for a cold start.
        p95_s: The 95th percentile of the latency, including cold starts.
        usd: The cost of a month in USD.
        usd_per_avoided: The price of avoiding one cold start in USD. This is the additional cost of
            the policy, compared with the policy ``nothing``, divided by the number of avoided cold
            starts. None if a cost is not known, or if the policy avoids no cold start.
        keep_warm_requests: The number of keep-warm requests in a month.
        is_deployable: Whether this project can set the policy up on AWS.
        note: A text that names the unknown price, or says that the policy avoids no cold start.
            Empty if the price is known and the policy avoids cold starts.
    """

    policy: str
    description: str
    cold_share: float
    cold_starts: float
    p95_s: float
    usd: float | None
    usd_per_avoided: float | None
    keep_warm_requests: float
    is_deployable: bool
    note: str


@dataclass(frozen=True)
class MitigationComparison:
    """The comparison of all policies on one configuration and traffic.

    Attributes:
        lines: The result of each policy; the first policy is ``nothing``.
        best: The name of the best policy that can be deployed. If a p95 is required and some
            policies meet it, the cheapest of these is the best. Otherwise, the policy with the
            lowest cost per avoided cold start is the best. If no policy avoids a cold start at a
            known price, ``nothing`` is the best.
        why: A text that says why ``best`` is the best policy.
    """

    lines: tuple[MitigationResult, ...]
    best: str
    why: str


def compare_cold_start_policies(
    policies: Sequence[SimulatedPolicy], *, p95_s: float | None
) -> MitigationComparison:
    """Compare policies on the same simulated traffic; the first policy must be ``nothing``."""
    nothing = policies[0]
    lines = tuple(_compute_result_of_policy(one, nothing) for one in policies)
    best, why = _choose_best_policy(lines, p95_s)
    return MitigationComparison(lines, best, why)


def _compute_result_of_policy(one: SimulatedPolicy, nothing: SimulatedPolicy) -> MitigationResult:
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
        is_deployable=one.policy.is_deployable,
        note=note,
    )


def _choose_best_policy(lines: Sequence[MitigationResult], p95_s: float | None) -> tuple[str, str]:
    priced = [line for line in lines if line.usd is not None and line.is_deployable]
    fast = [line for line in priced if p95_s is not None and line.p95_s <= p95_s]
    if fast:
        best = min(fast, key=lambda line: line.usd or 0.0)
        return best.policy, f"it is the cheapest that keeps the p95 within {p95_s:g} s"
    effective = [line for line in priced if line.usd_per_avoided is not None]
    if not effective:
        return lines[0].policy, "no other policy with a known price avoids a cold start"
    best = min(effective, key=lambda line: line.usd_per_avoided or 0.0)
    why = "it has the lowest cost per avoided cold start"
    if p95_s is not None:
        why = f"{why}, and no policy keeps the p95 within {p95_s:g} s"
    return best.policy, why

"""The decision in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drdeploy.statistics.notation import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.study.recommendation.break_even import BreakEven
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.requirements import Requirements

SURE = 0.95


def answered(decision: Decision) -> Decision:
    """The decision with its answer written."""
    return replace(decision, answer=tuple(_sentences(decision)))


def usd(amount: float | None) -> str:
    """``1,234 USD``, cents below a hundred, three digits below a cent."""
    if amount is None:
        return "unknown"
    if amount >= 100:
        return f"{amount:,.0f} USD"
    return f"{amount:.2f} USD" if amount >= 0.1 else f"{number(amount)} USD"


def seconds(amount: float | None) -> str:
    """``1.23 s`` or ``45.6 ms``; ``never`` where there is no end."""
    if amount is None or amount == float("inf"):
        return "never"
    return f"{number(amount)} s" if amount >= 1 else f"{number(amount * 1000)} ms"


def required_told(required: Requirements) -> str:
    """What was asked, in one line."""
    parts = []
    if required.p95_s is not None:
        parts.append(f"p95 within {required.p95_s:g} s, cold starts included")
    if required.min_sensitivity is not None:
        parts.append(
            f"sensitivity at grade >= {required.at_grade} of {required.min_sensitivity:.0%} at the "
            "lower 95 % limit"
        )
    if required.budget_usd is not None:
        parts.append(f"at most {required.budget_usd:,.2f} USD a month")
    return "; ".join(parts) or "nothing but the lowest cost"


def break_even_told(one: BreakEven) -> str:
    """One break-even as a sentence."""
    if one.requests_per_month is None:
        return f"{one.below} is cheaper than {one.above} at every volume up to 100 million a month."
    volume = float(f"{one.requests_per_month:.2g}")
    return f"Above some {volume:,.0f} photographs a month {one.above} is cheaper than {one.below}."


def _sentences(decision: Decision) -> Iterator[str]:
    winner = decision.winner
    if winner is None:
        yield from _without_winner(decision)
        return
    yield (
        f"Host {winner.name}: {usd(winner.usd_per_month)} a month, "
        f"{usd(winner.usd_per_patient)} per patient; 95 of 100 photographs are answered within "
        f"{seconds(winner.p95_s)}{_cold(winner)}."
    )
    yield _runner_up(winner, decision.runners_up)
    yield _sureness(decision)
    yield from (break_even_told(one) for one in decision.break_even)


def _without_winner(decision: Decision) -> Iterator[str]:
    yield f"No option meets all requirements ({required_told(decision.required)})."
    nearest = decision.excluded[0]
    yield (
        f"The nearest is {nearest.name} at {usd(nearest.usd_per_month)} a month; it fails on "
        f"{'; '.join(nearest.failures)}."
    )
    yield from (break_even_told(one) for one in decision.break_even)


def _cold(judged: EvaluatedOption) -> str:
    if not judged.policy:
        return ""
    return f"; {judged.cold_share:.2%} meet a cold start"


def _runner_up(winner: EvaluatedOption, others: tuple[EvaluatedOption, ...]) -> str:
    if not others:
        return "No other option meets all requirements."
    second = others[0]
    more = (second.usd_per_month or 0.0) - (winner.usd_per_month or 0.0)
    return (
        f"Next is {second.name} at {usd(second.usd_per_month)} a month ({usd(more)} more), p95 "
        f"{seconds(second.p95_s)}."
    )


def _sureness(decision: Decision) -> str:
    sure = decision.confidence
    share = sure.share or 0.0
    told = (
        f"It stays the cheapest in {share:.0%} of {sure.resamples} bootstrap resamples of the rows"
    )
    if share >= SURE or not sure.others:
        return f"{told}."
    name, often = sure.others[0]
    return f"{told}; {name or 'no option at all'} wins {often:.0%}."

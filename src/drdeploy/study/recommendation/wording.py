"""The decision in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drdeploy.statistics.notation import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.recommendation.break_even import BreakEven
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.requirements import Requirements

CONFIDENT = 0.95
"""From this share of resamples on, the options that win the others are not named."""


def answered(decision: Decision) -> Decision:
    """The decision with its answer in sentences."""
    return replace(decision, answer=tuple(_sentences(decision)))


def usd(amount: float | None) -> str:
    """``1,234 USD``, with cents below a hundred and three digits below ten cents."""
    if amount is None:
        return "unknown"
    if amount >= 100:
        return f"{amount:,.0f} USD"
    return f"{amount:.2f} USD" if amount >= 0.1 else f"{number(amount)} USD"


def seconds(amount: float | None) -> str:
    """``1.23 s`` or ``45.6 ms``; ``never`` where requests are refused and there is no end."""
    if amount is None or amount == float("inf"):
        return "never"
    return f"{number(amount)} s" if amount >= 1 else f"{number(amount * 1000)} ms"


def short_names(options: Sequence[EvaluatedOption]) -> dict[str, str]:
    """Names without the precision and the profile, where all options share them, by full name."""
    telling = [
        name
        for name in ("precision", "profile")
        if len({getattr(option, name) for option in options}) > 1
    ]
    names = {}
    for option in options:
        count = f" x {option.instances}" if option.instances else ""
        grader = " ".join([option.model, *(getattr(option, name) for name in telling)])
        policy = [option.policy] if option.policy not in {"", "nothing"} else []
        names[option.name] = ", ".join([grader, option.size + count, *policy])
    return names


def best_policy_sentence(decision: Decision) -> str:
    """Which policy against cold starts is the best, and why; empty without a serverless option."""
    if decision.mitigation is None:
        return ""
    best = decision.mitigation.best
    return (
        f"The best policy against cold starts of {decision.mitigated} is "
        f"{'to do nothing' if best == 'nothing' else best}: {decision.mitigation.why}."
    )


def requirements_sentence(required: Requirements) -> str:
    """What is required, in one line."""
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


def break_even_sentence(one: BreakEven) -> str:
    """A break-even as a sentence."""
    if one.requests_per_month is None:
        return f"{one.below} is cheaper than {one.above} at every volume up to 100 million a month."
    volume = float(f"{one.requests_per_month:.2g}")
    return f"Above some {volume:,.0f} photographs a month {one.above} is cheaper than {one.below}."


def _sentences(decision: Decision) -> Iterator[str]:
    winner = decision.winner
    if winner is None:
        nearest = decision.excluded[0]
        required = requirements_sentence(decision.required)
        yield f"No option meets all requirements ({required})."
        yield (
            f"The nearest is {nearest.name} at {usd(nearest.usd_per_month)} a month; it fails on "
            f"{'; '.join(nearest.failures)}."
        )
    else:
        cold = f"; {winner.cold_share:.2%} meet a cold start" if winner.policy else ""
        yield (
            f"Host {winner.name}: {usd(winner.usd_per_month)} a month, "
            f"{usd(winner.usd_per_patient)} per patient; 95 of 100 photographs are answered within "
            f"{seconds(winner.p95_s)}{cold}."
        )
        yield _runner_up(winner, decision.runners_up)
        yield _confidence(decision)
    yield from (break_even_sentence(one) for one in decision.break_even)


def _runner_up(winner: EvaluatedOption, others: tuple[EvaluatedOption, ...]) -> str:
    if not others:
        return "No other option meets all requirements."
    second = others[0]
    more = (second.usd_per_month or 0.0) - (winner.usd_per_month or 0.0)
    return (
        f"Next is {second.name} at {usd(second.usd_per_month)} a month ({usd(more)} more), p95 "
        f"{seconds(second.p95_s)}."
    )


def _confidence(decision: Decision) -> str:
    confidence = decision.confidence
    share = confidence.share or 0.0
    sentence = (
        f"It stays the cheapest in {share:.0%} of {confidence.resamples} bootstrap resamples of "
        "the rows"
    )
    if share >= CONFIDENT or not confidence.others:
        return f"{sentence}."
    name, often = confidence.others[0]
    return f"{sentence}; {name or 'no option at all'} wins {often:.0%}."

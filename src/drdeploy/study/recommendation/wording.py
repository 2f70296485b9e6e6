"""Write the decision as sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from drdeploy.statistics.notation import format_number
from drdeploy.study.recommendation.choice import SAME_SPEED_SHARE
from drdeploy.units import MILLISECONDS_PER_S, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.recommendation.break_even import BreakEven
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.requirements import Requirements

CONFIDENT = 0.95
"""If the winner is chosen in at least this share of the bootstrap resamples, the sentence about the
resamples names no other option.
"""
PLAIN_KINDS = {"serverless", "real-time"}
"""The kinds of hosting that need not be named, because the size in an option's name shows them."""
MOST_TIED = 4
"""A sentence names at most this many options of about the same cost; the table on the page marks
all of them."""


def format_usd(amount: float | None) -> str:
    """Format an amount of money like ``1,234 USD``, or ``12.30 USD`` if it is below 100 USD."""
    if amount is None:
        return "unknown"
    if amount >= 100:
        return f"{amount:,.0f} USD"
    return f"{amount:.2f} USD" if amount >= 0.1 else f"{format_number(amount)} USD"


def format_seconds(amount: float | None) -> str:
    """Format a time like ``1.23 s`` or ``45.6 ms``; None and infinity become ``never``."""
    if amount is None or amount == float("inf"):
        return "never"
    return (
        f"{format_number(amount)} s"
        if amount >= 1
        else f"{format_number(amount * MILLISECONDS_PER_S)} ms"
    )


def shorten_option_names(options: Sequence[EvaluatedOption]) -> dict[str, str]:
    """Return a short name for each option, in a dictionary by the option's full name.

    If all options have the same precision, the short names do not contain it. The same is true of
    the profile. If several options would have the same short name, they keep their full names.
    """
    telling = [
        name
        for name in ("precision", "profile")
        if len({getattr(option, name) for option in options}) > 1
    ]
    names = {}
    for option in options:
        count = f" x {option.instances}" if option.instances else ""
        grader = " ".join([option.model, *(getattr(option, name) for name in telling)])
        *_, way = option.kind.split(", ")
        names[option.name] = ", ".join(
            [grader, option.size + count, *([way] if way not in PLAIN_KINDS else [])]
        )
    # Options that differ only in the container image have the same short name.
    counts = Counter(names.values())
    return {name: short if counts[short] == 1 else name for name, short in names.items()}


def write_best_policy_sentence(decision: Decision) -> str:
    """Return a sentence about the best policy against cold starts; empty if none were compared."""
    if decision.mitigation is None:
        return ""
    best = decision.mitigation.best
    return (
        f"The best policy against cold starts for {decision.mitigated} is "
        f"{'to do nothing' if best == 'nothing' else best}, because {decision.mitigation.why}."
    )


def write_requirements_in_one_line(required: Requirements) -> str:
    """Return all requirements as one line of text."""
    parts = []
    if required.p95_s is not None:
        parts.append(f"a p95 of at most {required.p95_s:g} s, cold starts included")
    if required.min_sensitivity is not None:
        parts.append(
            f"a sensitivity at grade >= {required.at_grade} whose 95 % interval begins at "
            f"{required.min_sensitivity:.0%} or higher"
        )
    if required.specificity_floor is not None:
        parts.append(
            "a specificity at the same operating point whose 95 % interval begins at "
            f"{required.specificity_floor:.0%} or higher"
        )
    parts += write_constraints(required)
    if required.budget_usd is not None:
        parts.append(f"a cost of at most {required.budget_usd:,.2f} USD a month")
    return "; ".join(parts) or "no requirement besides a low cost"


def write_constraints(required: Requirements) -> list[str]:
    """Return the hard constraints among the requirements as texts, for example ``a VPC``."""
    largest, may_wait_s = required.largest_photograph_mb, required.may_wait_s
    named = (
        ("a VPC", required.needs_vpc),
        ("network isolation", required.needs_network_isolation),
        ("a GPU", required.needs_gpu),
        ("volumes encrypted with a key of your own", required.needs_own_key),
        (f"photographs of up to {largest or 0:g} MB", largest is not None),
        (
            f"results within {(may_wait_s or 0) / SECONDS_PER_HOUR:g} hours",
            may_wait_s is not None,
        ),
        (f"data that stays in {' or '.join(required.data_stays_in)}", required.data_stays_in),
    )
    return [text for text, is_required in named if is_required]


def write_break_even_sentence(one: BreakEven) -> str:
    """Return a break-even volume as a sentence."""
    if one.requests_per_month is None:
        return f"{one.below} is cheaper than {one.above} at every volume up to 100 million a month."
    volume = float(f"{one.requests_per_month:.2g}")
    return (
        f"Above about {volume:,.0f} photographs a month, {one.above} is cheaper than {one.below}."
    )


def write_answer_sentences(decision: Decision) -> Iterator[str]:
    """Yield sentences about the decision, the most important first."""
    winner, confidence = decision.winner, decision.confidence
    if winner is None:
        required = write_requirements_in_one_line(decision.required)
        yield f"No option meets all requirements ({required})."
        # Every measured configuration can be deployed in some way, so at least one option is in
        # this list.
        nearest = decision.excluded[0]
        yield (
            f"The option that comes closest is {nearest.name} for "
            f"{format_usd(nearest.usd_per_month)} a month. This option misses the following: "
            f"{'; '.join(nearest.failures)}."
        )
    else:
        cold = (
            f" A cold start delays {winner.cold_share:.2%} of the answers." if winner.policy else ""
        )
        yield (
            f"Host {winner.name}: {format_usd(winner.usd_per_month)} a month, "
            f"{format_usd(winner.usd_per_patient)} per patient. Of all photographs, 95% are "
            f"answered within {format_seconds(winner.p95_s)}.{cold}"
        )
        yield from _write_sentence_about_both_latencies(winner)
        yield from _write_sentences_about_other_options(decision, winner)
        share = confidence.share or 0.0
        others = confidence.others[:1] if share < CONFIDENT else ()
        other = "".join(
            f"; in {often:.0%} it is {name or 'no option at all'}" for name, often in others
        )
        yield (
            f"In {share:.0%} of {confidence.resamples} bootstrap resamples of the rows, the choice "
            f"is the same{other}."
        )
        if required_point := _describe_operating_point(decision.required, winner):
            yield required_point
    yield from _write_sentence_about_research(decision)
    yield from map(write_break_even_sentence, decision.break_even)


def _describe_operating_point(required: Requirements, winner: EvaluatedOption) -> str:
    """Return a text about the winner's sensitivity and specificity; empty if none are required."""
    point = winner.sensitivity
    if required.specificity_floor is None or point is None:
        return ""
    promised = (
        ""
        if point.target_sensitivity is None
        else f" The operating point promises a sensitivity of {point.target_sensitivity:.1%}."
    )
    tested = "" if point.tested is None else f" {point.tested.description}"
    return (
        f"At the operating point '{point.name.replace('_', ' ')}' for grade >= "
        f"{point.at_or_above}, the sensitivity is {point.sensitivity.value:.1%} (its 95 % "
        f"interval begins at {point.sensitivity.low:.1%}). The specificity is "
        f"{point.specificity.value:.1%} (its 95 % interval begins at "
        f"{point.specificity.low:.1%}).{promised}{tested}"
    )


def _write_sentence_about_research(decision: Decision) -> Iterator[str]:
    """Yield a sentence about a cheaper option that this project cannot deploy, if there is one.

    The option must meet all requirements, and cost clearly less than the winner.
    """
    winner = decision.winner
    cheaper = [
        one
        for one in decision.research
        if not one.failures and one.usd_per_month is not None and not one.policy
    ]
    if not cheaper:
        return
    best = min(cheaper, key=lambda one: one.usd_per_month or 0.0)
    if winner is not None and (best.usd_per_month or 0.0) + decision.required.same_cost_usd >= (
        winner.usd_per_month or 0.0
    ):
        return
    yield (
        f"{best.name} would meet all requirements for {format_usd(best.usd_per_month)} a month "
        f"({best.description}), but this project has no Terraform for it."
    )


def _write_sentences_about_other_options(
    decision: Decision, winner: EvaluatedOption
) -> Iterator[str]:
    if not decision.runners_up:
        yield "No other option that can be deployed meets all requirements."
        return
    tied = [one for one in decision.runners_up if one.name in decision.equivalent]
    if tied:
        yield _write_tie_sentence(decision.required, winner, tied)
    for other in decision.runners_up:
        if other in tied:
            continue
        more = (other.usd_per_month or 0.0) - (winner.usd_per_month or 0.0)
        yield (
            f"The next cheapest option{' outside the tie' if tied else ''} is {other.name}. It "
            f"costs {format_usd(other.usd_per_month)} a month, {format_usd(more)} more than the "
            f"choice, and its p95 is {format_seconds(other.p95_s)}."
        )
        break


def _write_sentence_about_both_latencies(winner: EvaluatedOption) -> Iterator[str]:
    """Yield a sentence with the p95 on this machine and the p95 that is expected on AWS.

    There is no sentence if the p95 on AWS was measured.
    """
    here_s, limits = winner.p95_as_measured_s, winner.p95_s_limits
    if here_s is None:
        return
    interval = (
        f" (95 % interval {format_seconds(limits[0])} to {format_seconds(limits[1])})"
        if limits
        else ""
    )
    yield (
        f"The p95 as expected on AWS is {format_seconds(winner.p95_s)}{interval}. Computed from "
        f"the times measured here, the p95 is {format_seconds(here_s)}."
    )


def _write_tie_sentence(
    required: Requirements, winner: EvaluatedOption, tied: Sequence[EvaluatedOption]
) -> str:
    """Return a text that names the options with the same cost, and says why the winner won."""
    names = [
        f"{one.name} ({format_usd(one.usd_per_month)}, p95 {format_seconds(one.p95_s)})"
        for one in tied[:MOST_TIED]
    ]
    if len(tied) > MOST_TIED:
        names.append(f"{len(tied) - MOST_TIED} more")
    several = len(tied) > 1
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return (
        f"{'These options tie' if several else 'This option ties'} with {winner.name}: {listed}. "
        "Options tie if their costs are about equal: a difference in cost of up to "
        f"{required.same_cost_share:.0%}, or of up to {required.same_cost_usd:g} USD a month, "
        f"does not count. "
        f"{_write_why_winner_is_chosen(winner, tied)}"
    )


def _write_why_winner_is_chosen(winner: EvaluatedOption, tied: Sequence[EvaluatedOption]) -> str:
    parts = len(winner.operated_parts)
    as_simple = [one for one in tied if len(one.operated_parts) == parts]
    needs = (
        f"besides the endpoint, the choice needs {' and '.join(winner.operated_parts)}"
        if parts
        else "the choice needs nothing besides the endpoint"
    )
    if not as_simple:
        return f"The choice is the simplest of these options to run: {needs}."
    times = [one.p95_s or 0.0 for one in as_simple]
    if all(time > (winner.p95_s or 0.0) * (1 + SAME_SPEED_SHARE) for time in times):
        return (
            f"No tied option is simpler to run than the choice: {needs}. "
            "Of the options that are equally simple, the choice is the fastest."
        )
    return (
        f"No tied option is simpler to run than the choice: {needs}. Equally simple options count "
        f"as equally fast if their p95 is at most {SAME_SPEED_SHARE:.0%} above the lowest p95. The "
        "choice is the cheapest of the options that are equally fast."
    )

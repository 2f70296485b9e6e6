"""Draw the decision as a picture: the monthly cost of every option against its p95 latency."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from drdeploy.pages.page import Opening
from drdeploy.pages.scatter import (
    CROSS,
    Axis,
    Key,
    Mark,
    PlottedValue,
    assign_colour_to_each_name,
    draw_scatter_pictures,
    format_money_at_tick,
    format_time_at_tick,
)
from drdeploy.pages.style import INK
from drdeploy.statistics.percentiles import rows_needed_for_percentile
from drdeploy.study.recommendation.confidence import RESAMPLES
from drdeploy.study.recommendation.wording import (
    format_seconds,
    format_usd,
    shorten_option_names,
    write_requirements_in_one_line,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.pages.picture import Picture
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.requirements import Requirements

Kind = Literal["serverless", "kept warm", "provisioned", "real-time", "not deployable"]
KINDS: dict[Kind, Key] = {
    "serverless": Key("serverless", "o", INK),
    "kept warm": Key("serverless, kept warm", "^", INK),
    "provisioned": Key("serverless, provisioned", "D", INK),
    "real-time": Key("instances", "s", INK),
    "not deployable": Key("cannot be deployed", CROSS, INK),
}
FAILS = Key("hollow: misses a requirement", "o", INK, is_hollow=True)
CLOSE = 0.15
"""If both the costs and the p95 of two marks differ by less than this share, one of the marks gets
no label."""
TITLE = "Every option: its cost a month against its p95 latency"


def make_decision_opening(decision: Decision) -> Opening | None:
    """Return the picture at the top of the decision's page, or None if no option can be drawn."""
    # Only options with a known cost and a finite p95 have a place on the axes.
    options = [one for one in decision.options if one.usd_per_month and one.p95_s]
    if not options:
        return None
    winner = decision.winner
    return Opening(
        heading=f"Host {winner.name}" if winner else "No option meets every requirement",
        context=f"For {decision.traffic}. "
        f"Required: {write_requirements_in_one_line(decision.required)}.",
        caption=_write_caption_of_picture(options, decision),
        pictures=_draw_picture_in_each_layout(options, decision),
    )


def _write_caption_of_picture(options: Sequence[EvaluatedOption], decision: Decision) -> str:
    warm = min(option.warm_rows for option in options)
    cold = min((option.cold_rows for option in options if option.policy), default=0)
    caption = (
        "Each mark is one way of hosting. A filled mark meets every requirement. A hollow mark "
        "misses at least one requirement. A cross marks an option that cannot be deployed: a "
        "policy that exists only in the simulation, or an inference component. The bars are 95 % "
        f"intervals from {RESAMPLES} bootstrap resamples of the measured rows. Each mark rests on "
        f"at least {warm} warm rows{f' and {cold} cold rows' if cold else ''}."
    )
    # If more than one request in twenty is cold, the p95 is the latency of a cold request.
    behind_p95 = (one.cold_rows if one.cold_share > 0.05 else one.warm_rows for one in options)
    if min(behind_p95) < rows_needed_for_percentile(0.95):
        caption += (
            f" With fewer than {rows_needed_for_percentile(0.95)} rows, the bar of a p95 is too "
            "short, because no resample contains a request slower than the slowest measured one."
        )
    missing = len(decision.options) - len(options)
    if missing:
        count = f"{missing} option{'s' * (missing > 1)}"
        verb = "have" if missing > 1 else "has"
        caption += f" {count} with an unknown cost or an infinite p95 {verb} no mark."
    return caption


def _draw_picture_in_each_layout(
    options: Sequence[EvaluatedOption], decision: Decision
) -> dict[str, Picture]:
    colours = assign_colour_to_each_name(option.model for option in options)
    kinds = [
        kind for kind in KINDS if any(_hosting_kind_of_option(option) == kind for option in options)
    ]
    labels = _choose_labels_of_marks(options, decision)
    return draw_scatter_pictures(
        [
            Mark(
                name=_name_option_with_cost_and_p95(option),
                x=PlottedValue(option.p95_s or 0.0, option.p95_s_limits),
                y=PlottedValue(option.usd_per_month or 0.0, option.usd_per_month_limits),
                shape=KINDS[_hosting_kind_of_option(option)].shape,
                colour=colours[option.model],
                label=labels.get(option.name, ()),
                is_hollow=bool(option.failures) and option.is_deployable,
                is_chosen=option is decision.winner,
            )
            for option in options
        ],
        _make_axes_of_cost_and_latency(decision.required),
        [
            *(KINDS[kind] for kind in kinds),
            *(Key(model, "h", colour) for model, colour in colours.items()),
            *([FAILS] if any(one.failures and one.is_deployable for one in options) else []),
        ],
        name="options",
        title=TITLE,
        description=_describe_picture_in_words(options, decision),
    )


def _describe_picture_in_words(options: Sequence[EvaluatedOption], decision: Decision) -> str:
    """Return a description of the picture as text, for readers who cannot see the picture."""
    meeting = sum(not _is_excluded_option(option) for option in options)
    required = write_requirements_in_one_line(decision.required)
    sentences = [
        f"{len(options)} options by cost a month in USD and p95 latency, both axes logarithmic",
        f"{meeting} can be deployed and meet what is required ({required})",
    ]
    winner = decision.winner
    if winner:
        sentences.append(f"Chosen is {winner.name}: {_format_cost_and_p95(winner)}")
    for kind, count in Counter(map(_hosting_kind_of_option, options)).items():
        costs, times = (
            sorted(
                getattr(option, name)
                for option in options
                if _hosting_kind_of_option(option) == kind
            )
            for name in ("usd_per_month", "p95_s")
        )
        sentences.append(
            f"{count} {KINDS[kind].label}: {format_usd(costs[0])} to {format_usd(costs[-1])} a "
            f"month, p95 {format_seconds(times[0])} to {format_seconds(times[-1])}"
        )
    return ". ".join(sentences)


def _make_axes_of_cost_and_latency(required: Requirements) -> tuple[Axis, Axis]:
    p95_s, budget_usd = required.p95_s, required.budget_usd
    return (
        Axis(
            "p95 latency, cold starts and waiting included",
            format_time_at_tick,
            p95_s,
            "" if p95_s is None else f"required: p95 within {p95_s:g} s",
        ),
        Axis(
            "USD a month",
            format_money_at_tick,
            budget_usd,
            "" if budget_usd is None else f"budget: {format_money_at_tick(budget_usd)} USD a month",
        ),
    )


def _choose_labels_of_marks(
    options: Sequence[EvaluatedOption], decision: Decision
) -> dict[str, tuple[str, ...]]:
    """Return the labels of the marks that get one: the winner, and one mark of each other kind.

    Of each kind of hosting, the option that misses the fewest requirements gets a label. If this is
    true of several options, the cheapest of them gets it.
    """
    winner = decision.winner
    labels: dict[str, tuple[str, ...]] = {}
    names = shorten_option_names(options)
    for kind in {_hosting_kind_of_option(option) for option in options} - (
        {_hosting_kind_of_option(winner)} if winner else set()
    ):
        of_kind = [option for option in options if _hosting_kind_of_option(option) == kind]
        # There is one label per kind, because labels at forty marks could not be read.
        best = min(
            of_kind,
            key=lambda one: (len(one.failures), not one.is_deployable, one.usd_per_month or 0.0),
        )
        if winner is None or not _would_labels_overlap(best, winner):
            labels[best.name] = (names[best.name],)
    if winner:
        labels[winner.name] = (f"chosen: {names[winner.name]}", _format_cost_and_p95(winner))
    return labels


def _is_excluded_option(option: EvaluatedOption) -> bool:
    """Whether an option misses a requirement or cannot be deployed."""
    return bool(option.failures) or not option.is_deployable


def _name_option_with_cost_and_p95(option: EvaluatedOption) -> str:
    """Return an option's name, cost and p95 as text, with their intervals.

    An example is ``vgg19: 0.16 USD (0.15 USD to 0.17 USD) a month, p95 1.2 s (1.1 s to 1.3 s)``.
    """
    costs, times = option.usd_per_month_limits, option.p95_s_limits
    cost = f" ({format_usd(costs[0])} to {format_usd(costs[1])})" if costs else ""
    time = f" ({format_seconds(times[0])} to {format_seconds(times[1])})" if times else ""
    return (
        f"{option.name}: {format_usd(option.usd_per_month)}{cost} a month, "
        f"p95 {format_seconds(option.p95_s)}{time}"
    )


def _format_cost_and_p95(option: EvaluatedOption) -> str:
    return f"{format_usd(option.usd_per_month)} a month, p95 {format_seconds(option.p95_s)}"


def _would_labels_overlap(one: EvaluatedOption, other: EvaluatedOption) -> bool:
    """Whether two marks are so close together that their labels would overlap."""
    pairs = ((one.usd_per_month, other.usd_per_month), (one.p95_s, other.p95_s))
    return all(first and second and abs(first / second - 1) < CLOSE for first, second in pairs)


def _hosting_kind_of_option(option: EvaluatedOption) -> Kind:
    if not option.is_deployable:
        return "not deployable"
    match option.policy:
        case "":
            return "real-time"
        case "nothing":
            return "serverless"
        case "provisioned" | "provisioned-fixed":
            return "provisioned"
        case _:
            return "kept warm"

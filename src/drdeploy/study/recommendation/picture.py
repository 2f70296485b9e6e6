"""The decision as a picture: what every option costs a month against its p95 latency."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from drdeploy.pages.opening import Opening
from drdeploy.pages.scatter import Axis, Key, Mark, Span, colours_of, money_tick, scatter, time_tick
from drdeploy.pages.style import INK
from drdeploy.statistics.percentiles import rows_needed
from drdeploy.study.recommendation.confidence import RESAMPLES
from drdeploy.study.recommendation.wording import requirements_sentence, seconds, short_names, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.pages.picture import Picture
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.requirements import Requirements

Kind = Literal["serverless", "kept warm", "provisioned", "real-time"]
KINDS: dict[Kind, Key] = {
    "serverless": Key("serverless", "o", INK),
    "kept warm": Key("serverless, kept warm", "^", INK),
    "provisioned": Key("serverless, provisioned", "D", INK),
    "real-time": Key("real-time instances", "s", INK),
}
FAILS = Key("hollow: fails a requirement", "o", INK, is_hollow=True)
CLOSE = 0.15
"""Marks that differ by less in both directions are not labelled both."""
TITLE = "Every option: its cost a month against its p95 latency"


def opening_of(decision: Decision) -> Opening | None:
    """The decision as the picture that its page opens with; None where nothing can be drawn."""
    options = _options_to_draw(decision)
    if not options:
        return None
    winner = decision.winner
    return Opening(
        heading=f"Host {winner.name}" if winner else "No option meets every requirement",
        context=f"For {decision.traffic}. Required: {requirements_sentence(decision.required)}.",
        caption=_caption(options, decision),
        pictures=_draw_layouts(options, decision),
    )


def _options_to_draw(decision: Decision) -> list[EvaluatedOption]:
    """Options with a known cost and a finite p95: they alone have a place on the axes."""
    return [one for one in decision.options if one.usd_per_month and one.p95_s]


def _caption(options: Sequence[EvaluatedOption], decision: Decision) -> str:
    warm = min(option.warm_rows for option in options)
    cold = min((option.cold_rows for option in options if option.policy), default=0)
    caption = (
        "Each mark is one way of hosting: filled where it meets every requirement, hollow where it "
        f"misses one. Bars are 95 % intervals from {RESAMPLES} bootstrap resamples of the rows "
        f"behind it, at least {warm} warm{f' and {cold} cold' if cold else ''}."
    )
    # Where more than one request in twenty is cold, the p95 comes from cold rows.
    behind_p95 = (one.cold_rows if one.cold_share > 0.05 else one.warm_rows for one in options)
    if min(behind_p95) < rows_needed(0.95):
        caption += (
            f" With fewer than {rows_needed(0.95)} rows the bar of a p95 is too short: no resample "
            "holds a slower request than the slowest that was measured."
        )
    missing = len(decision.options) - len(options)
    if missing:
        count = f"{missing} option{'s' * (missing > 1)}"
        caption += f" Not drawn: {count} of unknown cost, or with a p95 that has no end."
    return caption


def _draw_layouts(options: Sequence[EvaluatedOption], decision: Decision) -> dict[str, Picture]:
    colours = colours_of(option.model for option in options)
    kinds = [kind for kind in KINDS if any(_kind(option) == kind for option in options)]
    labels = _labels(options, decision)
    return scatter(
        [
            Mark(
                name=_name(option),
                x=Span(option.p95_s or 0.0, option.p95_s_limits),
                y=Span(option.usd_per_month or 0.0, option.usd_per_month_limits),
                shape=KINDS[_kind(option)].shape,
                colour=colours[option.model],
                label=labels.get(option.name, ()),
                is_hollow=bool(option.failures),
                is_chosen=option is decision.winner,
            )
            for option in options
        ],
        _axes(decision.required),
        [
            *(KINDS[kind] for kind in kinds),
            *(Key(model, "h", colour) for model, colour in colours.items()),
            *([FAILS] if any(option.failures for option in options) else []),
        ],
        name="options",
        title=TITLE,
        description=_description(options, decision),
    )


def _description(options: Sequence[EvaluatedOption], decision: Decision) -> str:
    """The picture in words, for readers who cannot see it."""
    meeting = sum(not option.failures for option in options)
    sentences = [
        f"{len(options)} options by cost a month in USD and p95 latency, both axes logarithmic",
        f"{meeting} meet what is required ({requirements_sentence(decision.required)})",
    ]
    winner = decision.winner
    if winner:
        sentences.append(f"Chosen is {winner.name}: {_figures(winner)}")
    for kind, count in Counter(map(_kind, options)).items():
        costs, times = (
            sorted(getattr(option, name) for option in options if _kind(option) == kind)
            for name in ("usd_per_month", "p95_s")
        )
        sentences.append(
            f"{count} {KINDS[kind].label}: {usd(costs[0])} to {usd(costs[-1])} a month, "
            f"p95 {seconds(times[0])} to {seconds(times[-1])}"
        )
    return ". ".join(sentences)


def _axes(required: Requirements) -> tuple[Axis, Axis]:
    p95_s, budget_usd = required.p95_s, required.budget_usd
    return (
        Axis(
            "p95 latency, cold starts and waiting included",
            time_tick,
            p95_s,
            "" if p95_s is None else f"required: p95 within {p95_s:g} s",
        ),
        Axis(
            "USD a month",
            money_tick,
            budget_usd,
            "" if budget_usd is None else f"budget: {money_tick(budget_usd)} USD a month",
        ),
    )


def _labels(options: Sequence[EvaluatedOption], decision: Decision) -> dict[str, tuple[str, ...]]:
    """Name the chosen option, and of every other kind the cheapest among those that fail least."""
    winner = decision.winner
    labels: dict[str, tuple[str, ...]] = {}
    names = short_names(options)
    for kind in {_kind(option) for option in options} - ({_kind(winner)} if winner else set()):
        of_kind = [option for option in options if _kind(option) == kind]
        # One label per kind: a name at each of forty marks could not be read.
        best = min(of_kind, key=lambda one: (len(one.failures), one.usd_per_month or 0.0))
        if winner is None or not _are_close(best, winner):
            labels[best.name] = (names[best.name],)
    if winner:
        labels[winner.name] = (f"chosen: {names[winner.name]}", _figures(winner))
    return labels


def _name(option: EvaluatedOption) -> str:
    """``vgg19 fp32 lean, 1024 MB: 0.16 USD (0.15 USD to 0.17 USD) a month, p95 ...``."""
    costs, times = option.usd_per_month_limits, option.p95_s_limits
    cost = f" ({usd(costs[0])} to {usd(costs[1])})" if costs else ""
    time = f" ({seconds(times[0])} to {seconds(times[1])})" if times else ""
    return (
        f"{option.name}: {usd(option.usd_per_month)}{cost} a month, "
        f"p95 {seconds(option.p95_s)}{time}"
    )


def _figures(option: EvaluatedOption) -> str:
    return f"{usd(option.usd_per_month)} a month, p95 {seconds(option.p95_s)}"


def _are_close(one: EvaluatedOption, other: EvaluatedOption) -> bool:
    """Whether two marks lie so close together that two labels would crowd."""
    pairs = ((one.usd_per_month, other.usd_per_month), (one.p95_s, other.p95_s))
    return all(first and second and abs(first / second - 1) < CLOSE for first, second in pairs)


def _kind(option: EvaluatedOption) -> Kind:
    match option.policy:
        case "":
            return "real-time"
        case "nothing":
            return "serverless"
        case "provisioned":
            return "provisioned"
        case _:
            return "kept warm"

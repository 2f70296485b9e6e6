"""Every scenario's cost per million inferences against its latency, as one picture."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from drdeploy.pages.opening import Opening
from drdeploy.pages.scatter import Axis, Key, Mark, Span, colours_of, money_tick, scatter, time_tick
from drdeploy.pages.style import INK
from drdeploy.statistics import notation
from drdeploy.study.measurements.labels import label_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.scenarios import Configuration, Scenario
    from drdeploy.study.report.summaries import Cost, ScenarioSummary

    Priced = tuple[ScenarioSummary, Cost]

KINDS = {
    ("serverless", "warm"): Key("serverless, warm", "o", INK),
    ("serverless", "cold"): Key("serverless, cold start", "s", INK),
    ("realtime", "warm"): Key("real-time, never idle", "D", INK),
}
OTHER = Key("start unknown", "v", INK)


def opening_of(summaries: Sequence[ScenarioSummary]) -> Opening | None:
    """The picture that a report without a decision opens with; None where nothing has a price."""
    priced = [
        (summary, summary.cost)
        for summary in summaries
        if summary.cost and summary.scenario.n and summary.scenario.name != "open-loop"
    ]
    if not priced:
        return None
    # Cost is proportional to the mean latency, so a p95 tells more; few rows give it no interval.
    has_p95 = all(summary.total.p95.has_interval for summary, _ in priced)
    latency = "p95 latency" if has_p95 else "mean latency"
    colours = colours_of(summary.scenario.configuration.model for summary, _ in priced)
    among = [summary.scenario.configuration for summary, _ in priced]
    fewest = min(summary.scenario.n for summary, _ in priced)
    return Opening(
        heading="What an answer costs, and how long it takes",
        context="",
        caption="Each mark is one scenario; a line joins the memory sizes of a model. Bars are "
        f"95 % intervals from the measured rows, at least {fewest} behind each mark.",
        pictures=scatter(
            _marks(priced, colours, has_p95=has_p95),
            (Axis(latency, time_tick), Axis("USD per million inferences", money_tick)),
            [
                *dict.fromkeys(_kind(summary.scenario) for summary, _ in priced),
                *(Key(model, "h", colour) for model, colour in colours.items()),
            ],
            name="scenarios",
            title=f"Every scenario: cost per million inferences against {latency}",
            description=". ".join(_sentence(summary, cost, among) for summary, cost in priced),
        ),
    )


def _marks(priced: Sequence[Priced], colours: Mapping[str, str], *, has_p95: bool) -> list[Mark]:
    among = [summary.scenario.configuration for summary, _ in priced]
    marks = []
    for _, group in groupby(sorted(priced, key=_line), _line):
        members = list(group)
        # Labels at all marks would crowd: the cheapest and the fastest of each line have one.
        cheapest, _ = min(members, key=lambda one: one[1].million.value or 0.0)
        fastest, _ = min(members, key=lambda one: one[0].total.mean.value or 0.0)
        for summary, cost in members:
            scenario = summary.scenario
            is_named = summary is cheapest or summary is fastest
            has_order = scenario.configuration.memory_mb > 0  # instance types have none
            marks.append(
                Mark(
                    name=_sentence(summary, cost, among),
                    x=_span(summary.total.p95 if has_p95 else summary.total.mean),
                    y=_span(cost.million),
                    shape=_kind(scenario).shape,
                    colour=colours[scenario.configuration.model],
                    label=(label_of(scenario.configuration, among=among),) if is_named else (),
                    path=" ".join(_line((summary, cost))) if has_order else "",
                )
            )
    return marks


def _line(one: Priced) -> tuple[str, ...]:
    """What the scenarios on one line share: everything but the size of the endpoint."""
    scenario = one[0].scenario
    configuration = scenario.configuration
    names = (configuration.model, configuration.precision, configuration.image)
    return *names, _kind(scenario).label


def _kind(scenario: Scenario) -> Key:
    return KINDS.get((scenario.configuration.endpoint_kind, scenario.start), OTHER)


def _span(estimate: Estimate) -> Span:
    if estimate.low is None or estimate.high is None:
        return Span(estimate.value or 0.0)
    return Span(estimate.value or 0.0, (estimate.low, estimate.high))


def _sentence(summary: ScenarioSummary, cost: Cost, among: Sequence[Configuration]) -> str:
    configuration = summary.scenario.configuration
    return (
        f"{configuration.model}, {label_of(configuration, among=among)}, "
        f"{_kind(summary.scenario).label}: {notation.value(cost.million)} USD per million, "
        f"mean {notation.time_in_words(summary.total.mean)}"
    )

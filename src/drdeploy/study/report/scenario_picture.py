"""Draw the cost per million inferences of every scenario against its latency."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from drdeploy.pages.page import Opening
from drdeploy.pages.scatter import (
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
from drdeploy.statistics import notation
from drdeploy.study.measurements.scenarios import label_configuration

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


def make_scenario_opening(summaries: Sequence[ScenarioSummary]) -> Opening | None:
    """Return the picture at the top of a report without a recommendation.

    The result is None if every cost is unknown, or if every scenario has a queue.
    """
    priced = [
        (summary, summary.cost)
        for summary in summaries
        if summary.cost and summary.scenario.counted_row_count and not summary.scenario.has_queue
    ]
    if not priced:
        return None
    # The cost is proportional to the mean latency, so the p95 shows more. From few rows, the p95
    # has no interval, and the mean is shown.
    has_p95 = all(summary.total.p95.has_interval for summary, _ in priced)
    latency = "p95 latency" if has_p95 else "mean latency"
    colours = assign_colour_to_each_name(
        summary.scenario.configuration.model for summary, _ in priced
    )
    among = [summary.scenario.configuration for summary, _ in priced]
    fewest = min(summary.scenario.counted_row_count for summary, _ in priced)
    return Opening(
        heading="What an answer costs, and how long it takes",
        context="",
        caption="Each mark is one scenario. A line joins the memory sizes of a model. The bars are "
        f"95 % intervals from the measured rows. Each mark rests on at least {fewest} rows.",
        pictures=draw_scatter_pictures(
            _make_marks_of_scenarios(priced, colours, has_p95=has_p95),
            (
                Axis(latency, format_time_at_tick),
                Axis("USD per million inferences", format_money_at_tick),
            ),
            [
                *dict.fromkeys(_legend_key_of_scenario(summary.scenario) for summary, _ in priced),
                *(Key(model, "h", colour) for model, colour in colours.items()),
            ],
            name="scenarios",
            title=f"Every scenario: cost per million inferences against {latency}",
            description=". ".join(
                _describe_scenario_in_words(summary, cost, among) for summary, cost in priced
            ),
        ),
    )


def _make_marks_of_scenarios(
    priced: Sequence[Priced], colours: Mapping[str, str], *, has_p95: bool
) -> list[Mark]:
    among = [summary.scenario.configuration for summary, _ in priced]
    marks = []
    for _, group in groupby(sorted(priced, key=_line_key_of_scenario), _line_key_of_scenario):
        members = list(group)
        # Labels at all marks would overlap, so only the cheapest and the fastest of each line have
        # one.
        cheapest, _ = min(members, key=lambda one: one[1].per_million_usd.value or 0.0)
        fastest, _ = min(members, key=lambda one: one[0].total.mean.value or 0.0)
        for summary, cost in members:
            scenario = summary.scenario
            is_named = summary is cheapest or summary is fastest
            has_order = scenario.configuration.memory_mb > 0  # instance types are not ordered
            marks.append(
                Mark(
                    name=_describe_scenario_in_words(summary, cost, among),
                    x=_make_span_of_estimate(summary.total.p95 if has_p95 else summary.total.mean),
                    y=_make_span_of_estimate(cost.per_million_usd),
                    shape=_legend_key_of_scenario(scenario).shape,
                    colour=colours[scenario.configuration.model],
                    label=(label_configuration(scenario.configuration, among=among),)
                    if is_named
                    else (),
                    path=" ".join(_line_key_of_scenario((summary, cost))) if has_order else "",
                )
            )
    return marks


def _line_key_of_scenario(one: Priced) -> tuple[str, ...]:
    """Return a key that is the same for scenarios that differ only in the endpoint's size.

    A line in the picture joins the scenarios with the same key.
    """
    scenario = one[0].scenario
    configuration = scenario.configuration
    names = (configuration.model, configuration.precision, configuration.image)
    return *names, _legend_key_of_scenario(scenario).label


def _legend_key_of_scenario(scenario: Scenario) -> Key:
    return KINDS.get((scenario.configuration.endpoint_kind, scenario.start), OTHER)


def _make_span_of_estimate(estimate: Estimate) -> PlottedValue:
    if estimate.low is None or estimate.high is None:
        return PlottedValue(estimate.value or 0.0)
    return PlottedValue(estimate.value or 0.0, (estimate.low, estimate.high))


def _describe_scenario_in_words(
    summary: ScenarioSummary, cost: Cost, among: Sequence[Configuration]
) -> str:
    configuration = summary.scenario.configuration
    return (
        f"{configuration.model}, {label_configuration(configuration, among=among)}, "
        f"{_legend_key_of_scenario(summary.scenario).label}: "
        f"{notation.format_estimate_value(cost.per_million_usd)} USD per million, "
        f"mean {notation.format_time_as_text(summary.total.mean)}"
    )

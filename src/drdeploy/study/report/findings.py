"""Write the findings about each model as sentences, with numbers computed from rows.

The configurations of one model on one kind of endpoint are ranked by their mean latency or mean
cost, and a sentence names the best one. Each other configuration is compared with the best one by a
ratio with an interval. If the interval contains 1, the measurements do not show which of the two is
better, and the sentence names the other configuration, too. Serverless endpoints are not compared
with real-time endpoints, because which of them is cheaper depends on the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from drdeploy.statistics import notation
from drdeploy.statistics.estimate import Estimate
from drdeploy.study.measurements.scenarios import label_configuration
from drdeploy.study.report.comparisons import compute_ratio_of_mean_times
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.study.report.summaries import ScenarioSummary


@dataclass(frozen=True)
class Winner:
    """The configuration that is best in one property, such as cost or latency.

    Attributes:
        question: The property in which the configuration is best, for example ``Fastest when
            warm``.
        answer: The label of the configuration, for example ``3072 MB``.
        figure: The mean latency or cost with its unit.
        interval: The 95 % interval of the mean, or the reason why there is none.
        n: The number of rows from which the mean is computed.
        runner_up: A sentence on the next best configuration.
        trial: The id of the trial that the rows belong to.
    """

    question: str
    answer: str
    figure: str
    interval: str
    n: int
    runner_up: str
    trial: str


@dataclass(frozen=True)
class ModelFinding:
    """The findings about one model on one kind of endpoint.

    Attributes:
        sentences: The findings as sentences.
        findings: The fastest and the cheapest warm configuration, and the one with the shortest
            cold start. If one of them is not known, for example because there are no prices, it is
            left out.
    """

    model: str
    endpoint_kind: str
    sentences: tuple[str, ...]
    findings: tuple[Winner, ...]


def write_findings_per_model(summaries: Sequence[ScenarioSummary]) -> tuple[ModelFinding, ...]:
    """Return one finding per model and kind of endpoint, in the order of their names."""

    def get_model_and_endpoint_kind(summary: ScenarioSummary) -> tuple[str, str]:
        configuration = summary.scenario.configuration
        return configuration.model, configuration.endpoint_kind

    # A latency that includes time in a queue says more about the traffic than about the
    # configuration.
    ranked = [s for s in summaries if not s.scenario.has_queue_in_s3]
    grouped = groupby(sorted(ranked, key=get_model_and_endpoint_kind), get_model_and_endpoint_kind)
    return tuple(
        _write_finding_of_model(model, kind, list(group)) for (model, kind), group in grouped
    )


def _write_finding_of_model(
    model: str, endpoint_kind: str, summaries: list[ScenarioSummary]
) -> ModelFinding:
    ranking = _Ranking.rank_scenarios(summaries)
    if not ranking.warm and not ranking.cold:
        # Rows of an open loop, or with an unknown kind of start, count, but are not ranked.
        nothing = (
            f"{model} has no warm or cold rows outside an open loop, so its configurations are not "
            "ranked."
            if any(summary.scenario.counted_row_count for summary in summaries)
            else f"No row of {model} counts, so {model} has no results."
        )
        return ModelFinding(model, endpoint_kind, (nothing,), ())
    sentences = [
        ranking.write_sentence_on_cheapest(),
        ranking.write_sentence_on_fastest(),
        ranking.write_sentence_on_cold_starts(),
    ]
    findings = [
        ranking.find_fastest("Fastest when warm", ranking.warm),
        ranking.find_cheapest(),
        ranking.find_fastest("Shortest cold start", ranking.cold),
    ]
    return ModelFinding(
        model=model,
        endpoint_kind=endpoint_kind,
        sentences=tuple(sentence for sentence in sentences if sentence),
        findings=tuple(finding for finding in findings if finding),
    )


@dataclass(frozen=True)
class _Ranking:
    """The scenarios of one model, sorted so that the best come first.

    Attributes:
        warm: The warm scenarios, sorted by mean latency.
        priced: The warm scenarios with a known cost, sorted by mean cost.
        cold: The cold scenarios, sorted by mean latency.
        label: A function that returns the label of a scenario's configuration.
    """

    warm: list[ScenarioSummary]
    priced: list[ScenarioSummary]
    cold: list[ScenarioSummary]
    label: Callable[[ScenarioSummary], str]

    @classmethod
    def rank_scenarios(cls, summaries: list[ScenarioSummary]) -> _Ranking:
        measured = [
            s for s in summaries if s.scenario.counted_row_count and s.scenario.name != "open-loop"
        ]
        warm = [s for s in measured if s.scenario.start == "warm"]
        cold = [s for s in measured if s.scenario.start == "cold"]
        configurations = [s.scenario.configuration for s in measured]
        return cls(
            warm=sorted(warm, key=_get_mean_latency_s),
            priced=sorted(
                (s for s in warm if s.cost), key=lambda s: _estimate_usd_per_million(s).value or 0.0
            ),
            cold=sorted(cold, key=_get_mean_latency_s),
            label=lambda s: label_configuration(s.scenario.configuration, among=configurations),
        )

    def find_cheapest(self) -> Winner | None:
        if not self.priced:
            return None
        best, *others = self.priced
        cost = _estimate_usd_per_million(best)
        ratios = [(self.label(other), _compute_cost_ratio(other, best)) for other in others]
        return Winner(
            question="Cheapest when warm",
            answer=self.label(best),
            figure=f"{notation.format_estimate_value(cost)} USD per million",
            interval=notation.format_interval(cost) or cost.reason,
            n=cost.n,
            runner_up=_write_sentence_on_ties_or_second_best(ratios, "the cost"),
            trial=best.scenario.trial,
        )

    def write_sentence_on_cheapest(self) -> str:
        if not self.priced:
            return ""
        best = self.priced[0]
        always_on = best.scenario.configuration.endpoint_kind == "realtime"
        return (
            f"Cheapest when warm is {self.label(best)}, with "
            f"{notation.format_estimate_value(_estimate_usd_per_million(best))} USD per million "
            f"inferences{', if the endpoint is never idle' if always_on else ''}. An inference is "
            f"answered in {notation.format_time_and_interval(best.total.mean)[0]} on average."
        )

    def write_sentence_on_fastest(self) -> str:
        if not self.warm:
            return ""
        fastest, cheapest = self.warm[0], (self.priced or self.warm)[0]
        if fastest is cheapest:
            return "No other configuration is faster." if len(self.warm) > 1 else ""
        speed_up = _compute_latency_ratio(cheapest, fastest)
        if not speed_up.interval_excludes(1.0):
            return (
                f"{self.label(fastest)} has a lower mean latency, "
                f"{notation.format_time_and_interval(fastest.total.mean)[0]}, "
                f"but the measurements do not show that it is faster: "
                f"{notation.format_ratio_as_text(speed_up, 'as fast as the cheapest')}."
            )
        return (
            f"{self.label(fastest)} answers in "
            f"{notation.format_time_and_interval(fastest.total.mean)[0]}, "
            f"{notation.format_ratio_as_text(speed_up, 'as fast as the cheapest')}"
            f"{_write_cost_ratio_clause(_compute_cost_ratio(fastest, cheapest))}."
        )

    def write_sentence_on_cold_starts(self) -> str:
        if not self.cold:
            return ""
        best = self.cold[0]
        shortest = (
            f"The shortest cold start takes "
            f"{notation.format_time_and_interval(best.total.mean)[0]} "
            f"({self.label(best)})"
        )
        same = [s for s in self.warm if s.scenario.configuration == best.scenario.configuration]
        if not same:
            return f"{shortest}."
        ratio = _compute_latency_ratio(best, same[0])
        return f"{shortest}, {notation.format_ratio_as_text(ratio, 'as long as a warm request')}."

    def find_fastest(self, question: str, ranked: list[ScenarioSummary]) -> Winner | None:
        if not ranked:
            return None
        best, *others = ranked
        ratios = [(self.label(other), _compute_latency_ratio(other, best)) for other in others]
        figure, interval = notation.format_time_and_interval(best.total.mean)
        return Winner(
            question=question,
            answer=self.label(best),
            figure=figure,
            interval=interval or best.total.mean.reason,
            n=best.scenario.counted_row_count,
            runner_up=_write_sentence_on_ties_or_second_best(ratios, "as long"),
            trial=best.scenario.trial,
        )


def _write_sentence_on_ties_or_second_best(ratios: list[tuple[str, Estimate]], measure: str) -> str:
    """Return a sentence about the configurations that come closest to the best one.

    The sentence names all configurations that may be as good as the best one. If there are none,
    the sentence names the second-best configuration.
    """
    if not ratios:
        return "No other configuration was measured."
    compared = [
        f"{name}: {notation.format_ratio_as_text(ratio, measure)}" for name, ratio in ratios
    ]
    ties = [
        text
        for text, (_, ratio) in zip(compared, ratios, strict=True)
        if not ratio.interval_excludes(1.0)
    ]
    return (
        f"The measurements show no difference from {' and '.join(ties)}."
        if ties
        else f"Next, {compared[0]}."
    )


def _write_cost_ratio_clause(cost_ratio: Estimate) -> str:
    if cost_ratio.value is None:
        return ""
    ratio = notation.format_ratio_as_text(cost_ratio, "the cost")
    return (
        f", at {ratio}"
        if cost_ratio.interval_excludes(1.0)
        else f", at {ratio}: not shown to differ"
    )


def _compute_latency_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    return compute_ratio_of_mean_times(one.scenario, other.scenario, "total_latency_s")


def _compute_cost_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    """Return the ratio of two costs. Its interval comes only from the measured latencies."""
    latencies = _compute_latency_ratio(one, other)
    if one.cost is None or other.cost is None:
        return replace(latencies, value=None, low=None, high=None, reason="unknown price")
    prices = one.cost.price.usd_per_second / other.cost.price.usd_per_second
    return latencies.multiplied_by(prices)


def _estimate_usd_per_million(summary: ScenarioSummary) -> Estimate:
    if summary.cost is None:
        return Estimate(None, None, None, 0, "", reason=summary.no_cost)
    return summary.cost.inference.multiplied_by(MILLION)


def _get_mean_latency_s(summary: ScenarioSummary) -> float:
    return summary.total.mean.value or 0.0

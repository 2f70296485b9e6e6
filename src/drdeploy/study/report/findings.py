"""The answer in sentences, every number in them computed from rows.

Configurations of one model on one kind of endpoint are ranked by their mean.  The best one is named
together with those that are not shown to differ from it, because the interval of their ratio
contains 1.  Serverless and real-time endpoints are never ranked against each other here: which is
cheaper depends on the traffic, of which measurements of single requests know nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from drdeploy.statistics import notation
from drdeploy.statistics.means import Estimate
from drdeploy.study.measurements.labels import label_of
from drdeploy.study.recommendation.cost import MILLION
from drdeploy.study.report.comparisons import mean_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.study.report.summaries import ScenarioSummary


@dataclass(frozen=True)
class Winner:
    """The best configuration in one respect.

    Attributes:
        question: In which respect: ``Fastest when warm``.
        answer: The configuration: ``3072 MB``.
        figure: Its number with unit.
        interval: The number's 95 % interval, or why there is none.
        n: Number of rows behind the number.
        runner_up: How the next best compares, as a sentence.
        trial: Name of the trial that its rows belong to.
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
    """What the measurements say about one model on one kind of endpoint.

    Attributes:
        sentences: The answer in words.
        findings: The best configurations; fewer where nothing was measured or priced.
    """

    model: str
    endpoint_kind: str
    sentences: tuple[str, ...]
    findings: tuple[Winner, ...]


def findings_of(summaries: Sequence[ScenarioSummary]) -> tuple[ModelFinding, ...]:
    """Return one finding per model and kind of endpoint, in the order of their names."""

    def subject(summary: ScenarioSummary) -> tuple[str, str]:
        configuration = summary.scenario.configuration
        return configuration.model, configuration.endpoint_kind

    grouped = groupby(sorted(summaries, key=subject), subject)
    return tuple(_finding(model, kind, list(group)) for (model, kind), group in grouped)


def _finding(model: str, endpoint_kind: str, summaries: list[ScenarioSummary]) -> ModelFinding:
    ranking = _Ranking.of(summaries)
    if not ranking.warm and not ranking.cold:
        nothing = (f"No invocation of {model} succeeded, so nothing can be said about it.",)
        return ModelFinding(model, endpoint_kind, nothing, ())
    sentences = [
        ranking.cheapest_sentence(),
        ranking.fastest_sentence(),
        ranking.cold_sentence(),
    ]
    findings = [
        ranking.fastest("Fastest when warm", ranking.warm),
        ranking.cheapest(),
        ranking.fastest("Shortest cold start", ranking.cold),
    ]
    return ModelFinding(
        model=model,
        endpoint_kind=endpoint_kind,
        sentences=tuple(sentence for sentence in sentences if sentence),
        findings=tuple(finding for finding in findings if finding),
    )


@dataclass(frozen=True)
class _Ranking:
    """The scenarios of one model, the best first.

    Attributes:
        warm: By mean latency.
        priced: By mean cost.
        cold: By mean latency.
        label: Names a scenario's configuration among those of the model.
    """

    warm: list[ScenarioSummary]
    priced: list[ScenarioSummary]
    cold: list[ScenarioSummary]
    label: Callable[[ScenarioSummary], str]

    @classmethod
    def of(cls, summaries: list[ScenarioSummary]) -> _Ranking:
        measured = [s for s in summaries if s.scenario.n and s.scenario.name != "open-loop"]
        warm = [s for s in measured if s.scenario.start == "warm"]
        cold = [s for s in measured if s.scenario.start == "cold"]
        configurations = [s.scenario.configuration for s in measured]
        return cls(
            warm=sorted(warm, key=_mean_latency),
            priced=sorted((s for s in warm if s.cost), key=_mean_cost),
            cold=sorted(cold, key=_mean_latency),
            label=lambda s: label_of(s.scenario.configuration, among=configurations),
        )

    def cheapest(self) -> Winner | None:
        if not self.priced:
            return None
        best, *others = self.priced
        cost = _million(best)
        ratios = [(self.label(other), _cost_ratio(other, best)) for other in others]
        return Winner(
            question="Cheapest when warm",
            answer=self.label(best),
            figure=f"{notation.value(cost)} USD per million",
            interval=notation.interval(cost) or cost.reason,
            n=cost.n,
            runner_up=_against(ratios, "the cost"),
            trial=best.scenario.trial,
        )

    def cheapest_sentence(self) -> str:
        if not self.priced:
            return ""
        best = self.priced[0]
        always_on = best.scenario.configuration.endpoint_kind == "realtime"
        return (
            f"Cheapest when warm is {self.label(best)}: {notation.value(_million(best))} USD per "
            f"million inferences{', if it is never idle' if always_on else ''}, "
            f"each answered in {notation.time(best.total.mean)[0]} on average."
        )

    def fastest_sentence(self) -> str:
        if not self.warm:
            return ""
        fastest, cheapest = self.warm[0], (self.priced or self.warm)[0]
        if fastest is cheapest:
            return "No other configuration is faster." if len(self.warm) > 1 else ""
        speed_up = _latency_ratio(cheapest, fastest)
        if not speed_up.excludes(1.0):
            return (
                f"{self.label(fastest)} has a lower mean, {notation.time(fastest.total.mean)[0]}, "
                f"but is not shown to be faster: {notation.ratio_in_words(speed_up, 'as fast')}."
            )
        return (
            f"{self.label(fastest)} answers in {notation.time(fastest.total.mean)[0]}, "
            f"{notation.ratio_in_words(speed_up, 'as fast')}"
            f"{_for_more_money(_cost_ratio(fastest, cheapest))}."
        )

    def cold_sentence(self) -> str:
        if not self.cold:
            return ""
        best = self.cold[0]
        shortest = (
            f"The shortest cold start takes {notation.time(best.total.mean)[0]} "
            f"({self.label(best)})"
        )
        same = [s for s in self.warm if s.scenario.configuration == best.scenario.configuration]
        if not same:
            return f"{shortest}."
        ratio = _latency_ratio(best, same[0])
        return f"{shortest}, {notation.ratio_in_words(ratio, 'as long as a warm request')}."

    def fastest(self, question: str, ranked: list[ScenarioSummary]) -> Winner | None:
        if not ranked:
            return None
        best, *others = ranked
        ratios = [(self.label(other), _latency_ratio(other, best)) for other in others]
        figure, interval = notation.time(best.total.mean)
        return Winner(
            question=question,
            answer=self.label(best),
            figure=figure,
            interval=interval or best.total.mean.reason,
            n=best.scenario.n,
            runner_up=_against(ratios, "as long"),
            trial=best.scenario.trial,
        )


def _against(ratios: list[tuple[str, Estimate]], measure: str) -> str:
    """Name those that are not shown to differ from the best, or else the runner-up."""
    if not ratios:
        return "Nothing else was measured to compare it with."
    compared = [f"{name}: {notation.ratio_in_words(ratio, measure)}" for name, ratio in ratios]
    ties = [
        text for text, (_, ratio) in zip(compared, ratios, strict=True) if not ratio.excludes(1.0)
    ]
    return f"Not shown to differ from {' and '.join(ties)}." if ties else f"Next, {compared[0]}."


def _for_more_money(cost_ratio: Estimate) -> str:
    if cost_ratio.value is None:
        return ""
    ratio = notation.ratio_in_words(cost_ratio, "the cost")
    return f", at {ratio}" if cost_ratio.excludes(1.0) else f", at {ratio}: not shown to differ"


def _latency_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    return mean_ratio(one.scenario, other.scenario, "total_latency_s")


def _cost_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    """Ratio of two costs; prices are exact, so its interval is that of the latencies."""
    latencies = _latency_ratio(one, other)
    if one.cost is None or other.cost is None:
        return replace(latencies, value=None, low=None, high=None, reason="unknown price")
    prices = one.cost.price.usd_per_second / other.cost.price.usd_per_second
    return latencies.scaled(prices)


def _million(summary: ScenarioSummary) -> Estimate:
    if summary.cost is None:
        return Estimate(None, None, None, 0, "", reason=summary.no_cost)
    return summary.cost.inference.scaled(MILLION)


def _mean_latency(summary: ScenarioSummary) -> float:
    return summary.total.mean.value or 0.0


def _mean_cost(summary: ScenarioSummary) -> float:
    return _million(summary).value or 0.0

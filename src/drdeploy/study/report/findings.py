"""The answer in sentences, every number of it computed from rows.

Configurations of one model on one kind of endpoint are ranked by their mean.  A winner is named
together with those that cannot be told apart from it, because the interval of their ratio holds
1.  Serverless and always-on endpoints are never ranked against each other here: which of them
is cheaper depends on the traffic, which no measurement of single requests knows.
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
    """One winner.

    Attributes:
        question: ``Fastest when warm``.
        answer: The winner's label: ``3072 MB``.
        figure: Its number with unit.
        interval: Its 95 % interval, or why there is none.
        n: Rows behind the number.
        runner_up: How the next best compares, as a sentence.
        trial: Where its rows are.
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
        sentences: The answer in plain words.
        findings: The winners behind it; shorter where nothing was measured or priced.
    """

    model: str
    endpoint_kind: str
    sentences: tuple[str, ...]
    findings: tuple[Winner, ...]


def verdicts_of(summaries: Sequence[ScenarioSummary]) -> tuple[ModelFinding, ...]:
    """One verdict per model and kind of endpoint, in the order of their names."""

    def owner(summary: ScenarioSummary) -> tuple[str, str]:
        hosted = summary.scenario.configuration
        return hosted.model, hosted.endpoint_kind

    grouped = groupby(sorted(summaries, key=owner), owner)
    return tuple(_verdict(model, kind, list(group)) for (model, kind), group in grouped)


def _verdict(model: str, endpoint_kind: str, summaries: list[ScenarioSummary]) -> ModelFinding:
    contest = _Contest.of(summaries)
    if not contest.warm and not contest.cold:
        nothing = (f"No invocation of {model} succeeded, so nothing can be said about it.",)
        return ModelFinding(model, endpoint_kind, nothing, ())
    sentences = [
        contest.cheapest_sentence(),
        contest.fastest_sentence(),
        contest.cold_sentence(),
    ]
    findings = [contest.fastest(), contest.cheapest(), contest.best_cold()]
    return ModelFinding(
        model=model,
        endpoint_kind=endpoint_kind,
        sentences=tuple(sentence for sentence in sentences if sentence),
        findings=tuple(finding for finding in findings if finding),
    )


@dataclass(frozen=True)
class _Contest:
    """The configurations of one model, ranked: the best comes first."""

    warm: list[ScenarioSummary]
    priced: list[ScenarioSummary]
    cold: list[ScenarioSummary]
    label: Callable[[ScenarioSummary], str]

    @classmethod
    def of(cls, summaries: list[ScenarioSummary]) -> _Contest:
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

    def fastest(self) -> Winner | None:
        return self._quickest("Fastest when warm", self.warm)

    def best_cold(self) -> Winner | None:
        return self._quickest("Shortest cold start", self.cold)

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
            f"million inferences{', were it never idle' if always_on else ''}, "
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
        told = (
            f"After idling, the first answer takes at best {notation.time(best.total.mean)[0]} "
            f"({self.label(best)})"
        )
        same = [s for s in self.warm if s.scenario.configuration == best.scenario.configuration]
        if not same:
            return f"{told}."
        ratio = _latency_ratio(best, same[0])
        return f"{told}: {notation.ratio_in_words(ratio, 'as long as when warm')}."

    def _quickest(self, question: str, ranked: list[ScenarioSummary]) -> Winner | None:
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
    """The ties with the best, or else the runner-up."""
    if not ratios:
        return "Nothing else was measured to compare it with."
    told = [f"{name}: {notation.ratio_in_words(ratio, measure)}" for name, ratio in ratios]
    ties = [text for text, (_, ratio) in zip(told, ratios, strict=True) if not ratio.excludes(1.0)]
    return f"Not shown to differ from {' and '.join(ties)}." if ties else f"Next, {told[0]}."


def _for_more_money(cost_ratio: Estimate) -> str:
    if cost_ratio.value is None:
        return ""
    told = notation.ratio_in_words(cost_ratio, "the cost")
    if not cost_ratio.excludes(1.0):
        return f", at {told}: not shown to differ"
    return f", at {told}"


def _latency_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    return mean_ratio(one.scenario, other.scenario, "total_latency_s")


def _cost_ratio(one: ScenarioSummary, other: ScenarioSummary) -> Estimate:
    """Prices are known exactly, so the interval is that of the latencies."""
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

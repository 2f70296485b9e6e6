"""What a reader must know before believing the numbers, each as a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.statistics.means import BOOTSTRAP_ROWS
from drdeploy.statistics.stability import Stability
from drdeploy.study.measurements.environment import BUSY_PERCENT
from drdeploy.study.measurements.load import UNGRADABLE, WARM_UP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.report.summaries import ScenarioSummary

MANY_FAILURES = 0.05
MANY_ALARMS = 0.1
_UNSTEADY = {
    Stability.DRIFTS: "Latency drifts from the first row to the last, so intervals are too short,",
    Stability.DEPENDENT: "Rows depend on the ones before, so intervals are too short,",
}
_UNTRAINED = {
    "random": "random weights",
    "imagenet": "ImageNet weights below an untrained head",
}


def warnings_of(
    measurements: Measurements, summaries: Sequence[ScenarioSummary]
) -> tuple[str, ...]:
    """What limits these measurements in particular, the most serious first."""
    return (
        *_unlimited(summaries),
        *_busy(measurements),
        *_mixed(measurements),
        *_without_rows(summaries),
        *_failures(measurements),
        *_ungradable(measurements),
        *_unpriced(summaries),
        *_untrained(summaries),
        *_unsteady(summaries),
        *_small_samples(summaries),
        *_unknown_machine(measurements),
        *measurements.notes,
    )


def limits_of(measurements: Measurements) -> tuple[str, ...]:
    """What rows of this platform cannot say."""
    platforms = set(measurements.frame["platform"])
    return tuple(text for platform, text in _OF_PLATFORM.items() if platform in platforms)


_OF_PLATFORM = {
    "local": (
        "Rows with platform=local were measured on this machine over loopback. They hold no "
        "network distance, no image pull and none of AWS's placement and routing time, and the "
        "CPU is this machine's. Ratios between configurations carry over to AWS; absolute times "
        "and costs do not."
    ),
    "aws": (
        "Rows with platform=aws include the network between the client and the region, and "
        "whatever load the region had."
    ),
}


def _unlimited(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    unlimited = [s.scenario.trial for s in summaries if not s.scenario.is_limited]
    if unlimited:
        yield (
            f"Memory and CPU limits were not enforced in {len(unlimited)} of {len(summaries)} "
            "scenarios (isolation=process), so differences between their memory sizes mean nothing."
        )


def _busy(measurements: Measurements) -> Iterator[str]:
    runs = set(measurements.frame["run_id"])
    busy_percent = [
        facts.get(f"cpu_busy_percent_{when}") or 0.0
        for run_id, facts in measurements.environment.items()
        for when in ("before", "after")
        if run_id in runs
    ]
    if max(busy_percent, default=0.0) > BUSY_PERCENT:
        yield (
            f"Other work kept the CPU up to {max(busy_percent):.0f} % busy just before or after "
            "measuring, which slows some configurations more than others. Measure again on a quiet "
            "machine before you decide."
        )


def _mixed(measurements: Measurements) -> Iterator[str]:
    for name, values in measurements.differences().items():
        yield f"Rows that differ in {name} are compared, as asked: {'; '.join(values)}."


def _without_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for summary in summaries:
        if not summary.scenario.n:
            yield f"Trial {summary.scenario.trial} has no row that counts, so it has no number."


def _failures(measurements: Measurements) -> Iterator[str]:
    asked = measurements.frame[~measurements.frame["is_warmup"]]
    failed = sum(n for why, n in measurements.left_out.items() if why not in {WARM_UP, UNGRADABLE})
    if failed > MANY_FAILURES * len(asked):
        yield f"{failed} of {len(asked)} invocations failed or started the wrong way."


def _ungradable(measurements: Measurements) -> Iterator[str]:
    count = measurements.left_out.get(UNGRADABLE, 0)
    if count:
        yield (
            f"{count} invocation{'s' * (count > 1)} sent a photograph that cannot be graded. They "
            "are not counted, because an answer without a prediction takes less time."
        )


def _unpriced(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for reason in sorted({s.no_cost for s in summaries if s.no_cost}):
        yield f"{reason} The scenarios concerned have no cost; give a price sheet with --prices."


def _untrained(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for weights in sorted({s.scenario.weights for s in summaries}):
        if weights in _UNTRAINED:
            models = sorted(
                {s.scenario.configuration.model for s in summaries if s.scenario.weights == weights}
            )
            yield (
                f"{' and '.join(models)} {'have' if len(models) > 1 else 'has'} "
                f"{_UNTRAINED[weights]}: the grades mean nothing; times and costs are valid."
            )


def _unsteady(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for verdict, sentence in _UNSTEADY.items():
        trials = [s.scenario.trial for s in summaries if s.steadiness.verdict is verdict]
        if trials:
            yield f"{sentence} in {len(trials)} of {len(summaries)} scenarios: {', '.join(trials)}."
    checks = [s.steadiness.halves for s in summaries if s.steadiness.halves.has_interval]
    alarms = sum(check.excludes(1.0) for check in checks)
    # One in twenty is expected to alarm by chance, and one more is no reason to warn.
    if alarms > 1 + MANY_ALARMS * len(checks):
        yield (
            f"Odd rows differ from even rows of the same scenario in {alarms} of {len(checks)} "
            "scenarios: the intervals of these measurements are too short for comparisons."
        )


def _small_samples(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    smallest = min((s.scenario.n for s in summaries if s.scenario.n), default=BOOTSTRAP_ROWS)
    if smallest < BOOTSTRAP_ROWS:
        yield f"The smallest scenario has {smallest} row{'s' * (smallest > 1)} that count."


def _unknown_machine(measurements: Measurements) -> Iterator[str]:
    if not measurements.environment:
        yield "There is no environment.json, so it is not known which machine measured this."

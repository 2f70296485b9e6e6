"""Write warnings about the measurements, and sentences on what they cannot show."""

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
    Stability.DRIFTS: "latency drifts from the first row to the last, so intervals are too short",
    Stability.DEPENDENT: "each row depends on the row before, so intervals are too short",
}
_UNTRAINED = {
    "random": "random weights",
    "imagenet": "ImageNet weights below an untrained head",
}


def write_warnings_about_measurements(
    measurements: Measurements, summaries: Sequence[ScenarioSummary]
) -> tuple[str, ...]:
    """Return warnings about the measurements, starting with the most serious warning."""
    return (
        *_write_warning_on_missing_limits(summaries),
        *_write_warning_on_busy_machine(measurements),
        *_write_warning_on_mixed_rows(measurements),
        *_write_warning_on_missing_rows(summaries),
        *_write_warning_on_failures(measurements),
        *_write_warning_on_ungradable_photographs(measurements),
        *_write_warning_on_unknown_prices(summaries),
        *_write_warning_on_untrained_models(summaries),
        *_write_warning_on_unsteady_rows(summaries),
        *_write_warning_on_small_samples(summaries),
        *_write_warning_on_unknown_machine(measurements),
        *measurements.notes,
    )


def write_measurement_limits_of_platforms(measurements: Measurements) -> tuple[str, ...]:
    """Return sentences on what measurements on this machine, or on AWS, cannot show."""
    platforms = set(measurements.frame["platform"])
    return tuple(text for platform, text in _OF_PLATFORM.items() if platform in platforms)


_OF_PLATFORM = {
    "local": (
        "Rows with platform=local were measured on one machine, over loopback and on the CPU of "
        "the machine. The times of rows with platform=local include no network, no image pull, "
        "and no placement and routing by AWS. Absolute times and costs are different on "
        "AWS. Ratios between configurations are often similar there, but not always."
    ),
    "aws": (
        "The times of rows with platform=aws include the network between the client and the "
        "region. The times of rows with platform=aws also depend on the load of the region during "
        "the measurement."
    ),
}


def _write_warning_on_missing_limits(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    unlimited = [s.scenario.trial for s in summaries if not s.scenario.has_enforced_limits]
    if unlimited:
        yield (
            f"Memory and CPU limits were not enforced in {len(unlimited)} of {len(summaries)} "
            "scenarios (isolation=process). Without enforced limits, differences between memory "
            "sizes are due to chance."
        )


def _write_warning_on_busy_machine(measurements: Measurements) -> Iterator[str]:
    runs = set(measurements.frame["run_id"])
    busy_percent = [
        facts.get(f"cpu_busy_percent_{when}") or 0.0
        for run_id, facts in measurements.environment.items()
        for when in ("before", "after")
        if run_id in runs
    ]
    if max(busy_percent, default=0.0) > BUSY_PERCENT:
        yield (
            f"Other programs kept the CPU up to {max(busy_percent):.0f} % busy just before or "
            "after a run. A busy CPU slows some configurations more than others. Measure again on "
            "a quiet machine before you decide."
        )


def _write_warning_on_mixed_rows(measurements: Measurements) -> Iterator[str]:
    for name, values in measurements.differences().items():
        yield f"Because of --mixed, rows that differ in {name} are compared: {'; '.join(values)}."


def _write_warning_on_missing_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for summary in summaries:
        if not summary.scenario.counted_row_count:
            yield f"The trial {summary.scenario.trial} has no results: none of its rows counts."


def _write_warning_on_failures(measurements: Measurements) -> Iterator[str]:
    asked = measurements.frame[~measurements.frame["is_warmup"]]
    failed = sum(n for why, n in measurements.left_out.items() if why not in {WARM_UP, UNGRADABLE})
    if failed > MANY_FAILURES * len(asked):
        yield (
            f"{failed} of {len(asked)} invocations failed, or were cold instead of warm (or the "
            "reverse)."
        )


def _write_warning_on_ungradable_photographs(measurements: Measurements) -> Iterator[str]:
    count = measurements.left_out.get(UNGRADABLE, 0)
    if count:
        yield (
            f"{count} invocation{'s' * (count > 1)} sent a photograph that cannot be graded. Rows "
            "of ungradable photographs do not count, because an answer without a prediction takes "
            "less time."
        )


def _write_warning_on_unknown_prices(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for reason in sorted({s.no_cost for s in summaries if s.no_cost}):
        yield (
            f"{reason} The cost of scenarios that need this price is not known. With --prices, "
            "give a price sheet that has the price."
        )


def _write_warning_on_untrained_models(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for weights in sorted({s.scenario.weights for s in summaries}):
        if weights in _UNTRAINED:
            models = sorted(
                {s.scenario.configuration.model for s in summaries if s.scenario.weights == weights}
            )
            yield (
                f"{' and '.join(models)} {'have' if len(models) > 1 else 'has'} "
                f"{_UNTRAINED[weights]}, so the predicted grades mean nothing. Times and costs are "
                "valid."
            )


def _write_warning_on_unsteady_rows(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    for verdict, problem in _UNSTEADY.items():
        trials = [s.scenario.trial for s in summaries if s.steadiness.verdict is verdict]
        if trials:
            yield (
                f"In {len(trials)} of {len(summaries)} scenarios, {problem}: {', '.join(trials)}."
            )
    checks = [s.steadiness.halves for s in summaries if s.steadiness.halves.has_interval]
    alarms = sum(check.interval_excludes(1.0) for check in checks)
    # By chance, one check in twenty is expected to raise an alarm. One more alarm does not justify
    # a warning.
    if alarms > 1 + MANY_ALARMS * len(checks):
        yield (
            f"In {alarms} of {len(checks)} scenarios, odd-numbered rows differ from even-numbered "
            "rows by more than chance. The intervals are therefore too narrow for comparisons."
        )


def _write_warning_on_small_samples(summaries: Sequence[ScenarioSummary]) -> Iterator[str]:
    smallest = min(
        (s.scenario.counted_row_count for s in summaries if s.scenario.counted_row_count),
        default=BOOTSTRAP_ROWS,
    )
    if smallest < BOOTSTRAP_ROWS:
        yield (
            f"The scenario with the fewest rows has only {smallest} row{'s' * (smallest > 1)} that "
            f"count{'s' * (smallest == 1)}."
        )


def _write_warning_on_unknown_machine(measurements: Measurements) -> Iterator[str]:
    if not measurements.environment:
        yield "The file environment.json is missing, so the machine of these rows is not known."

"""Find out from the measured rows which measurements of a plan are done, and which are missing.

The rows are the only record of progress. If a run is killed at any time, the next run can therefore
continue from the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from drdeploy.study.design.scenarios import OnSchedule
from drdeploy.study.measurements.journal import read_complete_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.measurements.results import ResultsFolder


def count_finished_measurements(
    plan: Plan, results: ResultsFolder
) -> tuple[tuple[Trial, int], ...]:
    """Return the number of finished measurements of each trial of the plan.

    The function may be called while a run is writing rows.
    """
    rows = read_complete_rows(results.measurements)
    return tuple(
        (trial, trial.scenario.n - len(list_missing_sequence_numbers(trial, rows)))
        for trial in plan.trials
    )


def list_unfinished_trials(plan: Plan, rows: Sequence[Measurement]) -> tuple[Trial, ...]:
    """Return the trials that lack measurements, in the order of the plan."""
    return tuple(trial for trial in plan.trials if list_missing_sequence_numbers(trial, rows))


def list_trials_to_measure(plan: Plan, rows: Sequence[Measurement]) -> tuple[Trial, ...]:
    """Return, in planned order, the trials with measurements that are missing or do not count."""
    return tuple(
        trial
        for trial in plan.trials
        if list_missing_sequence_numbers(trial, rows) or find_uncounted_rows(trial, rows)
    )


def list_missing_sequence_numbers(trial: Trial, rows: Iterable[Measurement]) -> tuple[int, ...]:
    """Return the sequence numbers that are still to be measured, in ascending order."""
    settled = find_settled_sequence_numbers(trial, rows)
    return tuple(number for number in range(1, trial.scenario.n + 1) if number not in settled)


def find_settled_sequence_numbers(trial: Trial, rows: Iterable[Measurement]) -> set[int]:
    """Return the sequence numbers that are settled, which means that no further request is needed.

    A sequence number is settled in three cases: the endpoint answered its request, perhaps with an
    error; or the request timed out; or all allowed attempts had the wrong kind of start, for
    example cold instead of warm.
    """
    settled: set[int] = set()
    wrong_starts: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.trial != trial.id or row.is_warmup:
            continue
        if row.outcome == "wrong_start":
            wrong_starts[row.sequence] += 1
        elif row.status or row.outcome == "timeout":
            # A request without a status got no answer at all, because the service was gone. That
            # says nothing about the endpoint, so the sequence number is measured again.
            settled.add(row.sequence)
    most = trial.scenario.attempts_max
    return settled | {number for number, count in wrong_starts.items() if count >= most}


OVERLOAD_OUTCOMES = frozenset({"throttled", "timeout", "unavailable"})
"""The failures that count as results if requests are sent on a schedule.

Such failures show that the endpoint does not keep up with the schedule.
"""


def find_uncounted_rows(trial: Trial, rows: Iterable[Measurement]) -> list[Measurement]:
    """Find the measurements of a trial that do not count, and return the last row of each.

    A measurement does not count if its photograph was refused, if its request failed, or if its
    start was of the wrong kind, for example warm instead of cold. There is one exception: if
    requests are sent on a schedule, a request that fails because of the load does count, because
    the scenario measures how many fail.
    """
    last = {row.sequence: row for row in rows if row.trial == trial.id and not row.is_warmup}
    return [
        row
        for row in last.values()
        if row.outcome != "ok"
        and not (isinstance(trial.scenario, OnSchedule) and row.outcome in OVERLOAD_OUTCOMES)
    ]


def describe_uncounted_measurements(trial: Trial, rows: Iterable[Measurement]) -> str:
    """Return a sentence on the measurements of a trial that do not count; empty if all count."""
    uncounted = find_uncounted_rows(trial, rows)
    if not uncounted:
        return ""
    counted = Counter(row.outcome for row in uncounted)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
    first = next((f"; the first error: {row.error}" for row in uncounted if row.error), "")
    return (
        f"{len(uncounted)} of {trial.scenario.n} measurements "
        f"{'does' if len(uncounted) == 1 else 'do'} not count ({outcomes}){first}. "
        "Run the same command again to repeat what does not count, or add --fresh to measure the "
        "whole study again."
    )


def group_run_ids_by_trial(rows: Iterable[Measurement]) -> dict[str, set[str]]:
    """Return, for each trial id, the ids of the runs that measured the trial."""
    runs: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        runs[row.trial].add(row.run_id)
    return runs

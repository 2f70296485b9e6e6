"""What of a plan has been measured, and what is missing: read from the rows alone.

No other state is kept, so a run that was killed at any moment goes on from its rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.measurements.journal import read_measurements
from drdeploy.study.running.sending import attempts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.measurements.results import Results


@dataclass(frozen=True)
class TrialProgress:
    """How many measurements of a trial are done."""

    trial: Trial
    measured: int


def study_progress(plan: Plan, results: Results) -> tuple[TrialProgress, ...]:
    """Return how far each trial is; works while a run goes on."""
    rows = read_measurements(results.measurements)
    return tuple(
        TrialProgress(trial, trial.scenario.n - len(missing_sequences(trial, rows)))
        for trial in plan.trials
    )


def unfinished_trials(plan: Plan, rows: Sequence[Measurement]) -> tuple[Trial, ...]:
    """Return the trials that lack measurements, in the order of the plan."""
    return tuple(trial for trial in plan.trials if missing_sequences(trial, rows))


def missing_sequences(trial: Trial, rows: Iterable[Measurement]) -> tuple[int, ...]:
    """Return the sequence numbers that are still to be measured, ascending."""
    settled = settled_sequences(trial, rows)
    return tuple(number for number in range(1, trial.scenario.n + 1) if number not in settled)


def settled_sequences(trial: Trial, rows: Iterable[Measurement]) -> set[int]:
    """Return the sequence numbers that need no further request.

    A number is settled when it was measured, whatever the outcome, or when all attempts at the
    right kind of start are used up.
    """
    settled: set[int] = set()
    wrong_starts: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.trial != trial.id or row.is_warmup:
            continue
        if row.outcome == "wrong_start":
            wrong_starts[row.sequence] += 1
        elif row.status or row.outcome == "timeout":
            # Without a status nothing answered at all: the service was gone, which says nothing
            # about the endpoint, so the number is measured again.
            settled.add(row.sequence)
    most = attempts_of(trial.scenario)
    return settled | {number for number, count in wrong_starts.items() if count >= most}


def runs_by_trial(rows: Iterable[Measurement]) -> dict[str, set[str]]:
    """Return the ids of the runs that measured each trial."""
    runs: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        runs[row.trial].add(row.run_id)
    return runs

"""What of a trial has been measured, told from its rows alone."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from drdeploy.files import sha256_of
from drdeploy.study.running.sending import attempts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.study.design.plan import Trial
    from drdeploy.study.measurements.measurement import Measurement

ENDPOINT_NAME_MAX = 63
"""Characters (API reference, ``CreateEndpoint``)."""


def settled_sequences(trial: Trial, rows: Iterable[Measurement]) -> set[int]:
    """Sequence numbers that need no further request.

    Measured, whatever came of it; or given up after its attempts at the right start.  No
    answer from anywhere (status 0) says nothing of the endpoint and is measured again.
    """
    settled: set[int] = set()
    wrong: dict[int, int] = defaultdict(int)
    for row in rows:
        if row.trial != trial.id or row.is_warmup:
            continue
        if row.outcome == "wrong_start":
            wrong[row.sequence] += 1
        elif row.status or row.outcome == "timeout":
            settled.add(row.sequence)
    given_up = {number for number, count in wrong.items() if count >= attempts_of(trial.scenario)}
    return settled | given_up


def missing_sequences(trial: Trial, rows: Iterable[Measurement]) -> tuple[int, ...]:
    """Sequence numbers that are still to be measured, ascending."""
    settled = settled_sequences(trial, rows)
    return tuple(number for number in range(1, trial.scenario.n + 1) if number not in settled)


def runs_by_trial(rows: Iterable[Measurement]) -> dict[str, set[str]]:
    """Which runs measured each trial."""
    runs: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        runs[row.trial].add(row.run_id)
    return runs


def endpoint_name(trial: Trial) -> str:
    """The same for the same trial, so that a later run finds what an earlier one left."""
    digest = sha256_of(f"{trial.study}/{trial.id}".encode())[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"drdeploy-{trial.study}-{trial.id}")
    return f"{readable[: ENDPOINT_NAME_MAX - 9].strip('-')}-{digest}"

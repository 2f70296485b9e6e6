"""Show the progress of a study's run on a terminal: one bar, and one line per trial."""

from __future__ import annotations

from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from drdeploy.errors import EndpointError
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.measurement import Measurement


class LiveProgress:
    """Draws a bar for the trial that is measured, and prints a line for each that is over."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._trials = [trial.id for trial in plan.trials]
        self._task = self._progress.add_task("preparing", total=None)
        self._latencies_s: list[float] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw nothing while a question waits for its answer: the bar would overwrite it."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Begin a bar anew for the next trial."""
        self._latencies_s.clear()
        position = f"{self._trials.index(trial.id) + 1}/{len(self._trials)}"
        self._progress.reset(self._task, total=missing, description=f"{position} {trial.id}")

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """Advance the bar, unless the row is a warm-up or is measured again."""
        del trial
        if measurement.is_warmup or measurement.outcome == "wrong_start":
            return
        self._progress.advance(self._task)
        if measurement.outcome == "ok":
            self._latencies_s.append(measurement.total_latency_s)

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Print the trial's median latency, or what went wrong."""
        if error:
            self.note(f"{trial.id}: {error}")
        elif self._latencies_s:
            self.note(
                f"{trial.id}: median {median(self._latencies_s):.3f} s "
                f"(n = {len(self._latencies_s)})"
            )
        else:
            self.note(f"{trial.id}: no answer was counted")

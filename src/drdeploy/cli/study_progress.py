"""Show the progress of a study's run on a terminal: one bar, and one line per trial."""

from __future__ import annotations

from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from drdeploy.errors import escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from drdeploy.errors import EndpointError
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.measurement import Measurement


class LiveProgress(Progress):
    """Draws a progress bar for the current trial, and prints a line for each finished trial."""

    def __init__(self, plan: Plan, console: Console) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        super().__init__(TextColumn("{task.description}"), *columns, console=console)
        self._ids = [trial.id for trial in plan.trials]
        self._task = self.add_task("preparing", total=None)
        self._latencies_s: list[float] = []

    @contextmanager
    def pause_drawing(self) -> Iterator[None]:
        """Hide the progress bar while the user answers a question."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def note(self, text: str) -> None:
        """Print a line above the progress bar."""
        self.console.print(
            escape_control_characters(text), markup=False, highlight=False, soft_wrap=True
        )

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Start a new progress bar for the next trial."""
        self._latencies_s.clear()
        position = f"{self._ids.index(trial.id) + 1}/{len(self._ids)}"
        self.reset(self._task, total=missing, description=f"{position} {trial.id}")

    def row_recorded(self, trial: Trial, measurement: Measurement) -> None:
        """Advance the bar, unless another request is sent for the same measurement.

        A warm-up is no measurement. After a cold start in a trial of warm starts, or a warm start
        in a trial of cold starts, the request is sent again.
        """
        del trial
        if measurement.is_warmup or measurement.outcome == "wrong_start":
            return
        self.advance(self._task)
        if measurement.outcome == "ok":
            self._latencies_s.append(measurement.total_latency_s)

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Print the trial's median latency, or the error that ended the trial."""
        if error:
            self.note(f"{trial.id}: {error}")
        elif self._latencies_s:
            self.note(
                f"{trial.id}: median {median(self._latencies_s):.3f} s "
                f"(n = {len(self._latencies_s)})"
            )
        else:
            self.note(f"{trial.id}: no measurement counts")

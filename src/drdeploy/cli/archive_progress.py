"""Show the progress of ``drdeploy archive grade``: a bar on a terminal, otherwise lines."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from drdeploy.cli.console import err, print_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINES_EVERY = 20
"""How many lines of progress are printed in all if the output is not a terminal."""


@contextmanager
def grading_progress(total: int, finished: int) -> Iterator[Callable[[int], None]]:
    """Show how many photographs are graded; yield a function that adds newly graded ones."""
    progress = Progress(
        TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip
    with progress:
        task = progress.add_task("grading", total=total, completed=finished)
        lines = _ProgressLines(total, finished, lambda number: progress.advance(task, number))
        yield lines.advance


class _ProgressLines:
    """Counts photographs, and prints a line now and then if the output is not a terminal."""

    def __init__(self, total: int, finished: int, draw: Callable[[int], None]) -> None:
        self._total = total
        self._finished = finished
        self._draw = draw

    def advance(self, photographs: int) -> None:
        before = self._finished * LINES_EVERY // self._total
        self._finished += photographs
        self._draw(photographs)
        if not err.is_terminal and self._finished * LINES_EVERY // self._total > before:
            print_line(f"photographs graded: {self._finished:,} of {self._total:,}", to=err)

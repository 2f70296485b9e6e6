"""Write the results of a benchmark: ``NAME.csv``, ``NAME-*.svg`` and ``NAME.md``."""

from __future__ import annotations

import csv
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from drdeploy.pages.style import BLUE, GREY, INK, ORANGE, STYLE
from drdeploy.study.measurements.environment import collect_host_facts, measure_cpu_busy_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.statistics.estimate import Estimate
    from harness.options import Options

NOTICE = "Research use, not a medical device."
COLOURS = (BLUE, ORANGE, GREY)


@dataclass(frozen=True)
class Target:
    """A claim that a benchmark tests, and whether the measurement confirms it.

    Attributes:
        claim: The claim, as a sentence.
        is_met: Whether the claim counts as true. If there is an interval, the claim must be true
            for the whole interval, unless the page says otherwise.
        found: What was measured, as text.
    """

    claim: str
    is_met: bool
    found: str


def at_least(claim: str, estimate: Estimate, target: float, found: str) -> Target:
    """Return a target that is met if an estimate is at least the given number.

    If the estimate has an interval, the lower end of the interval must be at least this number.
    """
    low = estimate.low if estimate.low is not None else estimate.value
    return Target(claim, low is not None and low >= target, found)


def at_most(claim: str, estimate: Estimate, target: float, found: str) -> Target:
    """Return a target that is met if an estimate is at most the given number.

    If the estimate has an interval, the upper end of the interval must be at most this number.
    """
    high = estimate.high if estimate.high is not None else estimate.value
    return Target(claim, high is not None and high <= target, found)


@dataclass
class Page:
    """Collects the results of a benchmark while it runs, and writes them at the end.

    Attributes:
        name: Name of the files, without their suffixes.
        title: Title of the page.
        introduction: What was compared, and how.
        options: Command-line options.
        rows: The rows of ``NAME.csv``, which hold everything that was measured.
        targets: The targets that were tested.
    """

    name: str
    title: str
    introduction: str
    options: Options
    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _busy_before: float = field(default_factory=measure_cpu_busy_percent)

    def __post_init__(self) -> None:
        self.options.out.mkdir(parents=True, exist_ok=True)

    def text(self, text: str) -> None:
        """Add a paragraph or a heading, and print it."""
        self._parts.append(text)
        print(f"\n{text}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table, and print it."""
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
        self.text(text)

    def bar_plot(
        self, name: str, title: str, unit: str, bars: Sequence[tuple[str, Estimate, int]]
    ) -> None:
        """Add a bar plot with intervals; each bar has a label, an estimate and a colour."""
        with mpl.rc_context(STYLE | {"axes.grid.axis": "x"}):
            figure = Figure(figsize=(7, 0.8 + 0.26 * len(bars)))
            axes = figure.subplots()
            for place, (_, estimate, colour) in enumerate(bars):
                value = estimate.value or 0.0
                axes.barh(place, value, color=COLOURS[colour % len(COLOURS)], height=0.7)
                if estimate.low is not None and estimate.high is not None:
                    axes.plot([estimate.low, estimate.high], [place, place], color=INK, linewidth=1)
            axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
            axes.invert_yaxis()
            axes.set_xlabel(unit)
            axes.set_title(title, loc="left")
            self._save(figure, name, title)

    def line_plot(
        self,
        name: str,
        title: str,
        axes_named: tuple[str, str],
        lines: Sequence[tuple[str, Sequence[float], Sequence[float]]],
        *,
        is_log: bool = False,
    ) -> None:
        """Add a line plot; each line has a label, x values and y values."""
        # The labels at the ticks of a logarithmic axis are formulas.
        with mpl.rc_context({**STYLE, "text.parse_math": is_log}):
            figure = Figure(figsize=(7, 3.4))
            axes = figure.subplots()
            for place, (label, x, y) in enumerate(lines):
                axes.plot(x, y, marker="osv^Dx*+"[place % 8], label=label, linewidth=1.2)
            axes.set_xlabel(axes_named[0])
            axes.set_ylabel(axes_named[1])
            if is_log:
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
                axes.set_xticks(lines[0][1], [f"{x:g}" for x in lines[0][1]])
            axes.set_title(title, loc="left")
            axes.legend(fontsize=8)
            self._save(figure, name, title)

    def _save(self, figure: Figure, name: str, title: str) -> None:
        file = f"{self.name}-{name}.svg"
        figure.savefig(self.options.out / file, format="svg", metadata={"Date": None})
        self._parts.append(f"![{title}]({file})")

    def finish(self) -> int:
        """Write the page and the CSV file, and print which targets were met.

        Returns:
            The exit status: 1 if a target was missed, except in a smoke run.
        """
        self._write_rows()
        verdicts = [
            f"- **{'met' if target.is_met else 'missed'}**: {target.claim}: {target.found}"
            for target in self.targets
        ]
        if verdicts:
            print("\n" + "\n".join(verdicts))
        parts = [f"# {self.title}", self.introduction.strip(), self._facts()]
        if verdicts:
            parts += ["## Targets", "\n".join(verdicts)]
        text = "\n\n".join([*parts, *self._parts]) + "\n"
        page = self.options.out / f"{self.name}.md"
        page.write_text(text, encoding="utf-8")
        print(f"\nwritten: {page}")
        return 0 if self.options.is_smoke or all(target.is_met for target in self.targets) else 1

    def _write_rows(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with (self.options.out / f"{self.name}.csv").open(
            "w", newline="", encoding="utf-8"
        ) as file:
            writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def _facts(self) -> str:
        facts = collect_host_facts()
        versions = ", ".join(f"{name} {value}" for name, value in facts["packages"].items())
        rounds = self.options.budget.rounds
        noun = "one round" if rounds == 1 else f"{rounds} interleaved rounds"
        before, after = self._busy_before, measure_cpu_busy_percent()
        return (
            f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores of "
            f"{facts['cpu_model']}, with {platform.system()} {platform.release().split('-')[0]}, "
            f"Python {facts['python']}, {versions}.  The benchmark ran in {noun}.  Brackets give "
            f"95 % intervals.  The processor was {before:.0f} % busy before the benchmark and "
            f"{after:.0f} % busy after it.  {NOTICE}"
        )


def rounded(value: float) -> float:
    """Round a number to six significant digits, which is precise enough for the CSV file."""
    return float(f"{value:.6g}")

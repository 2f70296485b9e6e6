"""The command-line options that every benchmark has."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "benchmarks"
BUILD = ROOT / "build" / "benchmarks"


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        rounds: How often everything is measured. With fewer than six rounds, the results have no
            intervals.
        effort: Factor by which a round's number of calls and its duration are multiplied. It is 1
            for a full run.
    """

    rounds: int
    effort: float

    def calls(self, full: int) -> int:
        """Return how many calls to make in one round, given the number for a full run."""
        return max(1, round(full * self.effort))

    def seconds(self, full: float) -> float:
        """Return how many seconds one round sends requests, given the seconds of a full run."""
        return max(0.3, full * self.effort)


FULL, QUICK, SMOKE = Budget(15, 1.0), Budget(7, 0.4), Budget(1, 0.02)


@dataclass(frozen=True)
class Options:
    """The options of one run.

    Attributes:
        budget: How much is measured.
        is_quick: Whether fewer rounds and calls are made.
        is_smoke: Whether the run only tests that the benchmark works. Such a run has one round, and
            a missed target is no failure.
        out: Folder for the results.
        more: All parsed options, including those that only this benchmark has.
    """

    budget: Budget
    is_quick: bool
    is_smoke: bool
    out: Path
    more: argparse.Namespace


def parser_for(documentation: str) -> argparse.ArgumentParser:
    """Return a parser for the options of all benchmarks; a benchmark may add more options."""
    parser = argparse.ArgumentParser(description=documentation.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="fewer rounds and calls")
    size.add_argument("--smoke", action="store_true", help="one round, no target is required")
    parser.add_argument("--out", type=Path, help="folder for the results [docs/benchmarks, or"
                        " build/benchmarks/results if --quick or --smoke]")  # fmt: skip
    return parser


def read_options(parser: argparse.ArgumentParser) -> Options:
    """Parse the command line."""
    given = parser.parse_args()
    is_full = not (given.quick or given.smoke)
    budget = SMOKE if given.smoke else QUICK if given.quick else FULL
    out = given.out or (RESULTS if is_full else BUILD / "results")
    return Options(budget, given.quick, given.smoke, out, given)

"""Check the simulation of a serverless endpoint against measurements on the local service.

The study ``open-loop`` sends requests at scheduled times, without waiting for earlier answers. For
each of its trials, the simulation gets the same arrival times. It draws the latency of each request
from the latencies that the study measured on warm requests and on cold starts. Two simulated
figures are compared with the measured ones: the share of cold starts, and the p95 of the requests
that were answered. The simulation is random, so it is run with many seeds. The median of these runs
is compared, and their range is printed.

    drdeploy study run studies/open-loop.toml
    python benchmarks/simulation_against_service.py results/open-loop [--smoke]

The exit status is 1 if a share of cold starts differs from the measured one by more than 5
percentage points, or a p95 by more than 15 %.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from drdeploy.study.measurements.load import Measurements, load_results_folder
from drdeploy.study.recommendation.configurations import (
    MeasuredConfiguration,
    collect_measured_configurations,
)
from drdeploy.study.recommendation.simulation.outcome import SimulatedStart
from drdeploy.study.recommendation.simulation.serverless import (
    SimulatedScaling,
    simulate_serverless,
)
from drdeploy.study.recommendation.traffic import Arrivals

if TYPE_CHECKING:
    from collections.abc import Iterable

SEEDS = 200
SMOKE_SEEDS = 3
COLD_POINTS = 5.0
P95_RATIO = 0.15


@dataclass(frozen=True)
class TrialFigures:
    """The figures of one trial that are compared: either measured, or simulated with one seed."""

    cold_share: float
    p95_s: float
    throttled: int


def main() -> int:
    """Compare every open-loop trial with the simulation, and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/open-loop"))
    parser.add_argument("--idle", type=float, default=1.0, help="idle_s of the study")
    parser.add_argument("--smoke", action="store_true", help="three seeds, nothing is required")
    options = parser.parse_args()
    seeds = range(SMOKE_SEEDS if options.smoke else SEEDS)
    if not options.results.exists():
        print(f"nothing to compare in {options.results}: run the study open-loop first")
        return 0
    measurements = load_results_folder(options.results)
    by_configuration = {
        one.configuration: one for one in collect_measured_configurations(measurements)
    }
    print("trial | n | cold: measured, simulated | p95: measured, simulated | refused: both")
    is_close = [
        compare(str(trial), rows, measured_on, options.idle, seeds)
        for trial, rows in open_loops(measurements)
        if (measured_on := configuration_of(rows, by_configuration.values()))
    ]
    print(f"{sum(is_close)} of {len(is_close)} trials within 5 points and 15 %")
    return 0 if is_close and (options.smoke or all(is_close)) else 1


def open_loops(measurements: Measurements) -> list[tuple[object, pd.DataFrame]]:
    """Return the open-loop trials and their rows, sorted by the trial's name."""
    frame = measurements.frame
    return list(frame[frame["scenario"] == "open-loop"].groupby("trial", sort=True))


def configuration_of(
    rows: pd.DataFrame, measured_on: Iterable[MeasuredConfiguration]
) -> MeasuredConfiguration | None:
    """Return the configuration on which a trial was measured, with its warm and cold rows."""
    first = rows.iloc[0]
    return next(
        (
            one
            for one in measured_on
            if one.configuration.memory_mb == first["memory_mb"]
            and one.configuration.model == first["model"]
        ),
        None,
    )


def compare(
    trial: str, rows: pd.DataFrame, measured_on: MeasuredConfiguration, idle_s: float, seeds: range
) -> bool:
    """Simulate a trial, print its line, and return whether the simulation is close enough."""
    asked = rows[~rows["is_warmup"]]
    measured = TrialFigures(
        cold_share=float((asked.loc[asked["outcome"] == "ok", "start"] == "cold").mean()),
        p95_s=p95_of(asked.loc[asked["outcome"] == "ok", "total_latency_s"]),
        throttled=int((asked["outcome"] == "throttled").sum()),
    )
    arrivals, warm_ups = arrivals_of(rows)
    simulated = [
        simulate(
            arrivals, warm_ups, measured_on, SimulatedScaling(concurrency_of(trial), idle_s), seed
        )
        for seed in seeds
    ]
    cold = np.array([one.cold_share for one in simulated]) * 100
    p95 = np.array([one.p95_s for one in simulated])
    refused = np.median([one.throttled for one in simulated])
    off_points = abs(np.median(cold) - measured.cold_share * 100)
    off_ratio = abs(np.median(p95) / measured.p95_s - 1)
    print(
        f"{trial} | {len(asked)} | {measured.cold_share:.1%}, {np.median(cold):.1f} % "
        f"({cold.min():.1f} to {cold.max():.1f}), off {off_points:.1f} points | "
        f"{measured.p95_s:.3f}, {np.median(p95):.3f} ({np.quantile(p95, 0.025):.3f} to "
        f"{np.quantile(p95, 0.975):.3f}), off {off_ratio:.0%} | "
        f"{measured.throttled}, {refused:.0f}"
    )
    return bool(off_points <= COLD_POINTS and off_ratio <= P95_RATIO)


def arrivals_of(rows: pd.DataFrame) -> tuple[Arrivals, int]:
    """Return when a trial's requests were due, and how many warm-up requests came first."""
    due = pd.to_datetime(rows["scheduled_at"]).to_numpy(dtype="datetime64[ns]")
    order = np.argsort(due, kind="stable")
    seconds = (due[order] - due[order][0]) / np.timedelta64(1, "s")
    warm_ups = int(rows["is_warmup"].sum())
    return Arrivals(seconds, float(seconds[-1]) + 1, 0.0, len(seconds), "measured"), warm_ups


def concurrency_of(trial: str) -> int:
    """Return the maximum concurrency that a trial's name states, for example 2 for ``-c2``."""
    parts = [part[1:] for part in trial.split("-") if part[:1] == "c" and part[1:].isdecimal()]
    return int(parts[0]) if parts else 1


def simulate(
    arrivals: Arrivals,
    warm_ups: int,
    measured_on: MeasuredConfiguration,
    scaling: SimulatedScaling,
    seed: int,
) -> TrialFigures:
    """Simulate a trial with one seed; return its figures without the warm-up requests."""
    outcome = simulate_serverless(arrivals, measured_on.service_times, scaling, seed=seed)
    latency, starts = outcome.latency_s[warm_ups:], outcome.starts[warm_ups:]
    answered = starts != SimulatedStart.THROTTLED
    return TrialFigures(
        cold_share=float((starts[answered] == SimulatedStart.COLD).mean()),
        p95_s=p95_of(latency[answered]),
        throttled=int((~answered).sum()),
    )


def p95_of(latencies_s: object) -> float:
    """Return the 95th percentile of latencies, in seconds."""
    return float(np.quantile(np.asarray(latencies_s), 0.95))


if __name__ == "__main__":
    sys.exit(main())

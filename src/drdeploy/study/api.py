"""The functions of ``import drdeploy`` that run a study and decide from what it measured.

What they need is imported when they are called.  So importing this module costs nothing, and a
call without the extra ``study`` says that it is missing.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import requires_extra

if TYPE_CHECKING:
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.design.study import Study
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import Assumptions, Requirements
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
    from drdeploy.study.running.runner import ProgressReporter, RunOutcome
    from drdeploy.study.running.target import Isolation

log = logging.getLogger("drdeploy.study")
EXTRA = "study"


def run_study(
    study: Study | Path | str,
    results: Path | str,
    *,
    only: str | None = None,
    seed: int | None = None,
    photographs: Path | str | None = None,
    weights: Path | str | None = None,
    endpoint_url: str | None = None,
    isolation: Isolation = "auto",
    fresh: bool = False,
    progress: ProgressReporter | None = None,
) -> RunOutcome:
    """Run a study on this machine, or what is missing of it.

    ::

        outcome = run_study("quick", "results/quick")
        outcome.finished, outcome.problems

    Every answer is a row on disk before the next request is sent.  After an interruption, the
    same call measures what is missing.  On AWS, where endpoints cost money, run a study with
    ``drdeploy study run --target aws``: it shows the plan with its cost, and asks.

    Args:
        study: A :class:`~drdeploy.Study`, its TOML file, or the name of a study that comes with
            this project.
        results: Folder of the rows.  What it holds is kept and not measured again.
        only: Run the trials whose id contains this, or matches this pattern.
        seed: Seed of arrival times, the order of photographs and random weights; the study's own
            if None.
        photographs: A folder of photographs to send; the example photographs if None, or
            synthetic ones where there are none.
        weights: A folder of ImageNet weights as Keras publishes them, for architectures that have
            no trained ones; random weights if None.
        endpoint_url: Address of a running local service; if None, one is started and stopped.
        isolation: What that service runs endpoints in: ``container``, ``process``, or ``auto``,
            which takes containers where a container engine answers.
        fresh: Move earlier rows of the folder aside and start anew.
        progress: Receives what happens; if None, the log ``drdeploy.study`` does.

    Raises:
        StudyError: The study cannot be planned, or the folder holds rows of another one.
        EndpointError: The local service does not start or does not answer.
        MissingExtra: The extra ``study`` is not installed.
    """
    with requires_extra(EXTRA, "A study"):
        from drdeploy.study.design.plan import make_plan
        from drdeploy.study.design.study import Study
        from drdeploy.study.measurements.results import Results
        from drdeploy.study.running.models import check_own_artifacts
        from drdeploy.study.running.session import RunOptions, run_plan

        chosen = study if isinstance(study, Study) else Study.load(study)
        plan = make_plan(chosen).only(only)
        check_own_artifacts(plan.trials)
        options = RunOptions(
            results=Results(Path(results)),
            seed=chosen.seed if seed is None else seed,
            images=None if photographs is None else Path(photographs),
            weights=None if weights is None else Path(weights),
            endpoint_url=endpoint_url,
            isolation=isolation,
            fresh=fresh,
        )
        return run_plan(plan, options, progress or LoggedProgress())


def load_measurements(results: Path | str) -> Measurements:
    """Read and check what a study measured.

    ::

        measurements = load_measurements("results/quick")
        measurements.counted  # a pandas DataFrame of the rows that count
        measurements.left_out  # how many do not, and why

    Args:
        results: A results folder, its ``measurements.csv``, or ``thesis-2023`` for the rows of
            the published study.

    Raises:
        AnalysisError: There are no measurements, or a value in them makes no sense.
        MissingExtra: The extra ``study`` is not installed.
    """
    with requires_extra(EXTRA, "Reading measurements"):
        from drdeploy.study.thesis.raw_rows import load_results

        return load_results(Path(results))


def recommend(
    measurements: Measurements | Path | str,
    traffic: Traffic | Arrivals | float,
    requirements: Requirements | None = None,
    *,
    assumptions: Assumptions | None = None,
    prices: PriceSheet | Path | str | None = None,
    seed: int = 2023,
    allow_mixed: bool = False,
) -> Decision:
    """Choose the cheapest way of hosting that meets every requirement.

    ::

        decision = recommend("results/quick", 50_000, Requirements(p95_s=3.0))
        decision.answer  # in sentences
        decision.winner  # None where nothing meets the requirements

    The traffic is simulated on every configuration that was measured, with every policy against
    cold starts, and priced.

    Args:
        measurements: What :func:`load_measurements` returns, or what it takes.
        traffic: A :class:`~drdeploy.Traffic`, or the photographs a month of a clinic.
        requirements: What an option must meet.  If None, the cheapest wins.
        assumptions: What no measurement says, for example when an idle container is removed.
        prices: A price sheet, or its TOML file; the packaged one if None.
        seed: Seed of arrivals, simulation and bootstrap.
        allow_mixed: Accept rows of different platforms or machines.

    Raises:
        AnalysisError: No configuration has the rows that a simulation needs, or rows were
            measured under different conditions.
        UnknownPrice: The sheet prices none of the options.
        MissingExtra: The extra ``study`` is not installed.
    """
    with requires_extra(EXTRA, "A recommendation"):
        from drdeploy.hosting.sagemaker import PriceSheet
        from drdeploy.study.measurements.load import Measurements
        from drdeploy.study.recommendation.decide import decide
        from drdeploy.study.recommendation.requirements import (
            Assumptions,
            DecisionInputs,
            Requirements,
        )
        from drdeploy.study.recommendation.traffic.arrivals import Traffic

        if not isinstance(measurements, Measurements):
            measurements = load_measurements(measurements)
        if not isinstance(prices, PriceSheet):
            prices = PriceSheet.load(None if prices is None else Path(prices))
        if isinstance(traffic, int | float):
            traffic = Traffic(requests_per_month=traffic)
        inputs = DecisionInputs(
            traffic=traffic,
            required=requirements or Requirements(),
            assumptions=assumptions or Assumptions(),
            seed=seed,
        )
        return decide(measurements, prices, inputs, allow_mixed=allow_mixed)


class LoggedProgress:
    """Reports the progress of a run to the log ``drdeploy.study``."""

    def note(self, text: str) -> None:
        """Log something worth a line."""
        log.info("%s", text)

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Log that a trial begins, and how many measurements it needs."""
        log.info("%s: %d to measure", trial.id, missing)

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """Log a row, at the level ``DEBUG``."""
        log.debug("%s: %s in %.3f s", trial.id, measurement.outcome, measurement.total_latency_s)

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Log that a trial is over, and what kept it from being finished."""
        if error is None:
            log.info("%s: measured", trial.id)
        else:
            log.warning("%s: not finished: %s", trial.id, error)

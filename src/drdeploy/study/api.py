"""The functions of the package ``drdeploy`` that run a study and recommend a way of hosting.

Each function imports pandas and other packages only when it is called, so importing this module is
fast. If the extra ``study`` is not installed, a call raises an error that says so.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import turn_import_error_into_missing_extra

if TYPE_CHECKING:
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.local.options import IsolationChoice
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.design.study import Study
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.recommendation.decision import Decision
    from drdeploy.study.recommendation.requirements import Assumptions, Requirements
    from drdeploy.study.recommendation.traffic import Arrivals, Traffic
    from drdeploy.study.running.runner import ProgressReporter, RunOutcome

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
    isolation: IsolationChoice = "auto",
    fresh: bool = False,
    own_names: bool = False,
    progress: ProgressReporter | None = None,
) -> RunOutcome:
    """Run a study on this machine, or continue an interrupted one.

    ::

        outcome = run_study("quick", "results/quick")
        outcome.finished, outcome.problems

    Each answer is written to disk as a row at once. If you repeat the same call, only what is
    missing is measured. The rows that count are kept. Measurements whose rows do not count, for
    example because the request failed, are repeated. To run a study on AWS, use
    ``drdeploy study run --target aws``, which shows the cost and asks for approval.

    Args:
        study: A :class:`~drdeploy.Study`, its TOML file, or the name of a study that comes with
            this project.
        results: The folder for the rows. Rows that are already in the folder are kept.
        only: Run only the trials whose id contains this text, or matches this pattern.
        seed: Seed of arrival times, of the order of photographs and of random weights. If None,
            the seed in the study's file is used.
        photographs: A folder of photographs to send. If None, the example photographs are sent, or
            synthetic photographs if the examples are not installed.
        weights: A folder of ImageNet weights as Keras publishes them, for architectures without
            trained weights. If None, these architectures get random weights.
        endpoint_url: Address of a running local service; if None, a local service is started for
            the run and stopped after it.
        isolation: How the local service runs endpoints: ``container``, ``process`` or ``auto``.
            ``auto`` means containers if a container engine answers and can build the images,
            otherwise processes.
        fresh: Move earlier rows of the folder aside and start over.
        own_names: Name photographs in the rows by their file names, not by a keyed hash.
        progress: Receives each event of the run; if None, the events go to the log
            ``drdeploy.study``.

    Raises:
        StudyError: The study cannot be planned, or the folder holds rows of another study.
        EndpointError: The local service does not start or does not answer.
        MissingExtra: The extra ``study`` is not installed.
    """
    with turn_import_error_into_missing_extra(EXTRA, "A study"):
        from drdeploy.photograph_names import PhotographNames
        from drdeploy.study.design.plan import make_plan
        from drdeploy.study.design.study import Study
        from drdeploy.study.measurements.results import ResultsFolder
        from drdeploy.study.running.models import check_named_artifacts
        from drdeploy.study.running.session import RunOptions, run_plan

        chosen = study if isinstance(study, Study) else Study.load(study)
        plan = make_plan(chosen).select_trials_by_id(only)
        check_named_artifacts(plan.trials)
        options = RunOptions(
            results=ResultsFolder(Path(results)),
            seed=chosen.seed if seed is None else seed,
            images=None if photographs is None else Path(photographs),
            weights=None if weights is None else Path(weights),
            endpoint_url=endpoint_url,
            isolation=isolation,
            fresh=fresh,
            names=PhotographNames.choose_file_names_or_hashes(own=own_names),
        )
        return run_plan(plan, options, progress or LoggedProgress())


def load_measurements(results: Path | str) -> Measurements:
    """Read and check the measurements of a study.

    ::

        measurements = load_measurements("results/quick")
        measurements.counted  # a pandas DataFrame of the rows that count
        measurements.left_out  # the number of rows that do not count, for each reason

    Args:
        results: A results folder, its ``measurements.csv``, or ``thesis-2023`` for the rows of the
            study that was published in 2023.

    Raises:
        AnalysisError: There are no measurements, or a row contradicts the schema.
        MissingExtra: The extra ``study`` is not installed.
    """
    with turn_import_error_into_missing_extra(EXTRA, "Reading measurements"):
        from drdeploy.study.published_study.raw_rows import load_results_or_published_study

        return load_results_or_published_study(Path(results))


def recommend(
    measurements: Measurements | Path | str,
    traffic: Traffic | Arrivals | float,
    requirements: Requirements | None = None,
    *,
    assumptions: Assumptions | None = None,
    prices: PriceSheet | Path | str | None = None,
    seed: int = 2023,
    allow_mixed: bool = False,
    as_measured: bool = False,
) -> Decision:
    """Choose the hosting that meets every requirement at the lowest cost.

    ::

        decision = recommend("results/quick", 50_000, Requirements(p95_s=3.0))
        decision.answer  # the answer in sentences
        decision.winner  # None if no option meets the requirements

    For every measured configuration, the traffic is simulated, and the cost is computed. Each way
    to avoid cold starts, such as keep-warm requests, is simulated too. Of the options that cost
    about the same, the simplest to run is chosen.

    Args:
        measurements: Measurements from :func:`load_measurements`, or the path of a results folder.
        traffic: A :class:`~drdeploy.Traffic`, or the number of photographs that a clinic takes in
            a month.
        requirements: What an option must meet. Without requirements, the cheapest option wins.
        assumptions: Values that cannot be measured, for example the time after which an idle
            container is removed.
        prices: A price sheet, or its TOML file. If None, the packaged price sheet is used.
        seed: Seed of the arrivals, the simulation and the bootstrap.
        allow_mixed: Accept rows that were measured on different platforms or machines.
        as_measured: Decide with the latencies that were measured on this machine. By default, the
            latencies on AWS are estimated from them.

    Raises:
        AnalysisError: No configuration has the rows that a simulation needs, or rows were
            measured under different conditions.
        UnknownPrice: No option can be priced, because each needs a price that the sheet lacks.
        InvalidInput: The requirements do not allow the region, or the traffic cannot be simulated.
        MissingExtra: The extra ``study`` is not installed.
    """
    with turn_import_error_into_missing_extra(EXTRA, "A recommendation"):
        from drdeploy.hosting.sagemaker import PriceSheet
        from drdeploy.study.aws_latency.model import fit_transfer_model
        from drdeploy.study.measurements.load import Measurements
        from drdeploy.study.recommendation.decide import choose_cheapest_hosting
        from drdeploy.study.recommendation.requirements import (
            Assumptions,
            DecisionInputs,
            Requirements,
        )
        from drdeploy.study.recommendation.traffic import Traffic

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
        if not as_measured:
            image_gb = inputs.assumptions.image_gb
            model = fit_transfer_model(measurements, image_gb=image_gb, seed=seed)
            inputs = replace(inputs, transfer=model)
        return choose_cheapest_hosting(measurements, prices, inputs, allow_mixed=allow_mixed)


class LoggedProgress:
    """Reports the progress of a run to the log ``drdeploy.study``."""

    def note(self, text: str) -> None:
        """Log a note about the run."""
        log.info("%s", text)

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Log that a trial begins, and how many measurements it needs."""
        log.info("%s: %d to measure", trial.id, missing)

    def row_recorded(self, trial: Trial, measurement: Measurement) -> None:
        """Log a row, at the level ``DEBUG``."""
        log.debug("%s: %s in %.3f s", trial.id, measurement.outcome, measurement.total_latency_s)

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Log that a trial has ended, and the reason if the trial is unfinished."""
        if error is None:
            log.info("%s: measured", trial.id)
        else:
            log.warning("%s: not finished: %s", trial.id, error)

"""Measure a plan's trials, one after the other: host a trial, run its scenario, delete it."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from drdeploy.errors import EndpointError
from drdeploy.files import sha256_of
from drdeploy.hosting.sagemaker import Clock, EndpointDefinition, RealTimeConfig
from drdeploy.study.design.scenarios import Cold, OpenLoop
from drdeploy.study.running.cloudwatch import join_metrics, read_metrics
from drdeploy.study.running.models import artifact_key
from drdeploy.study.running.progress import missing_sequences, runs_by_trial
from drdeploy.study.running.rows import RowBuilder
from drdeploy.study.running.sending import TrialContext, run_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from drdeploy.hosting.sagemaker import Invocation
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.environment import EnvironmentFile
    from drdeploy.study.measurements.journal import Journal
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.running.models import Artifact, ArtifactKey
    from drdeploy.study.running.photographs import Photograph, PhotographSet
    from drdeploy.study.running.sending import ObservedInvocation
    from drdeploy.study.running.target import Target

ENDPOINT_NAME_CHARS = 63
"""SageMaker's limit (API reference, ``CreateEndpoint``)."""


class ProgressReporter(Protocol):
    """Receives the progress of a run, to show or log it."""

    def note(self, text: str) -> None:
        """Report something worth a line."""

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Report that a trial begins, and how many of its measurements are missing."""

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """Report a row that is on disk now."""

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Report that a trial is over; with an error it is unfinished."""


@dataclass(frozen=True)
class TrialInputs:
    """What the trials send, and to which models."""

    artifacts: Mapping[ArtifactKey, Artifact]
    photographs: PhotographSet
    seed: int


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        finished: Ids of trials that are complete now, those of earlier runs among them.
        problems: What went wrong, by trial.
    """

    finished: tuple[str, ...]
    problems: Mapping[str, str]


@dataclass(kw_only=True)
class Runner:
    """Measures what is missing of a plan, and appends each row to the journal."""

    plan: Plan
    target: Target
    inputs: TrialInputs
    journal: Journal
    run_id: str
    progress: ProgressReporter
    clock: Clock = field(default_factory=Clock)
    _uploaded: dict[ArtifactKey, str] = field(default_factory=dict, init=False)
    _used: set[str] = field(default_factory=set, init=False)

    def begin(self, environment: EnvironmentFile, facts: Mapping[str, Any]) -> None:
        """Record the conditions of this run, unless its rows must not be mixed with earlier ones.

        Raises:
            StudyError: Rows of this plan's trials were measured under other conditions.
        """
        facts = {**facts, **self._own_facts()}
        environment.refuse_other_conditions(facts, runs_by_trial(self.journal.read()))
        environment.record(self.run_id, facts)

    def run(self) -> RunOutcome:
        """Measure what is missing; a trial that cannot be hosted does not stop the others."""
        problems = {}
        for trial in self.plan.trials:
            missing = missing_sequences(trial, self.journal.read())
            if not missing:
                continue
            missing = self._restart_open_loop(trial, missing)
            self.progress.trial_started(trial, len(missing))
            error = self._run_trial(trial, missing)
            self.progress.trial_ended(trial, error)
            self.target.trial_ended(trial)
            if error:
                problems[trial.id] = str(error)
        finished = tuple(trial.id for trial in self.plan.trials if trial.id not in problems)
        return RunOutcome(finished, problems)

    # -- one trial ---------------------------------------------------------------------

    def _restart_open_loop(self, trial: Trial, missing: Sequence[int]) -> tuple[int, ...]:
        """Return what to measure of a trial: all of an open loop that was interrupted.

        Its requests are one arrival process: a queue that built up before the interruption is
        gone afterwards.  Earlier rows stay in the file, and count as warm-up.
        """
        if not isinstance(trial.scenario, OpenLoop) or len(missing) == trial.scenario.n:
            return tuple(missing)
        self.journal.rewrite(
            replace(row, is_warmup=True) if row.trial == trial.id else row
            for row in self.journal.read()
        )
        return tuple(range(1, trial.scenario.n + 1))

    def _run_trial(self, trial: Trial, missing: Sequence[int]) -> EndpointError | None:
        try:
            with self._hosted(trial) as name:
                self._measure(trial, name, missing)
        except EndpointError as err:
            row = self._rows_of(trial).row_of_failed_hosting(str(err), self.clock.now())
            self._keep(trial, row)
            return err
        left = missing_sequences(trial, self.journal.read())
        if left:
            return EndpointError(f"{len(left)} measurements got no answer", where=trial.id)
        return None

    @contextmanager
    def _hosted(self, trial: Trial) -> Iterator[str]:
        """Give the name of the trial's endpoint, which is created and deleted here if need be."""
        provisioned = self.target.endpoints.get(trial.id)
        if provisioned is not None:
            if isinstance(trial.scenario, Cold) and provisioned in self._used:
                # Trials of one configuration share a provisioned endpoint, and the one before
                # left its container warm.
                self.clock.sleep(trial.scenario.interval_s)
            self._used.add(provisioned)
            yield provisioned
            return
        name = endpoint_name(trial)
        hosting = self.target.hosting
        hosting.delete(name)  # a run that was killed had no chance to
        with hosting.deployed(
            self._definition(trial, name), timeout_s=self.target.hosting_timeout_s
        ):
            yield name

    def _definition(self, trial: Trial, name: str) -> EndpointDefinition:
        key = artifact_key(trial)
        if key not in self._uploaded:
            self._uploaded[key] = self.target.hosting.upload_artifact(
                self.inputs.artifacts[key].path, bucket=self.target.bucket
            )
        return EndpointDefinition(
            name=name,
            image=trial.image.tag,
            model_data_url=self._uploaded[key],
            config=trial.endpoint,
            role_arn=self.target.role_arn,
            environment=trial.image.environment,
        )

    def _measure(self, trial: Trial, name: str, missing: Sequence[int]) -> None:
        hosting, rows = self.target.hosting, self._rows_of(trial)

        def send(photograph: Photograph) -> Invocation:
            return hosting.invoke(name, photograph.data, content_type=photograph.content_type)

        def record(observed: ObservedInvocation) -> None:
            self._keep(trial, rows.row_of(observed))
            # No status means that the connection broke.  An endpoint that breaks connections is
            # measured on; if the service itself is gone, `exists` raises and the trial ends.
            is_broken = observed.outcome == "unavailable" and not observed.invocation.status
            if is_broken and not hosting.exists(name):
                raise EndpointError("The endpoint is gone", where=name)

        seed = f"{self.inputs.seed}/{trial.id}"
        context = TrialContext(
            send=send,
            record=record,
            photographs=self.inputs.photographs.for_trial(seed),
            clock=self.clock,
            seed=seed,
            is_always_on=isinstance(trial.endpoint, RealTimeConfig),
        )
        try:
            run_scenario(trial.scenario, missing, context)
        except BaseException:
            # A local service takes its metrics with it, so they are read now or never.
            with suppress(EndpointError):
                self._join_metrics(trial, name)
            raise
        self.clock.sleep(self.target.metrics_delay_s)
        self._join_metrics(trial, name)

    def _join_metrics(self, trial: Trial, name: str) -> None:
        rows = self.journal.read()
        sharing = {one for one, endpoint in self.target.endpoints.items() if endpoint == name}
        sharing.add(trial.id)
        keeps_metrics = self.target.platform == "aws"  # those of earlier runs too
        mine = [
            row
            for row in rows
            if row.trial in sharing and (keeps_metrics or row.run_id == self.run_id)
        ]
        if not mine:
            return
        period_s = self.target.metrics_period_s
        points = read_metrics(
            self.target.hosting, name, mine, now=self.clock.now(), period_s=period_s
        )
        joined = join_metrics(mine, points, period_s=period_s)
        later = dict(zip(map(id, mine), joined, strict=True))
        self.journal.rewrite([later.get(id(row), row) for row in rows])

    def _keep(self, trial: Trial, row: Measurement) -> None:
        self.journal.append(row)
        self.progress.measured(trial, row)

    def _rows_of(self, trial: Trial) -> RowBuilder:
        return RowBuilder(
            trial=trial,
            manifest=self.inputs.artifacts[artifact_key(trial)].manifest,
            platform=self.target.platform,
            isolation=self.target.isolation,
            run_id=self.run_id,
        )

    def _own_facts(self) -> dict[str, Any]:
        artifacts = self.inputs.artifacts
        return {
            "platform": self.target.platform,
            "isolation": self.target.isolation,
            "seed": self.inputs.seed,
            "photographs": self.inputs.photographs.source,
            "trials": {
                trial.id: {
                    "definition": trial.fingerprint,
                    "artifact": artifacts[artifact_key(trial)].sha256,
                    "operating_points": _clinical_thresholds(artifacts[artifact_key(trial)]),
                }
                for trial in self.plan.trials
            },
        }


def endpoint_name(trial: Trial) -> str:
    """Return the name of a trial's endpoint: always the same, so that leftovers are found."""
    digest = sha256_of(f"{trial.study}/{trial.id}".encode())[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"drdeploy-{trial.study}-{trial.id}")
    return f"{readable[: ENDPOINT_NAME_CHARS - 9].strip('-')}-{digest}"


def _clinical_thresholds(artifact: Artifact) -> list[Any]:
    """Return the decision thresholds that an artifact fixes, with the sensitivity of each."""
    clinical = artifact.manifest.clinical
    return [] if clinical is None else [msgspec.to_builtins(p) for p in clinical.operating_points]

"""Host each trial, run its scenario, delete what was made.  Picks up where a run was broken off."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from drdeploy.errors import EndpointError
from drdeploy.hosting.sagemaker import Clock, EndpointDefinition, RealTimeConfig
from drdeploy.study.design.scenarios import Cold, OpenLoop
from drdeploy.study.running.cloudwatch import join_metrics, read_metrics
from drdeploy.study.running.models import artifact_key
from drdeploy.study.running.progress import endpoint_name, missing_sequences, runs_by_trial
from drdeploy.study.running.rows import RowMaker
from drdeploy.study.running.sending import TrialContext, run_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from drdeploy.hosting.sagemaker import Invocation
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.environment import EnvironmentFile
    from drdeploy.study.measurements.journal import Journal
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.running.models import Artifact, Key
    from drdeploy.study.running.photographs import Photograph, PhotographSet
    from drdeploy.study.running.sending import ObservedInvocation
    from drdeploy.study.running.target import Target


class ProgressReporter(Protocol):
    """Is told how a run goes."""

    def trial_started(self, trial: Trial, missing: int) -> None:
        """A trial begins; so many of its measurements are missing."""

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """A row has been kept."""

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """A trial is over; with an error it is unfinished."""


@dataclass(frozen=True)
class TrialInputs:
    """What the trials use."""

    artifacts: Mapping[Key, Artifact]
    album: PhotographSet
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


class Runner:
    """Runs a plan's trials, one after the other."""

    def __init__(
        self,
        *,
        plan: Plan,
        target: Target,
        supplies: TrialInputs,
        journal: Journal,
        run_id: str,
        observer: ProgressReporter,
        clock: Clock | None = None,
    ) -> None:
        self.plan = plan
        self.target = target
        self.supplies = supplies
        self.journal = journal
        self.run_id = run_id
        self.observer = observer
        self.clock = clock or Clock()
        self._uploaded: dict[Key, str] = {}
        self._used: set[str] = set()

    def begin(self, environment: EnvironmentFile, facts: Mapping[str, Any]) -> None:
        """Note the conditions, after refusing to mix them with others.

        Raises:
            StudyError: Rows of this plan's trials were measured under other conditions.
        """
        facts = {**facts, **self._own_facts()}
        environment.refuse_another_setting(facts, runs_by_trial(self.journal.read()))
        environment.record(self.run_id, facts)

    def run(self) -> RunOutcome:
        """Measure what is missing; a trial that cannot be hosted does not stop the others."""
        problems = {}
        for trial in self.plan.trials:
            rows = [row for row in self.journal.read() if row.trial == trial.id]
            missing = missing_sequences(trial, rows)
            if not missing:
                continue
            missing = self._set_aside_broken_open_loop(trial, missing)
            self.observer.trial_started(trial, len(missing))
            error = self._run_trial(trial, missing)
            self.observer.trial_ended(trial, error)
            self.target.trial_ended(trial)
            if error:
                problems[trial.id] = str(error)
        finished = tuple(trial.id for trial in self.plan.trials if trial.id not in problems)
        return RunOutcome(finished, problems)

    # -- one trial ---------------------------------------------------------------------

    def _run_trial(self, trial: Trial, missing: Sequence[int]) -> EndpointError | None:
        try:
            with self._hosted(trial) as name:
                self._measure(trial, name, missing)
        except EndpointError as err:
            row = self._rows_of(trial).of_failed_hosting(str(err), self.clock.now())
            self._keep(trial, row)
            return err
        left = missing_sequences(trial, self.journal.read())
        if left:
            return EndpointError(f"{len(left)} measurements got no answer", where=trial.id)
        return None

    @contextmanager
    def _hosted(self, trial: Trial) -> Iterator[str]:
        """An endpoint for a trial: the one that was provisioned for it, or one of its own."""
        provisioned = self.target.endpoints.get(trial.id)
        if provisioned is not None:
            if isinstance(trial.scenario, Cold) and provisioned in self._used:
                self.clock.sleep(trial.scenario.interval_s)  # another trial has warmed it
            self._used.add(provisioned)
            yield provisioned
            return
        name = endpoint_name(trial)
        hosting = self.target.hosting
        hosting.delete(name)  # what a killed run may have left
        deployment = self._deployment(trial, name)
        with hosting.deployed(deployment, timeout_s=self.target.hosting_timeout_s):
            yield name

    def _measure(self, trial: Trial, name: str, missing: Sequence[int]) -> None:
        def send(photograph: Photograph) -> Invocation:
            return self.target.hosting.invoke(
                name, photograph.data, content_type=photograph.content_type
            )

        rows = self._rows_of(trial)

        def record(observation: ObservedInvocation) -> None:
            self._keep(trial, rows.of(observation))
            if observation.outcome == "unavailable" and not observation.invocation.status:
                self._check_hosting(name)

        seed = f"{self.supplies.seed}/{trial.id}"
        stage = TrialContext(
            send=send,
            record=record,
            album=self.supplies.album.for_trial(seed),
            clock=self.clock,
            seed=seed,
            is_always_on=isinstance(trial.endpoint, RealTimeConfig),
        )
        try:
            run_scenario(trial.scenario, missing, stage)
        except BaseException:
            with suppress(EndpointError):
                self._join_metrics(trial, name)
            raise
        self.clock.sleep(self.target.metrics_delay_s)
        self._join_metrics(trial, name)

    def _check_hosting(self, name: str) -> None:
        """Tell an endpoint that broke a connection from a service that is gone.

        Raises:
            EndpointError: The service does not answer, or knows no such endpoint.
        """
        if not self.target.hosting.exists(name):
            raise EndpointError("The endpoint is gone", where=name)

    def _keep(self, trial: Trial, row: Measurement) -> None:
        self.journal.append(row)
        self.observer.measured(trial, row)

    def _rows_of(self, trial: Trial) -> RowMaker:
        return RowMaker(
            trial=trial,
            manifest=self.supplies.artifacts[artifact_key(trial)].manifest,
            platform=self.target.platform,
            isolation=self.target.isolation,
            run_id=self.run_id,
        )

    def _deployment(self, trial: Trial, name: str) -> EndpointDefinition:
        key = artifact_key(trial)
        if key not in self._uploaded:
            archive = self.supplies.artifacts[key].path
            self._uploaded[key] = self.target.hosting.upload_artifact(
                archive, bucket=self.target.bucket
            )
        return EndpointDefinition(
            name=name,
            image=trial.image.tag,
            model_data_url=self._uploaded[key],
            config=trial.endpoint,
            role_arn=self.target.role_arn,
            environment=trial.image.environment,
        )

    def _set_aside_broken_open_loop(self, trial: Trial, missing: Sequence[int]) -> tuple[int, ...]:
        """An arrival process cannot be continued: keep its rows, uncounted, and begin anew."""
        if not isinstance(trial.scenario, OpenLoop) or len(missing) == trial.scenario.n:
            return tuple(missing)
        self.journal.rewrite(
            replace(row, is_warmup=True) if row.trial == trial.id else row
            for row in self.journal.read()
        )
        return tuple(range(1, trial.scenario.n + 1))

    def _join_metrics(self, trial: Trial, name: str) -> None:
        rows = self.journal.read()
        sharing = {one for one, endpoint in self.target.endpoints.items() if endpoint == name}
        sharing.add(trial.id)
        mine = [row for row in rows if row.trial in sharing and self._has_metrics(row)]
        if not mine:
            return
        period_s = self.target.metrics_period_s
        points = read_metrics(
            self.target.hosting, name, mine, now=self.clock.now(), period_s=period_s
        )
        joined = join_metrics(mine, points, period_s=period_s)
        later = dict(zip(map(id, mine), joined, strict=True))
        self.journal.rewrite([later.get(id(row), row) for row in rows])

    def _has_metrics(self, row: Measurement) -> bool:
        """A local service takes its metrics with it; AWS still knows those of earlier runs."""
        return row.run_id == self.run_id or self.target.platform == "aws"

    def _own_facts(self) -> dict[str, Any]:
        artifacts = self.supplies.artifacts
        return {
            "platform": self.target.platform,
            "isolation": self.target.isolation,
            "seed": self.supplies.seed,
            "photographs": self.supplies.album.source,
            "trials": {
                trial.id: {
                    "definition": trial.fingerprint,
                    "artifact": artifacts[artifact_key(trial)].sha256,
                    "operating_points": _operating_points(artifacts[artifact_key(trial)]),
                }
                for trial in self.plan.trials
            },
        }


def _operating_points(artifact: Artifact) -> list[Any]:
    """The decisions that are locked into an artifact, with the sensitivity of each."""
    clinical = artifact.manifest.clinical
    return [] if clinical is None else [msgspec.to_builtins(p) for p in clinical.operating_points]

"""Host each trial, run its scenario, delete what was made.  Picks up where a run was broken off."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.errors import EndpointError
from drdeploy.experiments.models import artifact_key
from drdeploy.experiments.progress import endpoint_name, missing_sequences
from drdeploy.experiments.rows import RowMaker
from drdeploy.experiments.scenarios import Stage, run_scenario
from drdeploy.experiments.schedule import OpenLoop
from drdeploy.experiments.setup_time import join_setup_times, may_be_cold
from drdeploy.sagemaker.clock import Clock
from drdeploy.sagemaker.configs import RealTimeConfig
from drdeploy.sagemaker.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.experiments.environment import EnvironmentFile
    from drdeploy.experiments.journal import Journal
    from drdeploy.experiments.measurement import Measurement
    from drdeploy.experiments.models import Artifact, Key
    from drdeploy.experiments.photographs import Album, Photograph
    from drdeploy.experiments.plan import Plan, Trial
    from drdeploy.experiments.scenarios import Observation
    from drdeploy.experiments.target import Target
    from drdeploy.sagemaker.invocation import Invocation


class Observer(Protocol):
    """Is told how a run goes."""

    def trial_started(self, trial: Trial, missing: int) -> None:
        """A trial begins; so many of its measurements are missing."""

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """A row has been kept."""

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """A trial is over; with an error it is unfinished."""


@dataclass(frozen=True)
class Supplies:
    """What the trials use."""

    artifacts: Mapping[Key, Artifact]
    album: Album
    seed: int


@dataclass(frozen=True)
class Outcome:
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
        supplies: Supplies,
        journal: Journal,
        run_id: str,
        observer: Observer,
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

    def begin(self, environment: EnvironmentFile, facts: Mapping[str, Any]) -> None:
        """Note the conditions, after refusing to mix them with others.

        Raises:
            StudyError: Rows of this plan's trials were measured under other conditions.
        """
        facts = {**facts, **self._own_facts()}
        runs: dict[str, set[str]] = defaultdict(set)
        for row in self.journal.read():
            runs[row.trial].add(row.run_id)
        environment.refuse_another_setting(facts, runs)
        environment.record(self.run_id, facts)

    def run(self) -> Outcome:
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
            if error:
                problems[trial.id] = str(error)
        finished = tuple(trial.id for trial in self.plan.trials if trial.id not in problems)
        return Outcome(finished, problems)

    # -- one trial ---------------------------------------------------------------------

    def _run_trial(self, trial: Trial, missing: Sequence[int]) -> EndpointError | None:
        name = endpoint_name(trial)
        hosting = self.target.hosting
        try:
            hosting.delete(name)  # what a killed run may have left
            deployment = self._deployment(trial, name)
            with hosting.deployed(deployment, timeout_s=self.target.hosting_timeout_s):
                self._measure(trial, name, missing)
        except EndpointError as err:
            row = self._rows_of(trial).of_failed_hosting(str(err), self.clock.now())
            self._keep(trial, row)
            return err
        left = missing_sequences(trial, self.journal.read())
        if left:
            return EndpointError(f"{len(left)} measurements got no answer", where=trial.id)
        return None

    def _measure(self, trial: Trial, name: str, missing: Sequence[int]) -> None:
        def send(photograph: Photograph) -> Invocation:
            return self.target.hosting.invoke(
                name, photograph.data, content_type=photograph.content_type
            )

        rows = self._rows_of(trial)

        def record(observation: Observation) -> None:
            self._keep(trial, rows.of(observation))
            if observation.outcome == "unavailable" and not observation.invocation.status:
                self._check_hosting(name)

        seed = f"{self.supplies.seed}/{trial.id}"
        stage = Stage(
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
                self._join_setup_times(trial, name)
            raise
        self.clock.sleep(self.target.metrics_delay_s)
        self._join_setup_times(trial, name)

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

    def _deployment(self, trial: Trial, name: str) -> Deployment:
        key = artifact_key(trial)
        if key not in self._uploaded:
            archive = self.supplies.artifacts[key].path
            self._uploaded[key] = self.target.hosting.upload_artifact(
                archive, bucket=self.target.bucket
            )
        return Deployment(
            name=name,
            image=self.target.image_uri(trial.image.tag),
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

    def _join_setup_times(self, trial: Trial, name: str) -> None:
        if isinstance(trial.endpoint, RealTimeConfig):
            return
        rows = self.journal.read()
        mine = [row for row in rows if row.trial == trial.id and self._has_metrics(row)]
        cold = [row for row in mine if may_be_cold(row)]
        if not cold:
            return
        period_s = self.target.metrics_period_s
        points = self.target.hosting.metric(
            name,
            "ModelSetupTime",
            start=min(row.started_at for row in cold) - timedelta(seconds=period_s),
            end=self.clock.now() + timedelta(seconds=period_s),
            period_s=period_s,
        )
        joined = join_setup_times(mine, points, period_s=period_s)
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
                }
                for trial in self.plan.trials
            },
        }

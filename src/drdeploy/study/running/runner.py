"""Measure a plan's trials: host a model, run the scenario, and delete the endpoint."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from drdeploy.errors import EndpointError, format_count
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.sagemaker import (
    BatchConfig,
    Clock,
    EndpointDefinition,
    ServerlessConfig,
)
from drdeploy.study.design.scenarios import Asynchronous, Batch, Cold, OnSchedule
from drdeploy.study.running.jobs import JobPlace, JobRunner, run_missing_jobs
from drdeploy.study.running.models import artifact_key_of_trial
from drdeploy.study.running.progress import (
    describe_uncounted_measurements,
    find_uncounted_rows,
    group_run_ids_by_trial,
    list_missing_sequence_numbers,
)
from drdeploy.study.running.provisioned import choose_image_tag_of_trial
from drdeploy.study.running.queueing import (
    LOOK_AWS_S,
    LOOK_LOCAL_S,
    TrialQueue,
    queue_missing_requests,
)
from drdeploy.study.running.rows import (
    RowBuilder,
    add_metrics_to_rows,
    read_cloudwatch_metrics_of_rows,
)
from drdeploy.study.running.sending import TrialContext, send_missing_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from drdeploy.hosting.sagemaker import Hosting, Invocation
    from drdeploy.study.design.plan import Plan, Trial
    from drdeploy.study.measurements.environment import EnvironmentFile
    from drdeploy.study.measurements.journal import Journal
    from drdeploy.study.measurements.measurement import Measurement
    from drdeploy.study.running.models import ArtifactKey, TrialArtifact
    from drdeploy.study.running.photographs import Photograph, PhotographSet
    from drdeploy.study.running.sending import ObservedInvocation
    from drdeploy.study.running.target import Target

ENDPOINT_NAME_CHARS = 63
"""The largest number of characters in an endpoint's name (API reference, ``CreateEndpoint``)."""


class ProgressReporter(Protocol):
    """The interface of an object that reports each event of a run, for example on a terminal."""

    def note(self, text: str) -> None:
        """Report a note about the run."""

    def trial_started(self, trial: Trial, missing: int) -> None:
        """Report that a trial begins, and how many of its measurements are missing."""

    def row_recorded(self, trial: Trial, measurement: Measurement) -> None:
        """Report a row that was written to disk."""

    def trial_ended(self, trial: Trial, error: EndpointError | None) -> None:
        """Report that a trial has ended.

        If there is an error, its text says which of the trial's measurements are missing or do not
        count.
        """


@dataclass(frozen=True)
class TrialInputs:
    """The artifacts and photographs of all trials, and the seed of the run."""

    artifacts: Mapping[ArtifactKey, TrialArtifact]
    photographs: PhotographSet
    seed: int


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        finished: The ids of all trials that are complete, whether in this run or an earlier one.
        problems: A dictionary from the id of each unfinished trial to a sentence that says what
            went wrong. Some measurements of these trials are missing, or do not count.
    """

    finished: tuple[str, ...]
    problems: Mapping[str, str]


@dataclass(kw_only=True)
class Runner:
    """Measures the missing rows of a plan, and appends each row to the journal."""

    plan: Plan
    target: Target
    inputs: TrialInputs
    journal: Journal
    run_id: str
    progress: ProgressReporter
    clock: Clock = field(default_factory=Clock)
    _uploaded: dict[ArtifactKey, str] = field(default_factory=dict, init=False)
    _used: set[str] = field(default_factory=set, init=False)

    def record_conditions_of_run(
        self, environment: EnvironmentFile, facts: Mapping[str, Any]
    ) -> None:
        """Compare the run's conditions with those of earlier runs, and write them to disk.

        Raises:
            StudyError: Earlier rows of the plan's trials were measured under other conditions.
        """
        facts = {**facts, **self._collect_facts_of_run()}
        environment.refuse_rows_under_other_conditions(
            facts, group_run_ids_by_trial(self.journal.read_rows())
        )
        environment.record_facts_of_run(self.run_id, facts)

    def measure_missing_rows(self) -> RunOutcome:
        """Measure all missing rows; skip a trial whose endpoint cannot be created."""
        problems = {}
        for trial in self.plan.trials:
            self._set_uncounted_rows_aside(trial)
            missing = list_missing_sequence_numbers(trial, self.journal.read_rows())
            if not missing:
                if trial.id not in self.target.endpoints:
                    delete_leftover_endpoints(self.target.hosting, [trial], self.progress)
                continue
            missing = self._restart_interrupted_schedule(trial, missing)
            self.progress.trial_started(trial, len(missing))
            error = self._host_and_measure_trial(trial, missing)
            self.progress.trial_ended(trial, error)
            self.target.trial_ended(trial)
            if error:
                problems[trial.id] = str(error)
        finished = tuple(trial.id for trial in self.plan.trials if trial.id not in problems)
        return RunOutcome(finished, problems)

    # -- one trial ---------------------------------------------------------------------

    def _set_uncounted_rows_aside(self, trial: Trial) -> None:
        """Mark uncounted rows of earlier runs as warm-up, so that they are measured again.

        If a user runs the command again, such measurements are to be repeated. The marked rows stay
        in the file.
        """
        rows = self.journal.read_rows()
        uncounted = {row.sequence for row in find_uncounted_rows(trial, rows)}
        uncounted -= set(list_missing_sequence_numbers(trial, rows))
        if not uncounted:
            return
        self.progress.note(
            f"{trial.id}: measurements that do not count, and are repeated: {len(uncounted)}. "
            "Their rows stay in the file, marked as warm-up"
        )
        self.journal.replace_all_rows(
            replace(row, is_warmup=True)
            if row.trial == trial.id and row.sequence in uncounted
            else row
            for row in rows
        )

    def _restart_interrupted_schedule(
        self, trial: Trial, missing: Sequence[int]
    ) -> tuple[int, ...]:
        """Return the sequence numbers that must be measured.

        Usually, these are the missing sequence numbers. But if requests are sent on a schedule,
        earlier requests may still wait in the endpoint's queue when the next one is sent. An
        interruption empties this queue. An interrupted schedule therefore starts again from its
        first request. Its earlier rows stay in the file and are marked as warm-up.
        """
        if not isinstance(trial.scenario, OnSchedule) or len(missing) == trial.scenario.n:
            return tuple(missing)
        self.journal.replace_all_rows(
            replace(row, is_warmup=True) if row.trial == trial.id else row
            for row in self.journal.read_rows()
        )
        return tuple(range(1, trial.scenario.n + 1))

    def _host_and_measure_trial(self, trial: Trial, missing: Sequence[int]) -> EndpointError | None:
        try:
            if isinstance(trial.scenario, Batch):
                self._run_jobs_and_record_rows(trial, trial.scenario, missing)
            else:
                with self._find_or_create_endpoint(trial) as name:
                    self._send_requests_and_record_rows(trial, name, missing)
        except EndpointError as err:
            row = self._make_row_builder(trial).make_row_of_failed_hosting(
                str(err), self.clock.now()
            )
            self._append_and_report_row(trial, row)
            return err
        left = list_missing_sequence_numbers(trial, self.journal.read_rows())
        if left:
            return EndpointError(
                f"{format_count(len(left), 'measurement')} got no answer",
                where=trial.id,
                remedy="Run the same command again to repeat them",
            )
        uncounted = describe_uncounted_measurements(trial, self.journal.read_rows())
        return EndpointError(uncounted) if uncounted else None

    @contextmanager
    def _find_or_create_endpoint(self, trial: Trial) -> Iterator[str]:
        """Yield the name of a trial's endpoint.

        If no endpoint was created for the trial beforehand, one is created here, and deleted at the
        end.
        """
        provisioned = self.target.endpoints.get(trial.id)
        if provisioned is not None:
            if isinstance(trial.scenario, Cold) and provisioned in self._used:
                # Trials of one configuration share a provisioned endpoint. The previous trial left
                # the endpoint's container warm.
                self.clock.sleep(trial.scenario.interval_s)
            self._used.add(provisioned)
            yield provisioned
            return
        name = name_endpoint_of_trial(trial)
        hosting = self.target.hosting
        hosting.delete(name)  # a run that was killed may have left it
        with hosting.deployed(
            self._make_definition_of_endpoint(trial, name), timeout_s=self.target.hosting_timeout_s
        ):
            yield name

    def _make_definition_of_endpoint(self, trial: Trial, name: str) -> EndpointDefinition:
        if isinstance(trial.endpoint, BatchConfig):
            raise TypeError("a transform job has no endpoint")
        return EndpointDefinition(
            name=name,
            image=trial.image.tag,
            model_data_url=self._upload_artifact_once(trial),
            config=trial.endpoint,
            role_arn=self.target.role_arn,
            environment=trial.image.environment,
            asynchronous_uri=f"s3://{self.target.bucket}/asynchronous/{name}",
        )

    def _upload_artifact_once(self, trial: Trial) -> str:
        key = artifact_key_of_trial(trial)
        if key not in self._uploaded:
            self._uploaded[key] = self.target.hosting.upload_artifact(
                self.inputs.artifacts[key].path, bucket=self.target.bucket
            )
        return self._uploaded[key]

    def _run_jobs_and_record_rows(
        self, trial: Trial, scenario: Batch, missing: Sequence[int]
    ) -> None:
        if not isinstance(trial.endpoint, BatchConfig):
            raise TypeError("a batch scenario must say on which instances its transform jobs run")
        rows, target = self._make_row_builder(trial), self.target
        tag = choose_image_tag_of_trial(trial, on_aws=target.platform == "aws")
        place = JobPlace(
            image=target.images.get(tag, tag),
            model_data_url=self._upload_artifact_once(trial),
            bucket=target.bucket,
            role_arn=target.role_arn,
        )
        jobs = JobRunner(
            batch=target.connect_batch_client(),
            place=place,
            config=trial.endpoint,
            name=name_endpoint_of_trial(trial),
            photographs=self.inputs.photographs.shuffle_photographs_by_seed(
                f"{self.inputs.seed}/{trial.id}"
            ),
            environment=trial.image.environment,
        )
        run_missing_jobs(
            scenario,
            missing,
            jobs,
            lambda job: self._append_and_report_row(trial, rows.make_row_of_job(job)),
        )

    def _send_requests_and_record_rows(
        self, trial: Trial, name: str, missing: Sequence[int]
    ) -> None:
        hosting, rows = self.target.hosting, self._make_row_builder(trial)

        def invoke_endpoint_of_trial(photograph: Photograph) -> Invocation:
            return hosting.invoke(name, photograph.data, content_type=photograph.content_type)

        def record_row_of_invocation(observed: ObservedInvocation) -> None:
            self._append_and_report_row(trial, rows.make_row_of_invocation(observed))
            # No status means that the connection broke. If the endpoint still exists, the trial
            # goes on. If the service itself is gone, `exists` raises an error, which ends the
            # trial.
            is_broken = observed.outcome == "unavailable" and not observed.invocation.status
            if is_broken and not hosting.exists(name):
                raise EndpointError(
                    "The endpoint no longer exists",
                    where=name,
                    remedy="Run the same command again, which creates the endpoint again",
                )

        seed = f"{self.inputs.seed}/{trial.id}"
        context = TrialContext(
            send=invoke_endpoint_of_trial,
            record=record_row_of_invocation,
            photographs=self.inputs.photographs.shuffle_photographs_by_seed(seed),
            clock=self.clock,
            seed=seed,
            is_always_on=not isinstance(trial.endpoint, ServerlessConfig),
        )
        try:
            if isinstance(trial.scenario, Asynchronous):
                self._queue_missing_requests(trial.scenario, name, missing, context)
            elif not isinstance(trial.scenario, Batch):  # its jobs need no endpoint
                send_missing_requests(trial.scenario, missing, context)
        except BaseException:
            # The metrics of a local service are lost when it stops, so they are read now.
            with suppress(EndpointError):
                self._add_metrics_to_recorded_rows(trial, name)
            raise
        self.clock.sleep(self.target.metrics_delay_s)
        self._add_metrics_to_recorded_rows(trial, name)

    def _queue_missing_requests(
        self, scenario: Asynchronous, name: str, missing: Sequence[int], context: TrialContext
    ) -> None:
        look_s = LOOK_AWS_S if self.target.platform == "aws" else LOOK_LOCAL_S
        # The folder is the same in every run, so that a run also deletes the objects that a killed
        # run left.
        folder = sha256_of_bytes(f"{self.plan.study.name}/{context.seed}".encode())[:16]
        client = self.target.connect_asynchronous_client()
        with TrialQueue(client, name, folder, look_s) as queue:
            queue_missing_requests(scenario, missing, queue, context)

    def _add_metrics_to_recorded_rows(self, trial: Trial, name: str) -> None:
        rows = self.journal.read_rows()
        sharing = {one for one, endpoint in self.target.endpoints.items() if endpoint == name}
        sharing.add(trial.id)
        keeps_metrics = self.target.platform == "aws"  # also metrics of earlier runs
        mine = [
            row
            for row in rows
            if row.trial in sharing and (keeps_metrics or row.run_id == self.run_id)
        ]
        if not mine:
            return
        period_s = self.target.metrics_period_s
        points = read_cloudwatch_metrics_of_rows(self.target.hosting, name, mine, period_s=period_s)
        joined = add_metrics_to_rows(mine, points, period_s=period_s)
        later = dict(zip(map(id, mine), joined, strict=True))
        self.journal.replace_all_rows([later.get(id(row), row) for row in rows])

    def _append_and_report_row(self, trial: Trial, row: Measurement) -> None:
        self.journal.append_row(row)
        self.progress.row_recorded(trial, row)

    def _make_row_builder(self, trial: Trial) -> RowBuilder:
        return RowBuilder(
            trial=trial,
            manifest=self.inputs.artifacts[artifact_key_of_trial(trial)].manifest,
            platform=self.target.platform,
            isolation=self.target.isolation,
            run_id=self.run_id,
        )

    def _collect_facts_of_run(self) -> dict[str, Any]:
        artifacts = self.inputs.artifacts
        return {
            "platform": self.target.platform,
            "isolation": self.target.isolation,
            "seed": self.inputs.seed,
            "photographs": self.inputs.photographs.source,
            "photograph_names": self.inputs.photographs.naming,
            "trials": {
                trial.id: {
                    "definition": trial.fingerprint,
                    "artifact": artifacts[artifact_key_of_trial(trial)].sha256,
                    "operating_points": _list_operating_points(
                        artifacts[artifact_key_of_trial(trial)]
                    ),
                }
                for trial in self.plan.trials
            },
        }


def delete_leftover_endpoints(
    hosting: Hosting, trials: Iterable[Trial], progress: ProgressReporter
) -> None:
    """Delete the endpoints of finished trials that an earlier run could not delete."""
    for trial in trials:
        try:
            hosting.delete(name_endpoint_of_trial(trial))
        except EndpointError as err:
            progress.note(str(err))


def name_endpoint_of_trial(trial: Trial) -> str:
    """Return the name of a trial's endpoint, which is the same in every run of the study."""
    digest = sha256_of_bytes(f"{trial.study}/{trial.id}".encode())[:8]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"drdeploy-{trial.study}-{trial.id}")
    return f"{readable[: ENDPOINT_NAME_CHARS - 9].strip('-')}-{digest}"


def _list_operating_points(artifact: TrialArtifact) -> list[Any]:
    """Return the operating points of an artifact with their sensitivities; empty if it has none."""
    clinical = artifact.manifest.clinical
    return [] if clinical is None else [msgspec.to_builtins(p) for p in clinical.operating_points]

"""Run the Batch Transform jobs of a trial, one after another, and record their times.

SageMaker reports when a job was created, when its instances began to work, and when it ended. The
rows hold these times, so the latencies do not depend on how often the client asks.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Self

from drdeploy.errors import EndpointError
from drdeploy.hosting.sagemaker import BatchJob
from drdeploy.hosting.sagemaker.api_limits import INVOCATION_TIMEOUT_S
from drdeploy.study.running.sending import ContainerAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from drdeploy.hosting.sagemaker import BatchConfig, BatchTransform, EndedTransformJob
    from drdeploy.study.design.scenarios import Batch
    from drdeploy.study.measurements.measurement import MeasuredOutcome
    from drdeploy.study.running.photographs import Photograph

JOB_NAME_CHARS = 63
"""The largest number of characters in the name of a transform job (API reference,
``CreateTransformJob``)."""


@dataclass(frozen=True)
class JobPlace:
    """The image, the model, the bucket and the role that all transform jobs of a trial use.

    Attributes:
        image: The URI of the container image.
        model_data_url: The ``s3://`` URI of the ``model.tar.gz``.
        bucket: The bucket of photographs and answers.
        role_arn: The role with which SageMaker reads the photographs and writes the answers.
    """

    image: str
    model_data_url: str
    bucket: str
    role_arn: str


@dataclass(frozen=True)
class ObservedJob:
    """One transform job that has ended.

    Attributes:
        sequence: The number of the job in the trial, counted from 1.
        created_at: When the job was created.
        total_latency_s: The time from the creation of the job to its end.
        startup_s: The time from the creation of the job until its instances and containers were
            ready to work (``CreationTime`` to ``TransformStartTime``). SageMaker does not charge
            this time.
        photograph_count: The number of photographs of the job.
        payload_bytes: The size of all photographs of the job.
        outcome: ``ok`` if each photograph was graded.
        error: Why the job is left out of the results, in one line; empty if the job counts.
        model_digest: The digest of the model's artifact that the answers contain; empty if none
            contains it.
    """

    sequence: int
    created_at: datetime
    total_latency_s: float
    startup_s: float | None
    photograph_count: int
    payload_bytes: int
    outcome: MeasuredOutcome
    error: str
    model_digest: str


def run_missing_jobs(
    scenario: Batch,
    missing: Sequence[int],
    runner: JobRunner,
    record: Callable[[ObservedJob], None],
) -> None:
    """Run and record a job for each missing sequence number, in order.

    Raises:
        EndpointError: S3 refuses the photographs, SageMaker refuses a job, or a job ends before its
            instances are ready.
    """
    with runner.store_photographs(scenario.photographs) as stored:
        for sequence in missing:
            record(runner.run_job(sequence, stored))


@dataclass(frozen=True)
class JobRunner:
    """Runs the transform jobs of one trial.

    Attributes:
        name: The name of the trial; the names of its jobs begin with it.
        photographs: The photographs in the order in which they are stored. If a job needs more
            photographs, the photographs are repeated in the same order.
        environment: The environment variables of the container.
    """

    batch: BatchTransform
    place: JobPlace
    config: BatchConfig
    name: str
    photographs: Sequence[Photograph]
    environment: Mapping[str, str]

    @contextmanager
    def store_photographs(self, count: int) -> Iterator[_StoredPhotographs]:
        """Store the photographs for all jobs in S3; at the end, delete them and all answers."""
        self.batch.delete_folder(
            self._s3_folder_uri_of_job
        )  # a run that was killed may have left photographs
        stored = _StoredPhotographs(f"{self._s3_folder_uri_of_job}input/")
        try:
            for photograph in islice(cycle(self.photographs), count):
                key = stored.make_key_of_next_photograph(photograph)
                self.batch.upload_files(
                    f"{stored.uri}{key}", photograph.data, photograph.content_type
                )
            yield stored
        finally:
            self.batch.delete_folder(self._s3_folder_uri_of_job)

    def run_job(self, sequence: int, stored: _StoredPhotographs) -> ObservedJob:
        """Run one job, and read its answers.

        Raises:
            EndpointError: SageMaker refuses the job, or it ends before its instances are ready.
        """
        token = secrets.token_hex(4)
        job = BatchJob(
            name=f"{self.name[: JOB_NAME_CHARS - 9].rstrip('-')}-{token}",
            image=self.place.image,
            model_data_url=self.place.model_data_url,
            input_uri=stored.uri,
            output_uri=f"{self._s3_folder_uri_of_job}output/{token}",
            instance_type=self.config.instance_type,
            instance_count=self.config.instance_count,
            concurrency=self.config.max_concurrent_transforms,
            role_arn=self.place.role_arn,
            environment=self.environment,
            # The worst case of a plan assumes this timeout. SageMaker must not send a photograph
            # again, because the time of both attempts would count as the time of one photograph.
            timeout_s=round(INVOCATION_TIMEOUT_S),
            retries=0,
        )
        ended = self.batch.run_job(job)
        if ended.started_at is None:
            raise EndpointError(ended.description, where=job.name)
        answers = _CountedAnswers.count_answers_of_job(self.batch, job, stored.keys)
        outcome, error = _decide_outcome_of_job(ended, answers, len(stored.keys))
        return ObservedJob(
            sequence=sequence,
            created_at=ended.created_at,
            total_latency_s=(ended.ended_at - ended.created_at).total_seconds(),
            startup_s=ended.instance_startup_s,
            photograph_count=len(stored.keys),
            payload_bytes=stored.size_bytes,
            outcome=outcome,
            error=error,
            model_digest=answers.model_digest,
        )

    @property
    def _s3_folder_uri_of_job(self) -> str:
        return f"s3://{self.place.bucket}/batch/{self.name}/"


class _StoredPhotographs:
    """The photographs that a trial has stored in S3, all below one prefix."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.keys: list[str] = []
        self.size_bytes = 0

    def make_key_of_next_photograph(self, photograph: Photograph) -> str:
        """Count a photograph as stored, and return the S3 key to store it under."""
        key = f"{len(self.keys):06d}"
        self.keys.append(key)
        self.size_bytes += len(photograph.data)
        return key


@dataclass(frozen=True)
class _CountedAnswers:
    """How many photographs of a job got an answer, and how many of these got no grade."""

    answered: int
    ungradable: int
    model_digest: str

    @classmethod
    def count_answers_of_job(
        cls, batch: BatchTransform, job: BatchJob, keys: Sequence[str]
    ) -> Self:
        answered, ungradable, digest = 0, 0, ""
        for key in keys:
            body = batch.read_answer(job.output_uri, key)
            if body is None:
                continue
            answer = ContainerAnswer.read_fields_of_body(body)
            answered += 1
            ungradable += answer.is_ungradable
            digest = digest or answer.model_digest
        return cls(answered, ungradable, digest)


def _decide_outcome_of_job(
    ended: EndedTransformJob, answers: _CountedAnswers, expected: int
) -> tuple[MeasuredOutcome, str]:
    """Return the outcome of a job, and the reason if the job does not count."""
    if ended.status != "Completed":
        return "model_error", f"The job is {ended.status}: {ended.failure_reason}"
    if answers.answered < expected:
        return "model_error", f"{expected - answers.answered} of {expected} answers are missing"
    if answers.ungradable:
        return "ungradable", f"{answers.ungradable} of {expected} photographs cannot be graded"
    return "ok", ""

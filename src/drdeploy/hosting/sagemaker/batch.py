"""Run a Batch Transform job on AWS or the local service: upload, wait, and read the answers.

>>> batch = BatchTransform.connect("http://127.0.0.1:8765")
>>> job = BatchJob("nightly", "drdeploy:lean", archive, "s3://eyes/in/", "s3://eyes/out")
>>> ended = batch.run_job(job)
>>> batch.read_answer(job.output_uri, "monday/eye.jpg")
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping  # noqa: TC003 - a dataclass field's annotation
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from drdeploy.errors import EndpointError
from drdeploy.hosting.sagemaker.aws_errors import NoSuchResource, translate_aws_errors
from drdeploy.hosting.sagemaker.clock import Clock
from drdeploy.hosting.sagemaker.cloudwatch import TRANSFORM_JOBS
from drdeploy.hosting.sagemaker.configs import LOCAL_ROLE_ARN
from drdeploy.hosting.sagemaker.connection import (
    find_hosting_url,
    is_loopback_url,
    make_boto3_client,
    make_hosting_clients,
)
from drdeploy.hosting.sagemaker.s3_objects import delete_all_versions
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from drdeploy.hosting.sagemaker.connection import Clients

DATA_LOG = "/data-log"
_POLL_LOCAL_S = 0.2
_POLL_AWS_S = 15.0
_LOG_LINE = re.compile(r"\S+:\[sagemaker logs\]: (?P<place>.+?): (?P<text>.*)")
_JSON_MESSAGE = re.compile(r'"message"\s*:\s*"(?P<text>(?:[^"\\]|\\.)*)"')


def make_job_name() -> str:
    """Return a unique name for a job."""
    return f"drdeploy-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class BatchJob:
    """A Batch Transform job.

    Attributes:
        name: The name of the job and of its model.
        image: The URI of the container image.
        model_data_url: The ``s3://`` URI of the ``model.tar.gz``.
        input_uri: The ``s3://`` prefix of the photographs, or the manifest that names them.
        output_uri: The ``s3://`` folder of the answers.
        content_type: The content type of the photographs.
        instance_type: The type of the instances.
        instance_count: The number of instances.
        concurrency: How many photographs an instance receives at once; None lets the container
            choose.
        role_arn: The IAM role that SageMaker uses to read the photographs and to write the answers.
        is_manifest: Whether ``input_uri`` is a manifest.
        ami_version: The AMI version of instances with a GPU; None takes SageMaker's default.
        environment: The environment variables of the container.
        timeout_s: How long a photograph may take, in seconds; None takes SageMaker's default, ten
            minutes.
        retries: How often a photograph that failed is sent again. None takes SageMaker's default,
            which is 3.
    """

    name: str
    image: str
    model_data_url: str
    input_uri: str
    output_uri: str
    content_type: str = "application/x-image"
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    concurrency: int | None = None
    role_arn: str = LOCAL_ROLE_ARN
    is_manifest: bool = False
    ami_version: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: int | None = None
    retries: int | None = None


@dataclass(frozen=True)
class EndedTransformJob:
    """A job that has ended.

    Attributes:
        status: ``Completed``, ``Failed`` or ``Stopped``.
        failure_reason: Why the job failed, or an empty text.
        created_at: When the job was created.
        started_at: When the instances were ready, or None if they never were.
        ended_at: When the job ended.
    """

    status: str
    failure_reason: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime

    @property
    def description(self) -> str:
        """How the job ended, as one sentence without its full stop."""
        reason = f": {self.failure_reason}" if self.failure_reason else ""
        return f"The job is {self.status}{reason.rstrip('.')}"

    @property
    def instance_startup_s(self) -> float | None:
        """Seconds from the creation of the job until the instances were ready, or None."""
        if self.started_at is None:
            return None
        return (self.started_at - self.created_at).total_seconds()

    @property
    def work_after_startup_s(self) -> float | None:
        """Seconds from the time when the instances were ready to the end of the job, or None."""
        if self.started_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class BatchTransform:
    """Runs transform jobs.

    Args:
        clients: The boto3 clients to use.
        logs: The boto3 client of CloudWatch Logs.
        is_local: Whether the clients talk to the local service.
        clock: The clock that measures waits.
    """

    def __init__(
        self, clients: Clients, logs: Any, *, is_local: bool, clock: Clock | None = None
    ) -> None:
        self.is_local = is_local
        self._sagemaker: Any = clients.sagemaker
        self._s3: Any = clients.s3
        self._logs = logs
        self._clock = clock or Clock()

    @classmethod
    def connect(cls, endpoint_url: str | None = None, *, region: str | None = None) -> Self:
        """Connect to the local service or to AWS, as :meth:`Hosting.connect` does."""
        return cls(
            make_hosting_clients(endpoint_url, region=region),
            make_boto3_client("logs", endpoint_url, region=region),
            is_local=is_loopback_url(find_hosting_url(endpoint_url)),
        )

    @property
    def region(self) -> str:
        """The AWS region of the jobs."""
        return str(self._sagemaker.meta.region_name)

    def upload_files(self, uri: str, body: bytes, content_type: str) -> None:
        """Write one file to S3 as an object; the bucket must exist."""
        bucket, key = split_s3_uri(uri)
        with translate_aws_errors("upload a photograph", uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

    def create_local_bucket(self, bucket: str) -> None:
        """Create a bucket in the local service; do nothing on AWS, where the bucket must exist."""
        if self.is_local:
            with translate_aws_errors("create the bucket", f"s3://{bucket}"):
                self._s3.create_bucket(Bucket=bucket)

    def list_keys(self, uri: str) -> Iterator[str]:
        """Yield the keys of the objects below a prefix; the keys are fetched page by page."""
        bucket, prefix = split_s3_uri(uri)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        with translate_aws_errors("list the photographs", uri):
            for page in pages:
                for one in page.get("Contents", ()):
                    if not one["Key"].endswith("/"):
                        yield one["Key"]

    def delete_objects(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete the objects with the given keys, one request for each."""
        for key in keys:
            with translate_aws_errors("delete an uploaded photograph", f"s3://{bucket}/{key}"):
                self._s3.delete_object(Bucket=bucket, Key=key)

    def delete_folder(self, uri: str) -> None:
        """Delete all versions of all objects below a prefix.

        Raises:
            EndpointError: S3 refuses the deletion.
        """
        bucket, prefix = split_s3_uri(uri)
        with translate_aws_errors("delete the objects of the job", uri):
            delete_all_versions(self._s3, bucket, prefix)

    def run_job(
        self, job: BatchJob, report: Callable[[str], None] = lambda _: None
    ) -> EndedTransformJob:
        """Create the model and the job, wait until the job has ended, and delete the model.

        If the wait is interrupted, the job is stopped.

        Args:
            job: The job.
            report: A function that is called with each new status of the job.

        Raises:
            EndpointError: The API refuses the model or the job.
        """
        self._create_model(job)
        # From here on, the model with this name belongs to this job.
        try:
            self._create_job(job)
            try:
                return self.wait_for_job(job.name, report)
            except BaseException:
                self.stop_job(job.name)
                raise
        finally:
            self.delete_model(job.name)

    def start_job(self, job: BatchJob) -> None:
        """Create the model and the job.

        Raises:
            EndpointError: The API refuses the model or the job.
        """
        self._create_model(job)
        self._create_job(job)

    def wait_for_job(
        self, name: str, report: Callable[[str], None] = lambda _: None
    ) -> EndedTransformJob:
        """Wait until a job has ended, and call ``report`` with each new status.

        Raises:
            EndpointError: The API refuses to describe the job, or does not answer.
        """
        reported = ""
        while True:
            with translate_aws_errors("describe the job", name):
                described = self._sagemaker.describe_transform_job(TransformJobName=name)
            status = described["TransformJobStatus"]
            state = "working" if "TransformStartTime" in described else "starting"
            if status in {"Completed", "Failed", "Stopped"}:
                return EndedTransformJob(
                    status,
                    described.get("FailureReason", ""),
                    described["CreationTime"],
                    described.get("TransformStartTime"),
                    described["TransformEndTime"],
                )
            if state != reported:
                report(state)
                reported = state
            self._clock.sleep(_POLL_LOCAL_S if self.is_local else _POLL_AWS_S)

    def job_exists(self, name: str) -> bool:
        """Return whether a job with the given name exists, even if it has ended.

        Raises:
            EndpointError: The API refuses the request, or does not answer.
        """
        with suppress(NoSuchResource), translate_aws_errors("find the job", name):
            self._sagemaker.describe_transform_job(TransformJobName=name)
            return True
        return False

    def stop_job(self, name: str) -> None:
        """Stop a job if it is in progress."""
        with suppress(EndpointError), translate_aws_errors("stop the job", name):
            self._sagemaker.stop_transform_job(TransformJobName=name)

    def delete_model(self, name: str) -> None:
        """Delete the model of a job, if it exists.

        Raises:
            EndpointError: The API refuses to delete it.
        """
        with suppress(NoSuchResource), translate_aws_errors("delete the model", name):
            self._sagemaker.delete_model(ModelName=name)

    def read_answer(self, output_uri: str, relative_key: str) -> bytes | None:
        """Return the answer for one photograph, or None if there is no answer.

        ``relative_key`` is the photograph's key without the prefix that all photographs share.
        """
        bucket, folder = split_s3_uri(output_uri)
        parts = (folder.rstrip("/"), f"{relative_key}.out")
        key = "/".join(part for part in parts if part)
        # Errors do not name the key, which may contain a patient's name.
        with translate_aws_errors("read an answer", output_uri):
            try:
                return bytes(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            except self._s3.exceptions.NoSuchKey:
                return None

    def read_failures(self, name: str) -> dict[str, str]:
        """Read from a job's log why photographs failed; return the reasons by ``BUCKET/KEY``."""
        lines: dict[str, list[str]] = {}
        for line in self._read_error_log_of_job(name):
            found = _LOG_LINE.fullmatch(line)
            if found:
                lines.setdefault(found["place"], []).append(found["text"].strip())
        return {place: _summarize_failure(texts) for place, texts in lines.items()}

    def _create_model(self, job: BatchJob) -> None:
        with translate_aws_errors("create the model", job.name):
            self._sagemaker.create_model(
                ModelName=job.name,
                ExecutionRoleArn=job.role_arn,
                PrimaryContainer={
                    "Image": job.image,
                    "ModelDataUrl": job.model_data_url,
                    "Environment": dict(job.environment),
                },
            )

    def _create_job(self, job: BatchJob) -> None:
        kind = "ManifestFile" if job.is_manifest else "S3Prefix"
        source = {"S3DataType": kind, "S3Uri": job.input_uri}
        host = {} if job.ami_version is None else {"TransformAmiVersion": job.ami_version}
        client = {
            "InvocationsTimeoutInSeconds": job.timeout_s,
            "InvocationsMaxRetries": job.retries,
        }
        client = {name: value for name, value in client.items() if value is not None}
        open_settings: dict[str, Any] = {
            **({} if job.concurrency is None else {"MaxConcurrentTransforms": job.concurrency}),
            **({"ModelClientConfig": client} if client else {}),
        }
        with translate_aws_errors("create the job", job.name):
            self._sagemaker.create_transform_job(
                TransformJobName=job.name,
                ModelName=job.name,
                TransformInput={
                    "DataSource": {"S3DataSource": source},
                    "ContentType": job.content_type,
                },
                TransformOutput={"S3OutputPath": job.output_uri, "Accept": "application/json"},
                TransformResources={
                    "InstanceType": job.instance_type,
                    "InstanceCount": job.instance_count,
                    **host,
                },
                **open_settings,
            )

    def _read_error_log_of_job(self, name: str) -> Iterator[str]:
        streams = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=TRANSFORM_JOBS, logStreamNamePrefix=f"{name}/"
        )
        with translate_aws_errors("read the log of the job", name):
            names = [one["logStreamName"] for page in streams for one in page["logStreams"]]
            for stream in (one for one in names if one.endswith(DATA_LOG)):
                token: dict[str, str] = {}
                while True:
                    page = self._logs.get_log_events(
                        logGroupName=TRANSFORM_JOBS,
                        logStreamName=stream,
                        startFromHead=True,
                        **token,
                    )
                    yield from (event["message"] for event in page["events"])
                    if page["nextForwardToken"] == token.get("nextToken"):
                        break
                    token = {"nextToken": page["nextForwardToken"]}


def _summarize_failure(texts: list[str]) -> str:
    """Return one line that says why a photograph failed, if possible in the server's own words."""
    messages = [text for text in texts if text and text != "Message:"]
    answer = " ".join(messages[1:])
    found = _JSON_MESSAGE.search(answer)
    if found:
        return found["text"].replace('\\"', '"')
    return ": ".join(part for part in (messages[0] if messages else "", answer) if part)

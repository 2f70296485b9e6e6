r"""The life cycle of a transform job: InProgress, then Completed, Failed or Stopped.

::

    CreateTransformJob --> InProgress --> Completed
                               |   \-----> Failed
                               v
                           Stopping ----> Stopped

A thread for each job starts the instances, divides the input objects among the instances, and stops
the instances. The status changes when the last instance has ended. A job that fails keeps the
outputs of the objects that succeeded. If a job is stopped, outputs that it has already written are
deleted (API reference, ``StopTransformJob``).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import DrdeployError
from drdeploy.hosting.local.api_errors import FAILURE_REASON_LENGTH_MAX, make_validation_error
from drdeploy.hosting.local.batch_transform.data_processing import DataProcessing
from drdeploy.hosting.local.batch_transform.instance_work import InstanceLost, InstanceWork, JobTask
from drdeploy.hosting.local.batch_transform.object_list import (
    OUTPUT_SUFFIX,
    NoInput,
    list_input_objects,
)
from drdeploy.hosting.local.batch_transform.settings import (
    DEFAULTS,
    BadParameters,
    TransformSettings,
    make_environment,
    read_execution_parameters,
)
from drdeploy.hosting.local.endpoints.execution_role import (
    RequiredPermission,
    check_execution_role,
)
from drdeploy.hosting.local.endpoints.instance_logs import LogStreamName
from drdeploy.hosting.local.instances.instance import LogLine, make_ec2_instance_id
from drdeploy.hosting.local.request_constraints import (
    find_container_of_model,
    find_model_data_url,
    is_model_data_archive,
    is_network_isolated,
)
from drdeploy.hosting.sagemaker.cloudwatch import TRANSFORM_JOBS
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri
from drdeploy.units import MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from drdeploy.hosting.local.batch_transform.object_list import (
        InputObject,
        ObjectList,
        ObjectStorage,
    )
    from drdeploy.hosting.local.batch_transform.records import RecordFailure
    from drdeploy.hosting.local.endpoints.artifact_cache import PinnedArtifact
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet, InstanceSize
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.instances.instance import Instance, PinnedImage

log = logging.getLogger(__name__)

JobStatus = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
START_S = 1800.0
"""Seconds that a container of a job may take to answer ``GET /ping``.

The developer guide names no limit; a SageMaker engineer has named half an hour
(aws/amazon-sagemaker-examples, issue 815).
"""
END_S = 40.0
"""Seconds that a job, at its end, waits for each instance to stop: the 30 s from SIGTERM to
SIGKILL, and a margin.
"""
CLIENT_ERROR = "ClientError: See job logs for more information"
ALGORITHM_ERROR = "AlgorithmError: See job logs for more information"


@dataclass(frozen=True)
class TransformOrigin:
    """The region and the transform job that an instance was started for.

    Attributes:
        region: The region.
        job: The name of the job.
        epoch_s: When the job was created, in seconds since 1970.
    """

    region: str
    job: str
    epoch_s: int

    def name_log_stream(self, instance: Instance) -> LogStreamName:
        """Return the name of the log stream for the container of one instance."""
        return LogStreamName(
            self.region,
            TRANSFORM_JOBS,
            f"{self.job}/{make_ec2_instance_id(instance)}-{self.epoch_s}",
        )

    def name_data_log_stream(self, instance: Instance) -> LogStreamName:
        """Return the name of the log stream for problems with an instance's data."""
        name = self.name_log_stream(instance)
        return LogStreamName(name.region, name.group, f"{name.stream}/data-log")


@dataclass(frozen=True)
class JobSource:
    """The region, the model and the S3 storage of a transform job.

    The job needs them in addition to the request that created it.

    Attributes:
        region: AWS region of the job.
        model: The request that created the model.
        storage: The objects of S3.
    """

    region: str
    model: Mapping[str, Any]
    storage: ObjectStorage


class TransformJob:
    """A transform job of the local service; each job runs in separate threads.

    Args:
        name: The name of the job.
        arn: The ARN of the job.
        request: The request that created the job, with the defaults that ``DescribeTransformJob``
            shows.
        source: The region, the model and the S3 storage of the job.
        fleet: The fleet that runs the instances.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        request: dict[str, Any],
        source: JobSource,
        fleet: InstanceFleet,
    ) -> None:
        self.name = name
        self.arn = arn
        self.tags: dict[str, str] = {}
        self.status: JobStatus = "InProgress"
        self.failure_reason = ""
        self.region = source.region
        self._request = request
        self._source = source
        self._fleet = fleet
        self._clock = fleet.clock
        self.created = self.modified = self._clock.now()
        self._origin = TransformOrigin(source.region, name, int(self.created.timestamp()))
        self._started: datetime | None = None
        self._ended: datetime | None = None
        self._lock = threading.Lock()
        self._workers: tuple[InstanceWorker, ...] = ()
        self._retirements: dict[InstanceWorker, Future[None]] = {}
        self._objects: ObjectList | None = None
        self._written = array("L")  # the numbers of the objects that have an output
        self._failed_by_client = self._failed_by_algorithm = 0

    # -- for the control plane: return at once -------------------------------------------

    def start(self) -> None:
        """Begin the job."""
        threading.Thread(
            target=self._run_job_until_it_ended, name=f"transform job {self.name}", daemon=True
        ).start()

    def stop(self, *, ends_instances: bool = True) -> None:
        """Begin to stop the job.

        Args:
            ends_instances: Whether the instances end now. If not, each instance first answers its
                requests, which may take as long as ``InvocationsTimeoutInSeconds``.

        Raises:
            ApiError: The job is not in progress.
        """
        with self._lock:
            if self.status != "InProgress":
                raise make_validation_error(
                    "The request was rejected because the transform job is in status "
                    f"{self.status}."
                )
            self._set_status("Stopping")
        if ends_instances:
            self._begin_to_retire_instances()

    def describe(self) -> dict[str, Any]:
        """Return the response of ``DescribeTransformJob``."""
        with self._lock:
            times = {"TransformStartTime": self._started, "TransformEndTime": self._ended}
            return {
                **self._request,
                "TransformJobArn": self.arn,
                "TransformJobStatus": self.status,
                **({"FailureReason": self.failure_reason} if self.failure_reason else {}),
                "CreationTime": self.created,
                **{name: moment for name, moment in times.items() if moment is not None},
            }

    def summarize(self) -> dict[str, Any]:
        """Return the job's summary in the response of ``ListTransformJobs``."""
        members = (
            *("TransformJobName", "TransformJobArn", "TransformJobStatus", "FailureReason"),
            *("CreationTime", "TransformEndTime"),
        )
        described = self.describe()
        summary = {name: described[name] for name in members if name in described}
        return {**summary, "LastModifiedTime": self.modified}

    def list_workers(self) -> tuple[InstanceWorker, ...]:
        """Return the instances that run for the job now."""
        return self._workers

    # -- for the work of the instances ---------------------------------------------------

    def is_stopping(self) -> bool:
        """Return whether the job is stopping, so that no instance begins another object."""
        return self.status != "InProgress"

    def write_output(self, source: InputObject, body: bytes) -> None:
        """Write the output of an object; raises OSError if it cannot be written."""
        output = self._request["TransformOutput"]
        self._source.storage.put_object(
            self.region,
            *self._make_bucket_and_key_of_output(source),
            body,
            output.get("KmsKeyId") or None,
        )
        with self._lock:
            self._written.append(source.number)

    def report_failure(
        self, source: InputObject, failure: RecordFailure, stream: LogStreamName
    ) -> None:
        """Count an object that failed, and write the reason to the job's log."""
        with self._lock:
            if failure.is_of_client:
                self._failed_by_client += 1
            else:
                self._failed_by_algorithm += 1
        name = f"{source.bucket}/{source.key}"
        self._write_log_line(stream, *(f"{name}: {line}" for line in str(failure).splitlines()))

    # -- in the thread of the job --------------------------------------------------------

    def _run_job_until_it_ended(self) -> None:
        try:
            reason = self._run_stages()
        except DrdeployError as err:
            remedy = f" {err.remedy}." if err.remedy else ""
            reason = f"AlgorithmError: {err.what}.{remedy}"
        except (NoInput, BadParameters) as err:
            reason = f"ClientError: {err}."
        except InstanceLost as err:
            reason = f"AlgorithmError: {err}."
        except Exception:
            log.exception("the transform job %s failed", self.name)
            reason = "InternalServerError: We encountered an internal error. Please try again."
        with self._lock:
            self._ended = self._clock.now()
            is_stopped = self.status == "Stopping"
        if is_stopped:
            self._delete_outputs()
        with self._lock:
            self._set_status(
                "Stopped" if is_stopped else "Failed" if reason else "Completed",
                "" if is_stopped else reason,
            )
        # The job object is kept as long as the service runs, but only its description is still
        # needed.
        self._objects, self._written = None, array("L")

    def _run_stages(self) -> str:
        """Run the job.

        Return the reason if the job failed, otherwise an empty text.
        """
        model = self._source.model
        self._check_role_permissions()
        source = self._request["TransformInput"]["DataSource"]["S3DataSource"]
        self._objects = list_input_objects(
            source, self._source.storage, model.get("ExecutionRoleArn", "")
        )
        self._check_output_bucket_exists()
        resources = self._request["TransformResources"]
        size = self._fleet.compute_instance_size(resources["InstanceType"], START_S)
        with self._pin_image_and_archive() as (image, artifact):
            try:
                self._workers = self._launch_instances(
                    resources["InstanceCount"], image, artifact, size
                )
                return self._transform_objects(self._objects)
            finally:
                self._retire_instances()

    def _transform_objects(self, listed: ObjectList) -> str:
        if self.is_stopping():
            return ""
        with self._lock:
            self._started = self._clock.now()
        settings = self._choose_transform_settings()
        objects = _SharedObjects(listed, self.is_stopping)
        with ThreadPoolExecutor(len(self._workers)) as pool:
            works = [
                pool.submit(self._transform_objects_on_instance, worker, settings, objects)
                for worker in self._workers
            ]
        lost = [err for work in works if (err := work.exception())]
        if lost:
            raise lost[0]
        if self._failed_by_algorithm:
            return ALGORITHM_ERROR
        return CLIENT_ERROR if self._failed_by_client else ""

    def _transform_objects_on_instance(
        self, worker: InstanceWorker, settings: TransformSettings, objects: _SharedObjects
    ) -> None:
        stream = self._origin.name_data_log_stream(worker.instance)
        self._write_log_line(stream, settings.describe())
        task = JobTask(
            self._request,
            settings,
            DataProcessing.from_request(self._request),
            self._source.storage,
            self._clock,
        )
        work = InstanceWork(worker, task, _InstanceReport(self, stream))
        try:
            work.transform_objects(objects)
        except InstanceLost as err:
            self._write_log_line(stream, f"{err}.")
            raise

    def _choose_transform_settings(self) -> TransformSettings:
        is_open = any(not self._request.get(name) for name in DEFAULTS)
        container = read_execution_parameters(self._workers[0].client) if is_open else {}
        return TransformSettings.from_request(self._request, container)

    def _check_role_permissions(self) -> None:
        """Check that the role may read the input and write the output."""
        source, output = self._request["TransformInput"], self._request["TransformOutput"]
        data = source["DataSource"]["S3DataSource"]
        bucket, key = split_s3_uri(data["S3Uri"])
        into, prefix = split_s3_uri(output["S3OutputPath"])
        is_manifest = data["S3DataType"] == "ManifestFile"
        objects = f"arn:aws:s3:::{bucket}/{key}{'' if is_manifest else '*'}"
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        needed = [
            RequiredPermission("s3:GetObject", objects, f"the input: '{data['S3Uri']}'"),
            RequiredPermission(
                "s3:PutObject",
                f"arn:aws:s3:::{into}/{folder}*",
                f"the output: '{output['S3OutputPath']}'",
            ),
        ]
        if not is_manifest:
            listed = RequiredPermission(
                "s3:ListBucket", f"arn:aws:s3:::{bucket}", f"the bucket: '{bucket}'", key
            )
            needed.insert(0, listed)
        check_execution_role(
            dict(self._source.model),
            self.region,
            self._fleet.policies_of_role,
            further=needed,
            assumed_for="transform-job/any",
        )

    def _check_output_bucket_exists(self) -> None:
        bucket, _ = split_s3_uri(self._request["TransformOutput"]["S3OutputPath"])
        if not self._fleet.has_bucket(bucket):
            raise NoInput(f"The bucket {bucket} of S3OutputPath does not exist")

    @contextlib.contextmanager
    def _pin_image_and_archive(self) -> Iterator[tuple[PinnedImage, PinnedArtifact]]:
        """Keep the same image and archive until the job ends, even if a client replaces them."""
        model = dict(self._source.model)
        backend, artifacts = self._fleet.backend, self._fleet.artifacts
        isolated = is_network_isolated(model)
        image = backend.pin_image_and_network(
            find_container_of_model(model)["Image"], isolated=isolated
        )
        try:
            artifact = artifacts.extract_and_pin_archive(
                find_model_data_url(model),
                is_checked=image.is_own,
                is_archive=is_model_data_archive(model),
            )
            try:
                yield image, artifact
            finally:
                artifacts.release_archive(artifact)
        finally:
            backend.release_network(image)

    def _launch_instances(
        self, count: int, image: PinnedImage, artifact: PinnedArtifact, size: InstanceSize
    ) -> tuple[InstanceWorker, ...]:
        container = find_container_of_model(dict(self._source.model))
        environment = make_environment(container.get("Environment", {}), self._request)

        def launch_one_instance() -> InstanceWorker:
            return self._fleet.launch_instance(
                image,
                artifact.folder,
                environment,
                size,
                origin=self._origin,
                is_wanted=lambda: not self.is_stopping(),
            )

        with ThreadPoolExecutor(count) as pool:
            starts = [pool.submit(launch_one_instance) for _ in range(count)]
        self._workers = tuple(start.result() for start in starts if not start.exception())
        failures = [failure for start in starts if (failure := start.exception())]
        if failures and not self.is_stopping():
            raise failures[0]
        return self._workers

    def _retire_instances(self) -> None:
        for stop in self._begin_to_retire_instances():
            with contextlib.suppress(TimeoutError):
                stop.result(END_S)
        self._workers = ()
        self._retirements.clear()

    def _begin_to_retire_instances(self) -> list[Future[None]]:
        """Begin to stop all running instances, except those that are being stopped already."""
        with self._lock:
            for worker in self._workers:
                if worker not in self._retirements:
                    self._retirements[worker] = self._fleet.retire_instance(worker)
            return list(self._retirements.values())

    def _make_bucket_and_key_of_output(self, source: InputObject) -> tuple[str, str]:
        bucket, prefix = split_s3_uri(self._request["TransformOutput"]["S3OutputPath"])
        parts = (prefix.rstrip("/"), f"{source.relative_key}{OUTPUT_SUFFIX}")
        return bucket, "/".join(part for part in parts if part)

    def _delete_outputs(self) -> None:
        for number in self._written:
            if self._objects is not None:
                place = self._make_bucket_and_key_of_output(self._objects[number])
                self._source.storage.delete_object(*place)

    def _write_log_line(self, stream: LogStreamName, *texts: str) -> None:
        now = self._clock.now()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}"
        at_ms = int(now.timestamp() * MILLISECONDS_PER_S)
        self._fleet.logs.put_lines(
            stream, [LogLine(at_ms, f"{stamp}:[sagemaker logs]: {text}") for text in texts]
        )

    def _set_status(self, status: JobStatus, failure_reason: str = "") -> None:
        self.status = status
        self.failure_reason = failure_reason[:FAILURE_REASON_LENGTH_MAX]
        self.modified = self._clock.now()


class _InstanceReport:
    """Passes the outputs and failures of one instance to its job."""

    def __init__(self, job: TransformJob, stream: LogStreamName) -> None:
        self._job = job
        self._stream = stream
        self.is_stopping = job.is_stopping
        self.write_output = job.write_output

    def report_failure(self, source: InputObject, failure: RecordFailure) -> None:
        """Report an object that failed."""
        self._job.report_failure(source, failure, self._stream)


class _SharedObjects:
    """Yields each input object to one instance only; safe to use from several threads."""

    def __init__(self, objects: ObjectList, is_stopping: Callable[[], bool]) -> None:
        self._objects = objects
        self._next = 0
        self._is_stopping = is_stopping
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[InputObject]:
        while not self._is_stopping():
            with self._lock:
                number = self._next
                self._next += 1
            if number >= len(self._objects):
                return
            yield self._objects[number]

"""The SageMaker client: create an endpoint, wait for it, invoke it, read metrics, and delete it.

>>> hosting = Hosting.connect("http://127.0.0.1:8765")
>>> uri = hosting.upload_artifact(Path("mobilenet-fp32-onnx.tar.gz"), bucket="drdeploy")
>>> small = ServerlessConfig(memory_mb=1024)
>>> with hosting.deployed(EndpointDefinition("demo", "drdeploy:lean", uri, small)):
...     answer = hosting.invoke("demo", photograph, content_type="image/jpeg")
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from drdeploy.errors import EndpointError, EndpointFailed, EndpointTimeout
from drdeploy.files import sha256_of_file
from drdeploy.hosting.sagemaker.aws_errors import NoSuchResource, translate_aws_errors
from drdeploy.hosting.sagemaker.clock import Clock
from drdeploy.hosting.sagemaker.cloudwatch import DATAPOINTS_MAX, METRICS_NAMESPACE
from drdeploy.hosting.sagemaker.configs import VARIANT, EndpointDefinition
from drdeploy.hosting.sagemaker.connection import (
    Clients,
    find_hosting_url,
    is_loopback_url,
    make_hosting_clients,
)
from drdeploy.hosting.sagemaker.invocation import (
    Invocation,
    InvocationOutcome,
    classify_connection_error,
    classify_error_response,
)
from drdeploy.units import SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from mypy_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


MetricName = Literal[
    "ModelSetupTime", "ModelLatency", "OverheadLatency", "Invocations", "MemoryUtilization"
]
ResourceKind = Literal["endpoint", "endpoint configuration", "model"]
"""The kinds of resources that an endpoint consists of, in the order in which they are deleted."""

_POLL_LOCAL_S = 0.2
_POLL_AWS_S = 5.0


@dataclass(frozen=True)
class Datapoint:
    """One period of a CloudWatch metric.

    Attributes:
        start: When the period begins, UTC.
        average: The average over the period, in the unit of the metric; times are in microseconds.
        samples: How many values were measured in the period.
    """

    start: datetime
    average: float
    samples: int


class Hosting:
    """Creates, invokes and deletes endpoints, on AWS or on the local service.

    If the API refuses a call or does not answer it, the method raises :class:`EndpointError`. Only
    :meth:`invoke` returns the failure instead of raising an error.

    Args:
        clients: The boto3 clients to use.
        is_local: Whether the clients talk to the local service.
        clock: The clock that measures latencies and waits.
    """

    def __init__(self, clients: Clients, *, is_local: bool, clock: Clock | None = None) -> None:
        self.is_local = is_local
        self._clients = clients
        self._clock = clock or Clock()

    @classmethod
    def connect(
        cls,
        endpoint_url: str | None = None,
        *,
        region: str | None = None,
        max_connections: int = 10,
        clock: Clock | None = None,
    ) -> Self:
        """Connect to the local service at ``endpoint_url``, or to AWS.

        Args:
            endpoint_url: The URL of the local service, for example ``http://127.0.0.1:8765``. If it
                is None, the client connects to the address in ``AWS_ENDPOINT_URL`` and similar
                variables, and without such an address to AWS.
            region: The AWS region; by default the region in the user's configuration, and us-east-1
                for the local service.
            max_connections: The largest number of invocations that may run at once.
            clock: The clock that measures latencies and waits.

        Raises:
            InvalidInput: No region is set for AWS.
            MissingExtra: The extra ``cloud`` is not installed.
        """
        clients = make_hosting_clients(endpoint_url, region=region, max_connections=max_connections)
        return cls(clients, is_local=is_loopback_url(find_hosting_url(endpoint_url)), clock=clock)

    # -- the artifact ------------------------------------------------------------------

    def upload_artifact(self, archive: Path, *, bucket: str) -> str:
        """Upload a ``model.tar.gz`` to S3, under a key that contains the start of its digest.

        Returns:
            The archive's ``s3://`` URI.  Different archives have different URIs, so an upload never
            changes the model of an existing endpoint.

        Raises:
            EndpointError: S3 refuses the upload. On AWS, this also happens if the bucket does not
                exist; the local service creates a missing bucket.
        """
        key = f"artifacts/{sha256_of_file(archive)[:16]}/{archive.name}"
        with translate_aws_errors(f"upload {archive.name}", f"s3://{bucket}/{key}"):
            if self.is_local:
                self._clients.s3.create_bucket(Bucket=bucket)
            self._clients.s3.upload_file(str(archive), bucket, key)
        return f"s3://{bucket}/{key}"

    # -- the endpoint ------------------------------------------------------------------

    def create(self, definition: EndpointDefinition) -> None:
        """Create a model, a configuration and an endpoint; do not wait until the endpoint is ready.

        Raises:
            EndpointError: The API refuses to create one of the three. Those that were already
                created are deleted again.
        """
        name = definition.name
        sagemaker = self._clients.sagemaker
        settings = definition.asynchronous_settings
        asynchronous: dict[str, Any] = (
            {} if settings is None else {"AsyncInferenceConfig": settings}
        )
        creations: dict[ResourceKind, Callable[[], object]] = {
            "model": lambda: sagemaker.create_model(
                ModelName=name,
                ExecutionRoleArn=definition.role_arn,
                PrimaryContainer={
                    "Image": definition.image,
                    "ModelDataUrl": definition.model_data_url,
                    "Environment": dict(definition.environment),
                },
            ),
            "endpoint configuration": lambda: sagemaker.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[definition.production_variant],
                **asynchronous,
            ),
            "endpoint": lambda: sagemaker.create_endpoint(
                EndpointName=name, EndpointConfigName=name
            ),
        }
        made: list[ResourceKind] = []
        try:
            for kind, creation in creations.items():
                with translate_aws_errors(f"create the {kind}", name):
                    creation()
                made.append(kind)
        except BaseException as err:
            # Only what this call made is deleted. Somebody else's model of the same name must stay.
            self._delete_after_error(err, name, made)
            raise

    def wait_in_service(self, name: str, *, timeout_s: float = 1800.0) -> None:
        """Wait until the endpoint is in service.

        Raises:
            EndpointFailed: The endpoint has failed. The message contains its ``FailureReason``.
            EndpointTimeout: The endpoint is not in service after ``timeout_s`` seconds.
        """
        deadline = self._clock.monotonic() + timeout_s
        while True:
            endpoint = self._describe_endpoint(name)
            status = endpoint["EndpointStatus"]
            if status == "InService":
                return
            if status in {"Failed", "OutOfService", "UpdateRollbackFailed"}:
                reason = endpoint.get("FailureReason", "no reason was given")
                raise EndpointFailed(
                    f"The endpoint is {status}: {reason}",
                    where=name,
                    remedy="Read the endpoint's log, then correct the image, the model or the size",
                )
            self._sleep_or_raise_timeout(deadline, name, f"{status} and not InService", timeout_s)

    @contextmanager
    def deployed(
        self, definition: EndpointDefinition, *, timeout_s: float = 1800.0
    ) -> Iterator[EndpointDefinition]:
        """Create an endpoint, wait until it is ready, and delete it after the ``with`` block."""
        self.create(definition)
        try:
            self.wait_in_service(definition.name, timeout_s=timeout_s)
            yield definition
        except BaseException as err:
            self._delete_after_error(err, definition.name, get_args(ResourceKind))
            raise
        self.delete(definition.name)

    def delete(
        self,
        name: str,
        *,
        kinds: Collection[ResourceKind] = get_args(ResourceKind),
        timeout_s: float = 600.0,
    ) -> None:
        """Delete an endpoint, its configuration and its model; a missing resource is skipped.

        Args:
            name: The name of the endpoint, of its configuration and of its model.
            kinds: Which of the three resources to delete.
            timeout_s: The seconds to wait until the endpoint is gone.

        Raises:
            EndpointError: A resource could not be deleted; the message says what remains.
        """
        sagemaker = self._clients.sagemaker
        deletions: dict[ResourceKind, Callable[[], object]] = {
            "endpoint": lambda: self._delete_endpoint_and_wait(name, timeout_s),
            "endpoint configuration": lambda: sagemaker.delete_endpoint_config(
                EndpointConfigName=name
            ),
            "model": lambda: sagemaker.delete_model(ModelName=name),
        }
        # Even if one deletion is refused, the others are tried, because an endpoint that remains
        # costs money every hour.
        remaining: dict[ResourceKind, EndpointError] = {}
        for kind in (kind for kind in deletions if kind in kinds):
            try:
                with suppress(NoSuchResource), translate_aws_errors(f"delete the {kind}", name):
                    deletions[kind]()
            except EndpointError as err:
                remaining[kind] = err
        if remaining:
            raise EndpointError(
                "; ".join(error.what for error in remaining.values()),
                where=name,
                remedy=(
                    "Delete these resources by hand, because they may cost money: "
                    f"{', '.join(remaining)}"
                ),
            ) from next(iter(remaining.values()))

    def exists(self, name: str) -> bool:
        """Return whether an endpoint exists, in any status."""
        try:
            self._describe_endpoint(name)
        except NoSuchResource:
            return False
        return True

    def failure_reason(self, name: str) -> str:
        """Return why an endpoint has failed; empty if it does not exist or has not failed."""
        try:
            return self._describe_endpoint(name).get("FailureReason", "")
        except NoSuchResource:
            return ""

    def _describe_endpoint(self, name: str) -> DescribeEndpointOutputTypeDef:
        with translate_aws_errors("describe the endpoint", name):
            return self._clients.sagemaker.describe_endpoint(EndpointName=name)

    # -- one invocation ----------------------------------------------------------------

    def invoke(
        self,
        name: str,
        body: bytes,
        *,
        content_type: str = "image/jpeg",
        accept: str = "application/json",
    ) -> Invocation:
        """Send one request, never retry it, and return the answer or the failure."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        started_at, start = self._clock.now(), self._clock.monotonic()
        outcome: InvocationOutcome = "ok"
        error, answer, answer_type = "", b"", ""
        try:
            response = self._clients.runtime.invoke_endpoint(
                EndpointName=name, Body=body, ContentType=content_type, Accept=accept
            )
            answer = response["Body"].read()
            answer_type = response.get("ContentType", "")
            status = response["ResponseMetadata"]["HTTPStatusCode"]
        except ClientError as err:
            outcome, status, error = classify_error_response(err)
        except (BotoCoreError, ResponseParserError, OSError) as err:
            outcome, status, error = classify_connection_error(err)
        return Invocation(
            outcome=outcome,
            status=status,
            error=error,
            body=answer,
            content_type=answer_type,
            payload_bytes=len(body),
            started_at=started_at,
            latency_s=self._clock.monotonic() - start,
        )

    # -- metrics -----------------------------------------------------------------------

    def metric(
        self, name: str, metric: MetricName, *, start: datetime, end: datetime, period_s: int = 60
    ) -> tuple[Datapoint, ...]:
        """Return the datapoints of one metric of an endpoint, oldest first.

        Args:
            name: The endpoint's name.
            metric: The metric's name.
            start: The beginning of the time range to read, UTC.
            end: The end of the time range to read, UTC.
            period_s: Seconds that one datapoint covers. AWS publishes an endpoint's metrics once
                per minute. The local service publishes them as soon as they are measured.
        """
        window = timedelta(seconds=period_s * DATAPOINTS_MAX)
        # CloudWatch rounds a start down. A whole window that does not begin with a period would
        # then have one datapoint too many, which CloudWatch refuses.
        second = start.second - start.second % min(period_s, SECONDS_PER_MINUTE)
        start = start.replace(second=second, microsecond=0)
        points: list[Datapoint] = []
        while start < end:
            with translate_aws_errors(f"read the metric {metric}", name):
                answer = self._clients.cloudwatch.get_metric_statistics(
                    Namespace=METRICS_NAMESPACE,
                    MetricName=metric,
                    Dimensions=[
                        {"Name": "EndpointName", "Value": name},
                        {"Name": "VariantName", "Value": VARIANT},
                    ],
                    StartTime=start,
                    EndTime=min(start + window, end),
                    Period=period_s,
                    Statistics=["Average", "SampleCount"],
                )
            points += [
                Datapoint(point["Timestamp"], point["Average"], int(point["SampleCount"]))
                for point in answer["Datapoints"]
            ]
            start += window
        return tuple(sorted(points, key=lambda point: point.start))

    # -- deletion ------------------------------------------------------------------------

    def _delete_endpoint_and_wait(self, name: str, timeout_s: float) -> None:
        self._clients.sagemaker.delete_endpoint(EndpointName=name)
        deadline = self._clock.monotonic() + timeout_s
        while self.exists(name):
            self._sleep_or_raise_timeout(deadline, name, "not yet deleted", timeout_s)

    def _sleep_or_raise_timeout(
        self, deadline: float, name: str, state: str, timeout_s: float
    ) -> None:
        if self._clock.monotonic() >= deadline:
            raise EndpointTimeout(f"The endpoint is {state} after {timeout_s:.0f} s", where=name)
        self._clock.sleep(_POLL_LOCAL_S if self.is_local else _POLL_AWS_S)

    def _delete_after_error(
        self, error: BaseException, name: str, kinds: Collection[ResourceKind]
    ) -> None:
        """Delete an endpoint after an error, and add to the error what could not be deleted."""
        try:
            self.delete(name, kinds=kinds)
        except EndpointError as failure:
            if isinstance(error, EndpointError):
                what = (
                    f"{error.what}. The resources created before the error were not all deleted: "
                    f"{failure.what}"
                )
                raise type(error)(what, where=name, remedy=failure.remedy) from error
            error.add_note(str(failure))

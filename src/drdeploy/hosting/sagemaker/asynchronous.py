"""Send requests to asynchronous endpoints, whose results are written to S3.

A request names an object in S3. SageMaker queues the request, and answers at once with two URIs:
one for the result, and one for the report of a failure. The client waits until an object exists at
one of the two URIs.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from drdeploy.errors import EndpointError, EndpointTimeout
from drdeploy.hosting.sagemaker.aws_errors import translate_aws_errors
from drdeploy.hosting.sagemaker.clock import Clock
from drdeploy.hosting.sagemaker.connection import (
    find_hosting_url,
    is_loopback_url,
    make_hosting_clients,
)
from drdeploy.hosting.sagemaker.invocation import (
    InvocationOutcome,
    classify_connection_error,
    classify_error_response,
)
from drdeploy.hosting.sagemaker.s3_objects import delete_all_versions
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

OWN_FOLDER = "drdeploy"
"""The folder, inside the folders of inputs and results, for requests that drdeploy itself sends.
"""
_POLL_LOCAL_S = 0.2
_POLL_AWS_S = 5.0


@dataclass(frozen=True)
class QueuedInvocation:
    """The URIs at which the result of an asynchronous request, or its failure, will be stored.

    Attributes:
        inference_id: The identifier of the request.
        output_location: The ``s3://`` URI of the result.
        failure_location: The ``s3://`` URI of the failure, or None if failures are not stored.
    """

    inference_id: str
    output_location: str
    failure_location: str | None


@dataclass(frozen=True)
class RefusedRequest:
    """An asynchronous request that SageMaker refused.

    Attributes:
        outcome: The kind of failure.
        status: The HTTP status of the refusal; 0 if there was no answer.
        error: The reason for the refusal, on one line.
    """

    outcome: InvocationOutcome
    status: int
    error: str


@dataclass(frozen=True)
class AsynchronousResult:
    """The result of an asynchronous request.

    Attributes:
        body: The answer of the model, or the reason why the request failed.
        is_failure: Whether the request failed.
    """

    body: bytes
    is_failure: bool

    @property
    def reason(self) -> str:
        """Why the request failed, in one line; empty if it succeeded."""
        return " ".join(self.body.decode("utf-8", "replace").split()) if self.is_failure else ""


@dataclass(frozen=True)
class AsynchronousClient:
    """Sends requests to an asynchronous endpoint, and waits for their results in S3.

    Attributes:
        sagemaker: The boto3 client that describes endpoints.
        runtime: The boto3 client that sends requests.
        s3: The boto3 client that stores inputs and reads results.
        clock: The clock that measures how long the client waits.
        poll_s: The seconds after which the client looks for a result again.
    """

    sagemaker: SageMakerClient
    runtime: SageMakerRuntimeClient
    s3: S3Client
    clock: Clock
    poll_s: float

    @classmethod
    def connect(
        cls,
        endpoint_url: str | None = None,
        *,
        region: str | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Connect to the local service or to AWS, as :meth:`Hosting.connect` does.

        Raises:
            InvalidInput: No region is set for AWS.
        """
        clients = make_hosting_clients(endpoint_url, region=region)
        poll_s = _POLL_LOCAL_S if is_loopback_url(find_hosting_url(endpoint_url)) else _POLL_AWS_S
        return cls(clients.sagemaker, clients.runtime, clients.s3, clock or Clock(), poll_s)

    def find_inputs_uri(self, endpoint: str) -> str:
        """Return the S3 folder to which the inputs of an asynchronous endpoint are uploaded.

        This is the folder ``inputs`` next to the folder of results. The endpoint must have been
        made with drdeploy's Terraform module ``asynchronous-endpoint``, which lays the folders out
        like this.

        Raises:
            EndpointError: The endpoint is not asynchronous, or SageMaker refuses to describe it.
        """
        with translate_aws_errors("describe the endpoint", endpoint):
            described = self.sagemaker.describe_endpoint(EndpointName=endpoint)
        asynchronous = described.get("AsyncInferenceConfig")
        if asynchronous is None:
            raise EndpointError(
                "The endpoint is not asynchronous",
                where=endpoint,
                remedy="Omit --asynchronous",
            )
        folder, _, _ = asynchronous["OutputConfig"]["S3OutputPath"].rstrip("/").rpartition("/")
        return f"{folder}/inputs/"

    def invoke_and_wait_for_result(
        self, endpoint: str, inputs_uri: str, body: bytes, content_type: str, *, timeout_s: float
    ) -> AsynchronousResult:
        """Send one request, wait for its result, and delete its input and its result from S3.

        The two objects are deleted because Terraform cannot delete a bucket that still holds
        objects.

        Args:
            endpoint: The name of the endpoint.
            inputs_uri: The ``s3://`` folder of the inputs, which ends in a slash.
            body: The input.
            content_type: The content type of the input.
            timeout_s: How many seconds to wait. An endpoint that has scaled to zero takes minutes
                to start an instance.

        Raises:
            EndpointError: S3 or SageMaker refuses the request.
            EndpointTimeout: Neither a result nor a failure is in S3 after ``timeout_s`` seconds.
        """
        input_uri = f"{inputs_uri}{OWN_FOLDER}/{uuid.uuid4().hex}"
        stored = [input_uri]
        try:
            queued = self.store_input_and_invoke(
                endpoint,
                input_uri,
                body,
                content_type,
                S3OutputPathExtension=OWN_FOLDER,
            )
            stored += [queued.output_location, *filter(None, [queued.failure_location])]
            return self.wait_for_result(queued, timeout_s=timeout_s)
        finally:
            self.delete_versions(*stored)

    def store_input_and_invoke(
        self, endpoint: str, input_uri: str, body: bytes, content_type: str, **members: Any
    ) -> QueuedInvocation:
        """Store an input in S3, and send a request that names it.

        Args:
            endpoint: The name of the endpoint.
            input_uri: The ``s3://`` URI at which the input is stored.
            body: The input.
            content_type: The content type of the input.
            members: Further fields of the request ``InvokeEndpointAsync``.

        Raises:
            EndpointError: S3 or SageMaker refuses the request.
        """
        self.store_input(input_uri, body, content_type)
        with translate_aws_errors("send the asynchronous request", endpoint):
            return self._call_invoke_endpoint_async(endpoint, input_uri, content_type, **members)

    def store_input(self, input_uri: str, body: bytes, content_type: str) -> None:
        """Store an input in S3.

        Raises:
            EndpointError: S3 refuses the input.
        """
        bucket, key = split_s3_uri(input_uri)
        with translate_aws_errors("store the input", input_uri):
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)

    def send_or_return_refusal(
        self, endpoint: str, input_uri: str, content_type: str, **members: Any
    ) -> QueuedInvocation | RefusedRequest:
        """Send a request that names a stored input; return the queued request or the refusal.

        Args:
            endpoint: The name of the endpoint.
            input_uri: The ``s3://`` URI of the input.
            content_type: The content type of the input.
            members: Further fields of the request ``InvokeEndpointAsync``.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return self._call_invoke_endpoint_async(endpoint, input_uri, content_type, **members)
        except ClientError as err:
            return RefusedRequest(*classify_error_response(err))
        except (BotoCoreError, ResponseParserError, OSError) as err:
            return RefusedRequest(*classify_connection_error(err))

    def _call_invoke_endpoint_async(
        self, endpoint: str, input_uri: str, content_type: str, **members: Any
    ) -> QueuedInvocation:
        answer = self.runtime.invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=input_uri, ContentType=content_type, **members
        )
        return QueuedInvocation(
            inference_id=answer.get("InferenceId", ""),
            output_location=answer["OutputLocation"],
            failure_location=answer.get("FailureLocation"),
        )

    def wait_for_result(self, queued: QueuedInvocation, *, timeout_s: float) -> AsynchronousResult:
        """Wait until the result or the failure of a request is in S3, and return it.

        Raises:
            EndpointTimeout: Neither a result nor a failure is in S3 after ``timeout_s`` seconds.
            EndpointError: S3 refuses to read the results.
        """
        deadline = self.clock.monotonic() + timeout_s
        while True:
            body = self.read_object(queued.output_location)
            if body is not None:
                return AsynchronousResult(body, is_failure=False)
            if queued.failure_location is not None:
                body = self.read_object(queued.failure_location)
                if body is not None:
                    return AsynchronousResult(body, is_failure=True)
            if self.clock.monotonic() >= deadline:
                raise EndpointTimeout(
                    f"No result and no failure arrived within {timeout_s:.0f} s",
                    where=queued.output_location,
                    remedy="Read the log of the endpoint. If an instance is still starting, wait "
                    "longer, in `drdeploy endpoint invoke` with --timeout-s",
                )
            self.clock.sleep(self.poll_s)

    def delete_versions(self, *uris: str) -> None:
        """Delete all versions of the given objects; an object that does not exist is skipped.

        Raises:
            EndpointError: S3 refuses the deletion.
        """
        for uri in uris:
            bucket, key = split_s3_uri(uri)
            with translate_aws_errors("delete the object", uri):
                found = self.s3.list_object_versions(Bucket=bucket, Prefix=key)
                for one in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
                    if one["Key"] == key:
                        self.s3.delete_object(Bucket=bucket, Key=key, VersionId=one["VersionId"])

    def list_folder(self, folder_uri: str) -> set[str]:
        """Return the ``s3://`` URIs of all objects in a folder; the folder's URI ends in a slash.

        Raises:
            EndpointError: S3 refuses to list the folder.
        """
        bucket, prefix = split_s3_uri(folder_uri)
        with translate_aws_errors("list the results", folder_uri):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return {
                f"s3://{bucket}/{one['Key']}" for page in pages for one in page.get("Contents", ())
            }

    def read_object(self, uri: str) -> bytes | None:
        """Return the content of an object, or None if the object does not exist.

        Raises:
            EndpointError: S3 refuses to read the object.
        """
        from botocore.exceptions import ClientError

        bucket, key = split_s3_uri(uri)
        with translate_aws_errors("read the result", uri):
            try:
                body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except ClientError as err:
                if err.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                    return None
                raise
        return body

    def delete_folder(self, folder_uri: str) -> None:
        """Delete all versions of all objects in a folder; the folder's URI ends in a slash.

        Raises:
            EndpointError: S3 refuses the deletion.
        """
        bucket, prefix = split_s3_uri(folder_uri)
        with translate_aws_errors("delete the objects", folder_uri):
            delete_all_versions(self.s3, bucket, prefix)

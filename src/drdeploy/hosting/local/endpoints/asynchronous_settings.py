"""The settings of an asynchronous endpoint: where results go, and who is notified of them.

Source: API reference, ``AsyncInferenceConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from drdeploy.hosting.local.endpoints.execution_role import RequiredPermission
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUCCESS_WITH_RESPONSE = "SUCCESS_NOTIFICATION_TOPIC"
ERROR_WITH_RESPONSE = "ERROR_NOTIFICATION_TOPIC"


@dataclass(frozen=True)
class AsynchronousSettings:
    """What an endpoint configuration says about asynchronous requests.

    Attributes:
        region: The AWS region of the endpoint and of the KMS key.
        output_path: The ``s3://`` folder of the results.
        failure_path: The ``s3://`` folder of the failures, or None if failures are not stored.
        success_topic: The ARN of the SNS topic for completed requests, or None.
        error_topic: The ARN of the SNS topic for failed requests, or None.
        includes_response_in: Which SNS topics get the model's answer in their messages.
        concurrency_per_instance: The largest number of requests that one instance processes at a
            time; None if the endpoint configuration leaves the number to SageMaker.
        kms_key_id: The KMS key that encrypts results and failures in S3. None means the encryption
            of the bucket.
    """

    region: str
    output_path: str
    failure_path: str | None
    success_topic: str | None
    error_topic: str | None
    includes_response_in: frozenset[str]
    concurrency_per_instance: int | None
    kms_key_id: str | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], region: str) -> Self | None:
        """Return an endpoint configuration's settings; None if the endpoint is not asynchronous."""
        asynchronous = config.get("AsyncInferenceConfig")
        if not asynchronous:
            return None
        output = asynchronous["OutputConfig"]
        topics = output.get("NotificationConfig") or {}
        return cls(
            region=region,
            output_path=output["S3OutputPath"].rstrip("/"),
            failure_path=(output.get("S3FailurePath") or "").rstrip("/") or None,
            success_topic=topics.get("SuccessTopic") or None,
            error_topic=topics.get("ErrorTopic") or None,
            includes_response_in=frozenset(topics.get("IncludeInferenceResponseIn") or ()),
            concurrency_per_instance=(asynchronous.get("ClientConfig") or {}).get(
                "MaxConcurrentInvocationsPerInstance"
            ),
            kms_key_id=output.get("KmsKeyId") or None,
        )

    def list_folders(self) -> tuple[str, ...]:
        """Return the ``s3://`` folders to which SageMaker writes."""
        return tuple(path for path in (self.output_path, self.failure_path) if path)

    def list_topics(self) -> tuple[str, ...]:
        """Return the ARNs of the SNS topics that are notified."""
        return tuple(topic for topic in (self.success_topic, self.error_topic) if topic)

    def list_required_permissions(self) -> Iterator[RequiredPermission]:
        """Yield each action that the execution role needs.

        The permission to read the inputs is not included, because the bucket of an input is not
        known before the request arrives.
        """
        for folder in self.list_folders():
            bucket, prefix = split_s3_uri(folder)
            objects = f"arn:aws:s3:::{bucket}/{prefix}{'/' if prefix else ''}*"
            yield RequiredPermission("s3:PutObject", objects, f"the results: '{folder}'")
        for topic in self.list_topics():
            yield RequiredPermission("sns:Publish", topic, f"the topic: '{topic}'")

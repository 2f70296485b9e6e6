"""boto3 clients set up for measuring, the same for AWS and for the local service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker.quotas import DEFAULT_REGION, INVOCATION_TIMEOUT_S

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

READ_TIMEOUT_S = INVOCATION_TIMEOUT_S + 15
"""Longer than SageMaker's own limit, so that its answer arrives and not our timeout."""


@dataclass(frozen=True)
class Clients:
    """The four services that hosting takes part in."""

    sagemaker: SageMakerClient
    runtime: SageMakerRuntimeClient
    cloudwatch: CloudWatchClient
    s3: S3Client


def connect(
    endpoint_url: str | None = None, *, region: str | None = None, max_connections: int = 10
) -> Clients:
    """Make the clients.

    Args:
        endpoint_url: The local service; None means AWS.
        region: AWS region; the session's own by default.
        max_connections: Invocations that may be under way at once.

    Raises:
        InvalidInput: No region is known for AWS.
    """
    session = _session(endpoint_url, region)
    local = is_loopback(endpoint_url)

    def client(service: str, **options: Any) -> Any:
        config = _config(local=local, **options)
        return session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]  # the overloads want literal names

    return Clients(
        sagemaker=client("sagemaker"),
        # A retry would turn the latency into fiction: one attempt, always.
        runtime=client(
            "sagemaker-runtime",
            retries={"total_max_attempts": 1},
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
        ),
        cloudwatch=client("cloudwatch"),
        s3=client("s3", s3={"addressing_style": "path"} if local else None),
    )


def connect_to(service: str, endpoint_url: str | None = None, *, region: str | None = None) -> Any:
    """Make the client of any other service: ECR, STS and what else a deployment consists of.

    Raises:
        InvalidInput: No region is known for AWS.
    """
    session = _session(endpoint_url, region)
    local = is_loopback(endpoint_url)
    options = {"s3": {"addressing_style": "path"}} if local and service == "s3" else {}
    config = _config(local=local, **options)
    return session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]  # the overloads want literal names


def is_loopback(endpoint_url: str | None) -> bool:
    """Whether the URL names this very machine."""
    host = urlsplit(endpoint_url or "").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _session(endpoint_url: str | None, region: str | None) -> boto3.Session:
    import boto3

    if is_loopback(endpoint_url):
        # Made-up credentials, and only for this machine: they never travel.
        return boto3.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret, see above
            region_name=region or DEFAULT_REGION,
        )
    session = boto3.Session(region_name=region)
    if not session.region_name:
        raise InvalidInput(
            "No AWS region is set", where="region", remedy="Set AWS_REGION or name the region"
        )
    return session


def _config(*, local: bool, **options: Any) -> Config:
    from botocore.config import Config

    defaults: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 5}}
    if local:
        # A proxy of the environment must not see what never leaves the machine.
        defaults["proxies"] = {}
    return Config(**(defaults | options))

"""boto3 clients configured for measuring, for AWS and for the local service alike."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker.quotas import DEFAULT_REGION, INVOCATION_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

READ_TIMEOUT_S = INVOCATION_TIMEOUT_S + 15
"""Longer than SageMaker's own limit, so that a slow model ends in SageMaker's error, which says
what happened, and not in a timeout of ours, which does not."""


@dataclass(frozen=True)
class Clients:
    """The boto3 clients of the four services that hosting needs."""

    sagemaker: SageMakerClient
    runtime: SageMakerRuntimeClient
    cloudwatch: CloudWatchClient
    s3: S3Client


def connect(
    endpoint_url: str | None = None, *, region: str | None = None, max_connections: int = 10
) -> Clients:
    """Make the clients that :class:`Hosting` uses; :meth:`Hosting.connect` explains the options."""
    client = _client_factory(endpoint_url, region)
    return Clients(
        sagemaker=client("sagemaker"),
        # No retries: they would hide failures, and their waits would count as latency.
        runtime=client(
            "sagemaker-runtime",
            retries={"total_max_attempts": 1},
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
        ),
        cloudwatch=client("cloudwatch"),
        s3=client("s3"),
    )


def connect_to(service: str, endpoint_url: str | None = None, *, region: str | None = None) -> Any:
    """Make the client of any one service, for example of ECR or STS for a deployment.

    Raises:
        InvalidInput: No region is set for AWS.
    """
    return _client_factory(endpoint_url, region)(service)


def is_loopback(endpoint_url: str | None) -> bool:
    """Return whether a URL leads to this machine; names other than localhost are not resolved."""
    host = urlsplit(endpoint_url or "").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _client_factory(endpoint_url: str | None, region: str | None) -> Callable[..., Any]:
    import boto3
    from botocore.config import Config

    is_local = is_loopback(endpoint_url)
    if is_local:
        # The user's own credentials have no business here; the local service accepts any.
        session = boto3.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret, see above
            region_name=region or DEFAULT_REGION,
        )
    else:
        session = boto3.Session(region_name=region)
    if not session.region_name:
        raise InvalidInput(
            "No AWS region is set", where="region", remedy="Set AWS_REGION or name the region"
        )

    def client(service: str, **options: Any) -> Any:
        settings: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 5}}
        if is_local:
            # A proxy in the environment must not see what never leaves this machine.
            settings["proxies"] = {}
        if is_local and service == "s3":
            # By default the bucket becomes part of the host name, which does not resolve here.
            settings["s3"] = {"addressing_style": "path"}
        config = Config(**(settings | options))
        return session.client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]  # the overloads want literal names

    return client

"""The target of a deployment: an AWS account, or the local service on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import (
    Hosting,
    find_hosting_url,
    is_loopback_url,
    make_boto3_client,
    translate_aws_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.sagemaker.platforms import HostingPlatform


def call_aws_or_return_none_if_absent(ask: Callable[[], Any], *absent: str) -> Any:
    """Return the answer of a boto3 call; None if it fails with an error code in ``absent``."""
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") in absent:
            return None
        raise


def is_local_service_running(endpoint_url: str) -> bool:
    """Return whether the local service at an address is still running.

    The service counts as ended only if the connection is refused. After any other failure, for
    example a timeout, it counts as running, because it may still have endpoints.
    """
    import socket
    from urllib.parse import urlsplit

    address = urlsplit(endpoint_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), 10.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True)
class AwsAccount:
    """An account in one region, with its boto3 clients.

    Attributes:
        endpoint_url: The URL of the local service; None means AWS.
        region: The AWS region; None means the user's configuration: ``AWS_REGION``,
            ``AWS_DEFAULT_REGION`` or the profile.
    """

    endpoint_url: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        """Refuse an account on AWS if AWS's settings send all requests to this machine.

        Terraform and boto3 read the settings. They would then find none of the resources on AWS,
        and forget them, although they cost money.

        Raises:
            InvalidInput: A variable or the AWS profile names a service on this machine.
        """
        url = find_hosting_url(self.endpoint_url)
        if url and not self.endpoint_url:
            raise InvalidInput(
                f"The deployment is on AWS, but AWS's settings name the local service at {url}",
                where="AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SAGEMAKER, "
                "endpoint_url in the AWS profile",
                remedy="Unset these settings, or choose the local service as the target",
            )

    @property
    def platform(self) -> HostingPlatform:
        """``local`` if the URL belongs to this machine, else ``aws``."""
        return "local" if is_loopback_url(self.endpoint_url) else "aws"

    @cached_property
    def hosting_client(self) -> Hosting:
        """The client that waits for endpoints and invokes them."""
        return Hosting.connect(self.endpoint_url, region=self.region, max_connections=256)

    def boto3_client(self, service: str) -> Any:
        """Return the boto3 client of a service; the first call for a service makes the client.

        Raises:
            InvalidInput: No region is known for AWS.
        """
        if service not in self._sagemaker_and_s3_clients:
            self._sagemaker_and_s3_clients[service] = make_boto3_client(
                service, self.endpoint_url, region=self.region
            )
        return self._sagemaker_and_s3_clients[service]

    @cached_property
    def _sagemaker_and_s3_clients(self) -> dict[str, Any]:
        return {}

    def find_region_name(self) -> str:
        """Return the region in use.

        Raises:
            InvalidInput: Neither this account nor the user's configuration names a region.
        """
        return str(self.boto3_client("sts").meta.region_name)

    def check_credentials(self) -> str:
        """Check that the credentials are valid, and return the account's number.

        Raises:
            EndpointError: There are no credentials, or AWS refuses the credentials.
            InvalidInput: No region is known for AWS.
        """
        with translate_aws_errors("check the AWS credentials", self.endpoint_url or "AWS"):
            return str(self.boto3_client("sts").get_caller_identity()["Account"])

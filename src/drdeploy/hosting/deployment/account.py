"""Where a deployment goes: an AWS account, or the local service on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.hosting.sagemaker import Hosting, connect_to, is_loopback, translated_errors

if TYPE_CHECKING:
    from collections.abc import Callable

Platform = Literal["aws", "local"]


def answer_or_none(ask: Callable[[], Any], *absent: str) -> Any:
    """Return what boto3 answers; None where the error code is one that means absence."""
    from botocore.exceptions import ClientError

    try:
        return ask()
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") in absent:
            return None
        raise


@dataclass(frozen=True)
class Account:
    """An account in one region, and the boto3 clients that speak to it.

    Attributes:
        endpoint_url: URL of the local service; None means AWS.
        region: AWS region; None takes the one that boto3's session is configured with.
    """

    endpoint_url: str | None = None
    region: str | None = None

    @property
    def platform(self) -> Platform:
        """``local`` where the URL is one of this machine's own, else ``aws``."""
        return "local" if is_loopback(self.endpoint_url) else "aws"

    @cached_property
    def hosting(self) -> Hosting:
        """The client that waits for endpoints and invokes them."""
        return Hosting.connect(self.endpoint_url, region=self.region, max_connections=256)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; creating one takes a third of a second, once.

        Raises:
            InvalidInput: No region is known for AWS.
        """
        if service not in self._clients:
            self._clients[service] = connect_to(service, self.endpoint_url, region=self.region)
        return self._clients[service]

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def region_name(self) -> str:
        """Return the region in use.

        Raises:
            InvalidInput: Neither this account nor boto3's session names one.
        """
        return str(self.client("sts").meta.region_name)

    def check(self) -> str:
        """Return the account's number, which fails unless the credentials are valid.

        Raises:
            EndpointError: There are no credentials, or AWS refuses them.
        """
        with translated_errors("check the AWS credentials", self.endpoint_url or "AWS"):
            return str(self.client("sts").get_caller_identity()["Account"])

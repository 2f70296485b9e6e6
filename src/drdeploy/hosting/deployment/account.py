"""Where things are deployed: AWS, or the local service of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from drdeploy.hosting.sagemaker import Hosting, connect_to, is_loopback, translated_errors

Platform = Literal["aws", "local"]


@dataclass(frozen=True)
class Account:
    """Clients of the services that a deployment takes part in.

    Attributes:
        endpoint_url: The local service; None is AWS.
        region: None is the session's own.
    """

    endpoint_url: str | None = None
    region: str | None = None

    @property
    def platform(self) -> Platform:
        """``local`` where the service is this machine's."""
        return "local" if is_loopback(self.endpoint_url) else "aws"

    @cached_property
    def hosting(self) -> Hosting:
        """Waits, invokes and lists."""
        return Hosting.connect(self.endpoint_url, region=self.region, max_connections=256)

    def client(self, service: str) -> Any:
        """A boto3 client; making one takes a third of a second, so each is made once.

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
        """The region in use.

        Raises:
            InvalidInput: None is known.
        """
        return str(self.client("sts").meta.region_name)

    def check(self) -> str:
        """The account's number: whether the credentials are good for anything.

        Raises:
            EndpointError: There are none, or they are refused.
        """
        with translated_errors("find out whose credentials these are", self.endpoint_url or "AWS"):
            return str(self.client("sts").get_caller_identity()["Account"])

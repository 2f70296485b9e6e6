"""The boto3 clients of the provider, and the translation of Terraform's names into the API's."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

from aws_provider.arguments import member_named
from drdeploy.errors import InvalidInput

ATTEMPTS = 3


class Aws:
    """boto3 clients that speak to one loopback address, with made-up credentials.

    Args:
        endpoint_url: URL of the local service.

    Attributes:
        interrupted: Set when Terraform was interrupted; whoever waits for an endpoint gives up.

    Raises:
        InvalidInput: The address is not on this machine.
    """

    def __init__(self, endpoint_url: str) -> None:
        host = urlsplit(endpoint_url).hostname or ""
        if host not in {"127.0.0.1", "::1", "localhost"}:
            raise InvalidInput(
                "The test provider speaks to this machine only",
                where=endpoint_url,
                remedy="For AWS, use HashiCorp's own provider",
            )
        self.endpoint_url = endpoint_url
        self.region = "us-east-1"
        self.default_tags: dict[str, str] = {}
        self.interrupted = threading.Event()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """Return the client of a service in the provider's region."""
        import boto3
        from botocore.config import Config

        key = f"{service} {self.region}"
        with self._lock:
            if key not in self._clients:
                self._clients[key] = boto3.client(
                    service,  # type: ignore[call-overload]  # a str that the caller chose
                    endpoint_url=self.endpoint_url,
                    region_name=self.region,
                    aws_access_key_id="local",
                    aws_secret_access_key="local",
                    config=Config(
                        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                        max_pool_connections=50,
                        s3={"addressing_style": "path"},
                    ),
                )
            return self._clients[key]

    @property
    def account(self) -> str:
        """The account's number."""
        return str(self.client("sts").get_caller_identity()["Account"])

    def call(self, service: str, operation: str, values: dict[str, Any]) -> Any:
        """Call an operation with the values of a Terraform block, its names translated.

        Args:
            service: boto3's name of the service.
            operation: boto3's name of the operation, for example ``create_endpoint``.
            values: By Terraform's names, or by the API's; null is left out.
        """
        client = self.client(service)
        api_name = client.meta.method_to_api_mapping[operation]
        shape = client.meta.service_model.operation_model(api_name).input_shape
        return getattr(client, operation)(**translated(shape, values))


def translated(shape: Any, value: Any) -> Any:
    """Return a value of Terraform in the form that the API's shape asks for.

    ``memory_size_in_mb`` becomes ``MemorySizeInMB``; a block that can occur once becomes a
    structure; a map becomes a list of keys and values where the API has such a list; numbers
    become integers where the API has integers.
    """
    if shape.type_name == "structure":
        block = value[0] if isinstance(value, list) else value
        return _structure(shape, block or {})
    if shape.type_name == "list":
        if isinstance(value, dict):
            return [_pair(shape.member, key, one) for key, one in value.items()]
        return [translated(shape.member, one) for one in value]
    if shape.type_name in {"integer", "long"}:
        return int(value)
    if shape.type_name in {"float", "double"}:
        return float(value)  # Terraform sends a decimal fraction as text
    if shape.type_name == "string" and not isinstance(value, str):
        return str(value)
    return value


def _structure(shape: Any, block: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in block.items():
        name = member_named(shape, key)
        if name is not None and value is not None and value != []:
            found[name] = translated(shape.members[name], value)
    return found


def _pair(shape: Any, key: str, value: str) -> dict[str, str]:
    """Return an entry of a map as the API has it: with ``Key`` and ``Value``, or with ``Name``."""
    names = {name.lower(): name for name in shape.members}
    return {names.get("key") or names["name"]: key, names["value"]: value}

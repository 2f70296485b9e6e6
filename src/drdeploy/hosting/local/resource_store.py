"""The in-memory storage of models, endpoint configurations, endpoints and tags."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from drdeploy.hosting.local.api_errors import make_validation_error

if TYPE_CHECKING:
    from datetime import datetime

ACCOUNT = "123456789012"
"""The account id of moto, which is in every ARN of the local service."""


@dataclass(frozen=True)
class AccountRegion:
    """An account and a region. Names of resources are unique within this pair."""

    region: str
    account: str = ACCOUNT

    def make_arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource; the name is in lower case, as on SageMaker."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def make_endpoint_log_arn(self, endpoint: str) -> str:
        """Return the ARN of the log group that an endpoint's containers would have on AWS."""
        return self._make_log_group_arn(f"Endpoints/{endpoint}")

    def make_component_log_arn(self, component: str) -> str:
        """Return the ARN of the log group that an inference component would have on AWS."""
        return self._make_log_group_arn(f"InferenceComponents/{component}")

    def _make_log_group_arn(self, name: str) -> str:
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/sagemaker/{name}"


class StoredResource(Protocol):
    """A resource with a name and an ARN.

    Attributes:
        name: The name, in the spelling of the request that created the resource.
        arn: The ARN of the resource.
        tags: The values of the resource's tags, by key.
    """

    name: str
    arn: str
    tags: dict[str, str]


@dataclass(eq=False)
class ResourceRecord:
    """A model or an endpoint configuration.

    Attributes:
        kind: The kind, as the API spells it in members' names, for example ``EndpointConfig``.
        name: The name, in the spelling of the request that created the resource.
        arn: The ARN of the resource.
        created: When the resource was created.
        tags: The values of the resource's tags, by key.
        request: The request that created the resource.
    """

    kind: str
    name: str
    arn: str
    created: datetime
    tags: dict[str, str]
    request: dict[str, Any] = field(repr=False)

    def describe(self) -> dict[str, Any]:
        """Return the response of ``DescribeModel`` or ``DescribeEndpointConfig``."""
        return {**self.request, f"{self.kind}Arn": self.arn, "CreationTime": self.created}


R = TypeVar("R", bound=StoredResource)


class ResourceStore(Generic[R]):
    """The resources of one kind by name; safe to use from several threads.

    Names are unique regardless of case, because ARNs on AWS are in lower case. A method that adds a
    resource raises an :class:`ApiError` with AWS's message if the name exists already. The methods
    :meth:`find_or_raise` and :meth:`remove_resource` raise this error if the name does not exist.

    Args:
        kind: The name of the kind in messages, for example ``endpoint configuration``.
        arn_kind: The name of the kind in ARNs, for example ``endpoint-config``.
        account_region: The account and the region of the resources.
    """

    def __init__(self, kind: str, arn_kind: str, account_region: AccountRegion) -> None:
        self._kind = kind
        self._arn_kind = arn_kind
        self._account_region = account_region
        self._resources: dict[str, R] = {}
        self._lock = threading.Lock()

    def make_arn(self, name: str) -> str:
        """Return the ARN that a resource with the given name has, or would have."""
        return self._account_region.make_arn(self._arn_kind, name)

    def add_resource(self, resource: R) -> None:
        """Store a resource."""
        with self._lock:
            if resource.name.lower() in self._resources:
                raise make_validation_error(
                    f'Cannot create already existing {self._kind} "{resource.arn}".'
                )
            self._resources[resource.name.lower()] = resource

    def find_or_raise(self, name: str) -> R:
        """Return the resource with the given name, regardless of case."""
        resource = self._resources.get(name.lower())
        if resource is None:
            raise make_validation_error(f'Could not find {self._kind} "{self.make_arn(name)}".')
        return resource

    def find_exact(self, name: str) -> R | None:
        """Return the resource with exactly the given name, upper and lower case included, or None.

        ``CreateEndpoint`` ignores the case of an endpoint's name, but ``InvokeEndpoint`` does not
        (API reference, ``CreateEndpoint``).
        """
        resource = self._resources.get(name.lower())
        return resource if resource is not None and resource.name == name else None

    def remove_resource(self, name: str) -> R:
        """Remove a resource and return it."""
        resource = self.find_or_raise(name)
        with self._lock:
            self._resources.pop(name.lower(), None)
        return resource

    def list_resources(self) -> tuple[R, ...]:
        """Return all resources, oldest first."""
        with self._lock:
            return tuple(self._resources.values())

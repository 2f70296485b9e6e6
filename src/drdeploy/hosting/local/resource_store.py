"""In-memory storage of the control plane: models, endpoint configurations, endpoints, tags."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from drdeploy.hosting.local.api_errors import forbidden_now

if TYPE_CHECKING:
    from datetime import datetime

ACCOUNT = "123456789012"
"""The account id that moto's backends use; every ARN of the local service carries it."""


@dataclass(frozen=True)
class AccountRegion:
    """An account and a region: the namespace of resource names."""

    region: str
    account: str = ACCOUNT

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource; SageMaker writes its name in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def log_stream_arn(self, endpoint: str) -> str:
        """Return the ARN under which AWS would keep the log of an endpoint's containers."""
        return (
            f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/sagemaker/Endpoints/"
            f"{endpoint}"
        )


class StoredResource(Protocol):
    """Anything with a name and an ARN.

    Attributes:
        name: The name, spelled as its creator did.
        arn: The ARN, as :meth:`AccountRegion.arn` writes it.
        tags: Its tags: their values by key.
    """

    name: str
    arn: str
    tags: dict[str, str]


@dataclass(eq=False)
class ResourceRecord:
    """A model or an endpoint configuration, with the request that created it."""

    kind: str  # as the API spells it in members' names, for example EndpointConfig
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

    Names are unique whatever their case, as on AWS, where ARNs are in lower case.  A name that is
    taken, or that no resource has, raises the :class:`ApiError` that AWS answers with.

    Args:
        kind: What messages call the kind, for example ``endpoint configuration``.
        arn_kind: What ARNs call the kind, for example ``endpoint-config``.
        account_region: Where the resources are.
    """

    def __init__(self, kind: str, arn_kind: str, account_region: AccountRegion) -> None:
        self._kind = kind
        self._arn_kind = arn_kind
        self._account_region = account_region
        self._resources: dict[str, R] = {}
        self._lock = threading.Lock()

    def arn_of(self, name: str) -> str:
        """Return the ARN that a resource of that name has, or would have."""
        return self._account_region.arn(self._arn_kind, name)

    def add(self, resource: R) -> None:
        """Store a resource."""
        with self._lock:
            if resource.name.lower() in self._resources:
                raise forbidden_now(
                    f'Cannot create already existing {self._kind} "{resource.arn}".'
                )
            self._resources[resource.name.lower()] = resource

    def get(self, name: str) -> R:
        """Return the resource of that name, whatever its case."""
        resource = self._resources.get(name.lower())
        if resource is None:
            raise forbidden_now(f'Could not find {self._kind} "{self.arn_of(name)}".')
        return resource

    def find_exact(self, name: str) -> R | None:
        """Return the resource of that name in exactly that spelling, or None.

        An endpoint's name is case-insensitive in ``CreateEndpoint``, but ``InvokeEndpoint`` must
        match its case (API reference, ``CreateEndpoint``).
        """
        resource = self._resources.get(name.lower())
        return resource if resource is not None and resource.name == name else None

    def remove(self, name: str) -> R:
        """Remove a resource and return it."""
        resource = self.get(name)
        with self._lock:
            self._resources.pop(name.lower(), None)
        return resource

    def all(self) -> tuple[R, ...]:
        """Return every resource, oldest first."""
        with self._lock:
            return tuple(self._resources.values())

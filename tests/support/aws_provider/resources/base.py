"""The interface of the handlers, and what most of them have in common."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_provider.aws import Aws
    from aws_provider.values import State

TAGS = frozenset({"tags", "tags_all"})

GONE = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchEntity",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NotFound",
        "NotFoundException",
        "ObjectNotFoundException",
        "OwnershipControlsNotFoundError",
        "RepositoryNotFoundException",
        "RepositoryPolicyNotFoundException",
        "LifecyclePolicyNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
"""Error codes that mean that there is no such resource."""


_NUMBERS = itertools.count(time.time_ns())
"""Numbers for generated names, which are as long as HashiCorp's provider makes them."""


class CreatedButUnusable(EndpointError):
    """A resource was created and failed; Terraform keeps it in the state, to replace it later.

    Attributes:
        values: The values of the resource that are known.
    """

    def __init__(self, what: str, *, where: str, values: State) -> None:
        super().__init__(what, where=where)
        self.values = values


class Resource(ABC):
    """The handler of one type of resource.

    Attributes:
        in_place: Arguments that can change without a new resource.
        operation: boto3's names of the service and the operation to which :meth:`Aws.call` hands
            all arguments that the API has by the same names; None if there is none.
        within_parameter: The parameter of the operation that the arguments make up; empty if they
            are its parameters.
        own_arguments: Arguments that the handler uses in another way.
        own_blocks: Blocks that the handler uses in another way, with the arguments in them.
    """

    in_place: ClassVar[frozenset[str]] = TAGS
    operation: ClassVar[tuple[str, str] | None] = None
    within_parameter: ClassVar[str] = ""
    own_arguments: ClassVar[frozenset[str]] = frozenset()
    own_blocks: ClassVar[Mapping[str, frozenset[str]]] = {}

    @abstractmethod
    def create(self, aws: Aws, new: State) -> State:
        """Create the resource and return the values that the API computed."""

    @abstractmethod
    def read(self, aws: Aws, old: State) -> State | None:
        """Return the values that differ from the state; None where the resource is gone."""

    @abstractmethod
    def update(self, aws: Aws, old: State, new: State) -> State:
        """Change the resource in place and return the values that the API computed."""

    @abstractmethod
    def delete(self, aws: Aws, old: State) -> None:
        """Delete the resource and wait until it is gone."""


def name_of(new: State, argument: str = "name", prefix: str = "name_prefix") -> str:
    """Return a resource's name: the given one, or one that is made from the given prefix."""
    if new.get(argument):
        return str(new[argument])
    return f"{new.get(prefix) or 'terraform-'}{next(_NUMBERS):026d}"


def unless_default(old: State, name: str, value: Any, default: Any) -> State:
    """Return what the API reports of an argument; nothing for a default that nobody has set."""
    return {} if old.get(name) is None and value == default else {name: value}


def known_values(new: State) -> State:
    """Return the values that are set."""
    return {name: value for name, value in new.items() if value is not None}


def is_gone(err: Exception) -> bool:
    """Return whether an error of boto3 means that the resource does not exist."""
    response: dict[str, Any] = getattr(err, "response", {})
    error = response.get("Error", {})
    if error.get("Code") in GONE:
        return True
    return error.get("Code") == "ValidationException" and "ould not find" in error.get(
        "Message", ""
    )


def found(call: Callable[[], Any]) -> Any:
    """Return the answer of a call; None where the resource does not exist."""
    from botocore.exceptions import ClientError

    try:
        return call()
    except ClientError as err:
        if is_gone(err):
            return None
        raise


def change_tags(
    old: State,
    new: State,
    tag: Callable[[dict[str, str]], object],
    untag: Callable[[list[str]], object],
) -> None:
    """Change the tags of a resource from those of ``old`` to those of ``new``."""
    before, after = old.get("tags_all") or {}, new.get("tags_all") or {}
    gone = [key for key in before if key not in after]
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    if gone:
        untag(gone)
    if changed:
        tag(changed)


def pairs(tags: dict[str, str] | None) -> list[dict[str, str]]:
    """Return tags in the form that most APIs take: a list of key and value."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]

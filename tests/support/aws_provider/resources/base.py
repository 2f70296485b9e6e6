"""What a handler of a kind of resource can do, and the parts that most of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

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
"""Codes that say: there is no such resource."""


class CreatedButUnusable(EndpointError):
    """It was created and is no good; Terraform keeps it in the state to delete it.

    Attributes:
        values: What is known of it.
    """

    def __init__(self, what: str, *, where: str, values: State) -> None:
        super().__init__(what, where=where)
        self.values = values


class Resource(ABC):
    """A handler.

    Attributes:
        in_place: Arguments that can change without a new resource.
    """

    in_place: ClassVar[frozenset[str]] = TAGS

    @abstractmethod
    def create(self, aws: Aws, new: State) -> State:
        """Create it; returns what the API computed."""

    @abstractmethod
    def read(self, aws: Aws, old: State) -> State | None:
        """What differs from the state; None where it is gone."""

    @abstractmethod
    def update(self, aws: Aws, old: State, new: State) -> State:
        """Change it in place; returns what the API computed."""

    @abstractmethod
    def delete(self, aws: Aws, old: State) -> None:
        """Delete it and wait until it is gone."""


def is_gone(err: Exception) -> bool:
    """Whether an error of boto3 says that the resource does not exist."""
    response: dict[str, Any] = getattr(err, "response", {})
    error = response.get("Error", {})
    if error.get("Code") in GONE:
        return True
    return error.get("Code") == "ValidationException" and "ould not find" in error.get(
        "Message", ""
    )


def found(call: Callable[[], Any]) -> Any:
    """The answer of a call; None where the resource does not exist."""
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
    """Bring the tags of a resource from those of ``old`` to those of ``new``."""
    before, after = old.get("tags_all") or {}, new.get("tags_all") or {}
    gone = [key for key in before if key not in after]
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    if gone:
        untag(gone)
    if changed:
        tag(changed)


def pairs(tags: dict[str, str] | None) -> list[dict[str, str]]:
    """Tags as most APIs take them."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]

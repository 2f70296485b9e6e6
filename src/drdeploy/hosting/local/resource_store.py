"""What the control plane keeps: names, records, tags."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from drdeploy.hosting.local.api_errors import already_exists, not_found

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

ACCOUNT = "123456789012"
"""The account of moto's backends."""


@dataclass(frozen=True)
class AccountRegion:
    """A region of the one account."""

    region: str
    account: str = ACCOUNT

    def arn(self, kind: str, name: str) -> str:
        """ARN of a resource; SageMaker writes names in lower case there."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def log_stream_arn(self, endpoint: str) -> str:
        """Where AWS would keep the container's log."""
        return (
            f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/sagemaker/Endpoints/"
            f"{endpoint}"
        )


class StoredResource(Protocol):
    """A record with a name and an ARN."""

    @property
    def name(self) -> str:
        """As its creator wrote it."""
        ...

    @property
    def arn(self) -> str:
        """See :meth:`AccountRegion.arn`."""
        ...


@dataclass(frozen=True)
class ResourceRecord:
    """A model or an endpoint configuration, as it was asked for."""

    name: str
    arn: str
    created: datetime
    request: dict[str, Any] = field(repr=False)


R = TypeVar("R", bound=StoredResource)


class ResourceStore(Generic[R]):
    """Records of one kind by name, upper and lower case alike; safe among threads.

    Args:
        kind: As messages call it, for example ``endpoint configuration``.
        arn_kind: As ARNs call it, for example ``endpoint-config``.
        place: Whose records they are.
    """

    def __init__(self, kind: str, arn_kind: str, place: AccountRegion) -> None:
        self._kind = kind
        self._arn_kind = arn_kind
        self._place = place
        self._records: dict[str, R] = {}
        self._lock = threading.Lock()

    def arn_of(self, name: str) -> str:
        """ARN that a record of that name has, or would have."""
        return self._place.arn(self._arn_kind, name)

    def add(self, record: R) -> None:
        """Keep a record.

        Raises:
            ApiError: The name is taken.
        """
        with self._lock:
            if record.name.lower() in self._records:
                raise already_exists(self._kind, record.arn)
            self._records[record.name.lower()] = record

    def get(self, name: str) -> R:
        """The record of that name.

        Raises:
            ApiError: There is none.
        """
        record = self._records.get(name.lower())
        if record is None:
            raise not_found(self._kind, self.arn_of(name))
        return record

    def find(self, name: str) -> R | None:
        """The record of that name, in exactly that spelling."""
        record = self._records.get(name.lower())
        return record if record is not None and record.name == name else None

    def remove(self, name: str) -> R:
        """Forget a record.

        Raises:
            ApiError: There is none.
        """
        record = self.get(name)
        with self._lock:
            self._records.pop(name.lower(), None)
        return record

    def all(self) -> tuple[R, ...]:
        """Every record, oldest first."""
        with self._lock:
            return tuple(self._records.values())


class TagStore:
    """Tags of resources by ARN."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}

    def add(self, arn: str, tags: Iterable[dict[str, str]]) -> None:
        """Set tags; one of the same key is replaced."""
        self._tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def remove(self, arn: str, keys: Iterable[str]) -> None:
        """Remove tags; absent ones are fine."""
        for key in keys:
            self._tags.get(arn, {}).pop(key, None)

    def forget(self, arn: str) -> None:
        """The resource is gone."""
        self._tags.pop(arn, None)

    def of(self, arn: str) -> list[dict[str, str]]:
        """The resource's tags."""
        return [{"Key": key, "Value": value} for key, value in self._tags.get(arn, {}).items()]

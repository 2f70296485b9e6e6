"""The result of ``drdeploy capacity``, and the file that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drdeploy.errors import InvalidInput
from drdeploy.files import write_json_file

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX = 10_000_000

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CapacityPayload(_Part):
    """The photographs of one kind, and their share of the requests."""

    name: str
    share: _Share
    photographs: _Count
    mean_bytes: _Positive


class ConcurrencyStep(_Part):
    """Throughput and latency with a number of clients, each of which sends requests one by one.

    Attributes:
        clients: The number of requests that were in progress at once.
        per_s: The number of answers in a second.
        median_s: The median latency.
        p95_s: The 95th percentile of the latency.
        failed: The number of requests that failed.
    """

    clients: Annotated[int, Field(ge=1)]
    requests: _Count
    per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    median_s: _Positive
    p95_s: _Positive
    failed: _Count


class RateRun(_Part):
    """One run of requests that are sent at random times, whether or not earlier ones are answered.

    Attributes:
        rate_per_s: The mean number of arrivals in a second.
        seed: The seed of the arrivals and of the order of the photographs.
        requests: The number of requests that count. Requests at the beginning of the run do not
            count.
        late: The number of requests that were answered too late; a failed request counts as late.
        failed: The number of requests that failed.
        p95_s: The 95th percentile of the latency, from the scheduled time. A run is stopped early
            once it is certain to miss the requirement; ``p95_s`` is then None.
        delayed_share: The share of the requests that this machine sent later than scheduled.
    """

    rate_per_s: _Positive
    seed: str
    requests: _Count
    late: _Count
    failed: _Count
    p95_s: _Positive | None
    delayed_share: _Share

    @property
    def share_of_late_answers(self) -> float:
        """The share of the requests that were answered too late or failed."""
        return self.late / self.requests if self.requests else 1.0


class CapacityResult(_Part):
    """The highest rate at which an endpoint meets a latency requirement.

    Attributes:
        endpoint: The name of the endpoint, or the tag of the container image.
        platform: ``local`` or ``aws``.
        hosting: The instance type, or the memory of a serverless endpoint.
        instances: The number of instances; 0 for a serverless endpoint.
        p95_s: The latency that at most 5 of 100 requests may exceed.
        rate_per_s: The rate at which the share of late requests reaches 5 %, interpolated from all
            runs. None if every rate missed the requirement, or if no rate was tried.
        low_per_s: The highest rate at which every run met the requirement, or None if there is no
            such rate.
        high_per_s: The lowest rate at which every run missed the requirement, or None if the search
            found no such rate.
        requests_at_once: How many requests one instance works on at once. The estimate is the
            instance's highest throughput times the latency of a single request. None for a
            serverless endpoint, because each of its containers works on one request at a time.
        stopped: Why the search ended.
        notes: Sentences on circumstances that may have affected the result.
    """

    kind: Literal["drdeploy capacity"] = "drdeploy capacity"
    endpoint: str
    platform: Literal["local", "aws"]
    hosting: str
    instances: _Count
    p95_s: _Positive
    measured_at: str
    rate_per_s: _Positive | None
    low_per_s: _Positive | None
    high_per_s: _Positive | None
    requests_at_once: Annotated[int, Field(ge=1)] | None
    payloads: tuple[CapacityPayload, ...]
    steps: tuple[ConcurrencyStep, ...]
    runs: tuple[RateRun, ...]
    stopped: str
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that :meth:`write` wrote.

        Raises:
            InvalidInput: The file is not a result of ``drdeploy capacity``.
        """
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
        try:
            return cls.model_validate_json(content)
        except ValidationError as err:
            first = err.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidInput(
                f"The file is not a result of `drdeploy capacity`: {place}: {first['msg']}",
                where=str(path),
                remedy="Give the file that `drdeploy capacity --out` wrote",
            ) from err

    def write(self, path: Path) -> None:
        """Write the result as JSON."""
        write_json_file(path, self.model_dump(mode="json"))

    def require_requests_at_once(self, where: str) -> int:
        """Return how many requests one instance works on at once.

        Raises:
            InvalidInput: The endpoint is serverless, so it has no instances.
        """
        if self.requests_at_once is None:
            raise InvalidInput(
                "The capacity was measured on a serverless endpoint, which has no instances",
                where=where,
                remedy="Measure the capacity of a real-time endpoint, or give --requests-at-once",
            )
        return self.requests_at_once

"""Scenarios: how many requests a trial sends, when, and whether to a cold or a warm container.

In TOML, ``kind`` names one of the six scenarios. ``n`` is the number of measured requests. Some
scenarios begin with a warm-up request. It is recorded, but it does not count.
"""

from __future__ import annotations

import random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$")]
"""A name that may be part of a trial's id and of an endpoint's name."""

ATTEMPTS = 3
"""How many requests may be sent for one measurement until the right kind of container answers.

A warm trial needs a container that has answered before, and a cold trial needs a container that has
not. If an endpoint does not scale to zero during the pause, every attempt reaches a warm container.
More attempts would only cost time and money."""

MAX_ASYNCHRONOUS = 10_000
"""The largest number of requests in an asynchronous scenario, because each check for results lists
all results in S3."""

MAX_ASYNCHRONOUS_WAIT_S = 25_200.0
"""The longest wait for a result in seconds.

A request may wait for six hours, and be processed for one hour (API reference,
``InvokeEndpointAsync``).
"""

MAX_PHOTOGRAPHS_PER_JOB = 100_000
"""The largest number of photographs in a job, because a study uploads each photograph and reads
each answer."""

MAX_IN_FLIGHT = 256
"""The largest number of requests that an open loop may send at once, each on its own connection."""


class _Scenario(BaseModel):
    # A misspelt field must be an error. If it were ignored, the default would apply, and the run
    # would measure a different study.
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    n: Count
    name: Slug | None = None

    @property
    def label(self) -> str:
        """The part of a trial's id for the scenario: its name, or its kind if it has no name."""
        return self.name or self.kind

    @property
    def attempts_max(self) -> int:
        """The largest number of requests for one measurement."""
        return 1


class _ClosedLoop(_Scenario):
    """One warm-up request, then ``n`` requests.

    Each request is sent ``interval_s`` after the previous answer.
    """

    interval_s: Seconds

    @property
    def expected_schedule_s(self) -> float:
        """The time in seconds that the scenario would take if every answer came without delay."""
        return self.n * self.interval_s


class Warm(_ClosedLoop):
    """Requests to a serverless endpoint; each must reach a container that has answered before."""

    kind: Literal["warm"] = "warm"

    @property
    def attempts_max(self) -> int:
        """The largest number of requests for one measurement.

        A request that reaches a cold container is sent again.
        """
        return ATTEMPTS


class RealTime(_ClosedLoop):
    """Requests to a real-time endpoint, which is always on."""

    kind: Literal["real-time"] = "real-time"


class Cold(_Scenario):
    """``n`` requests, each of which must reach a container that has not answered before.

    Attributes:
        interval_s: Pause after an answer, long enough for the endpoint to scale to zero.
        attempts: The largest number of requests for one measurement. If a warm container answers,
            the row gets the outcome ``wrong_start``, and the request is sent again.
    """

    kind: Literal["cold"] = "cold"
    interval_s: Seconds
    attempts: Annotated[int, Field(ge=1, le=10)] = ATTEMPTS

    @property
    def attempts_max(self) -> int:
        """The largest number of requests for one measurement.

        A request that reaches a warm container is sent again.
        """
        return self.attempts

    @property
    def expected_schedule_s(self) -> float:
        """The time that the pauses between requests take if no request is repeated, in seconds."""
        return (self.n - 1) * self.interval_s


class OnSchedule(_Scenario):
    """``n`` requests sent on a schedule, whether or not earlier requests were answered.

    Latency is measured from the scheduled time of a request.

    Attributes:
        rate_per_s: The mean number of requests per second.
        arrivals: ``poisson`` for exponentially distributed gaps, or ``constant`` for equal gaps.
    """

    rate_per_s: Annotated[float, Field(gt=0, le=10_000)]
    arrivals: Literal["poisson", "constant"] = "poisson"

    @property
    def expected_schedule_s(self) -> float:
        """The expected time from the beginning of the schedule to its last request, in seconds."""
        return self.n / self.rate_per_s

    def draw_arrival_times_s(self, seed: str) -> tuple[float, ...]:
        """Return the scheduled time of each request, in seconds after the beginning."""
        rng = random.Random(seed)
        times, now = [], 0.0
        for _ in range(self.n):
            poisson = self.arrivals == "poisson"
            now += rng.expovariate(self.rate_per_s) if poisson else 1 / self.rate_per_s
            times.append(now)
        return tuple(times)


class OpenLoop(OnSchedule):
    """Requests on a schedule to a serverless or real-time endpoint.

    The client has a limited number of connections. If all of them wait for slow answers, the next
    request waits too, and its latency includes this time. If the latency left out this waiting
    time, the results would look better than what users see (coordinated omission).

    Attributes:
        max_in_flight: The largest number of requests in progress at once; further requests wait.
    """

    kind: Literal["open-loop"] = "open-loop"
    max_in_flight: Annotated[int, Field(ge=1, le=MAX_IN_FLIGHT)] = 32


class Asynchronous(OnSchedule):
    """Requests on a schedule to an asynchronous endpoint, which queues them.

    The latency begins at the scheduled time of a request and ends when its result is seen in S3. It
    includes the time in the queue.

    Attributes:
        timeout_s: The longest time to wait for a result after its request was sent, in seconds. An
            endpoint on AWS that has scaled to zero takes several minutes to wake.
    """

    kind: Literal["asynchronous"] = "asynchronous"
    n: Annotated[int, Field(ge=1, le=MAX_ASYNCHRONOUS)]
    timeout_s: Annotated[float, Field(gt=0, le=MAX_ASYNCHRONOUS_WAIT_S)] = 900.0


class Batch(_Scenario):
    """``n`` Batch Transform jobs, one after another, each with the same photographs.

    Attributes:
        photographs: The number of photographs of a job. If the study has fewer photographs, some
            are sent several times.
    """

    kind: Literal["batch"] = "batch"
    n: Annotated[int, Field(ge=1, le=1000)]
    photographs: Annotated[int, Field(ge=1, le=MAX_PHOTOGRAPHS_PER_JOB)]

    @property
    def expected_schedule_s(self) -> float:
        """The total time of the pauses between jobs, which is zero.

        Each job begins when the previous one ends.
        """
        return 0.0


RequestScenario = Warm | RealTime | Cold | OpenLoop
"""The scenarios whose requests are answered over the connection on which they were sent."""
TrialScenario = RequestScenario | Asynchronous | Batch
AnyScenario = Annotated[TrialScenario, Field(discriminator="kind")]
"""Any of the six scenarios; pydantic chooses the class by ``kind``."""

"""Scenarios: how many requests are sent, when, and what kind of start each must be.

``kind`` says which of the four a table in TOML is.  ``n`` is the number of measured requests; a
scenario that warms up sends one more before them, which is recorded and not counted.
"""

from __future__ import annotations

import random
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,30}[a-z0-9])?$")]
"""A name that fits into a trial id and an endpoint's name."""

COLD_ATTEMPTS = 3
"""Requests that one measurement may take.  An endpoint that does not scale to zero in the pause
gives the wrong start every time, and then more attempts cost time and money for nothing."""

MAX_IN_FLIGHT = 256
"""Most requests that an open loop may have under way, each on a connection of its own."""


class _Scenario(BaseModel):
    # A field that is misspelt must be an error: with its default, another study would be measured.
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    n: Count
    name: Slug | None = None

    @property
    def label(self) -> str:
        """The part of a trial's id that names the scenario: its name, or else its kind."""
        return self.name or self.kind


class _ClosedLoop(_Scenario):
    """One uncounted request, then ``n``, each ``interval_s`` after the answer before it."""

    interval_s: Seconds

    @property
    def pauses_s(self) -> float:
        """Time in which no request is under way."""
        return self.n * self.interval_s


class Warm(_ClosedLoop):
    """Requests to a serverless endpoint, each to a container that has answered before."""

    kind: Literal["warm"] = "warm"


class RealTime(_ClosedLoop):
    """Requests to an endpoint that is always on."""

    kind: Literal["real-time"] = "real-time"


class Cold(_Scenario):
    """``n`` requests, each to a container that has not answered before.

    Attributes:
        interval_s: Pause after an answer, long enough for the endpoint to scale to zero.
        attempts: Requests that one measurement may take; a warm answer is recorded as
            ``wrong_start`` and asked for again.
    """

    kind: Literal["cold"] = "cold"
    interval_s: Seconds
    attempts: Annotated[int, Field(ge=1, le=10)] = COLD_ATTEMPTS

    @property
    def pauses_s(self) -> float:
        """Time in which no request is under way, if every start is cold."""
        return (self.n - 1) * self.interval_s


class OpenLoop(_Scenario):
    """Requests arrive on their own schedule, whether or not the last was answered.

    Latency counts from the scheduled time, so that waiting for a free connection is part of
    it (no coordinated omission).

    Attributes:
        rate_per_s: Mean arrivals per second.
        arrivals: ``poisson`` (exponential gaps) or ``constant``.
        max_in_flight: Requests that the client sends at once; more wait their turn.
    """

    kind: Literal["open-loop"] = "open-loop"
    rate_per_s: Annotated[float, Field(gt=0, le=10_000)]
    arrivals: Literal["poisson", "constant"] = "poisson"
    max_in_flight: Annotated[int, Field(ge=1, le=MAX_IN_FLIGHT)] = 32

    @property
    def pauses_s(self) -> float:
        """Expected time from the first arrival to the last."""
        return self.n / self.rate_per_s

    def arrival_times_s(self, seed: str) -> tuple[float, ...]:
        """Return when each request is due, from the start; the same for the same seed."""
        rng = random.Random(seed)
        times, now = [], 0.0
        for _ in range(self.n):
            poisson = self.arrivals == "poisson"
            now += rng.expovariate(self.rate_per_s) if poisson else 1 / self.rate_per_s
            times.append(now)
        return tuple(times)


Scenario = Warm | RealTime | Cold | OpenLoop
AnyScenario = Annotated[Scenario, Field(discriminator="kind")]
"""Any of the four; pydantic picks the class by ``kind``."""

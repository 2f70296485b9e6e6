"""What must be met, and what is assumed where nobody measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import DEFAULT_REGION

if TYPE_CHECKING:
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic

SEED = 2023


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What an option must meet; None where nothing is asked.

    Attributes:
        p95_s: 95 of 100 requests are answered within it, cold starts and waiting among them.
        min_sensitivity: The lower 95 % limit of the sensitivity, at an operating point that was
            locked into the artifact.
        at_grade: From which ICDR grade on eyes are to be found: 2 or 3.
        budget_usd: Of a month.
        throttled_at_most: Share of requests that may be refused.
    """

    p95_s: float | None = None
    min_sensitivity: float | None = None
    at_grade: int = 2
    budget_usd: float | None = None
    throttled_at_most: float = 0.001

    def __post_init__(self) -> None:
        _positive("p95", self.p95_s)
        _positive("budget", self.budget_usd)
        if self.min_sensitivity is not None and not 0 < self.min_sensitivity <= 1:
            raise InvalidInput(
                f"A sensitivity of {self.min_sensitivity:g} is no share",
                where="min-sensitivity",
                remedy="Write it like 0.9",
            )
        if self.at_grade not in {2, 3}:
            raise InvalidInput(f"There is no operating point at grade {self.at_grade}")


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What no measurement says; every one is told in the decision.

    Attributes:
        idle_s: After which the platform lets an idle container go; AWS documents none.
        max_concurrency: Of a serverless endpoint; 200 is SageMaker's most.
        headroom: Share of the instances that stays free in the busiest hour.
        fewest_instances: Also where one would do.
        requests_at_once: That one instance serves; latencies are measured one at a time.
        photographs_per_patient: For the cost per patient.
        request_bytes: Of a photograph, where rows do not say.
        response_bytes: Of an answer.
        image_gb: Stored in the registry, compressed.
        artifact_gb: Stored in the bucket.
        region: Whose prices.
    """

    idle_s: float = 600.0
    max_concurrency: int = 200
    headroom: float = 0.3
    fewest_instances: int = 1
    requests_at_once: int = 1
    photographs_per_patient: int = 4
    request_bytes: float = 310_000.0
    response_bytes: float = 2_000.0
    image_gb: float = 0.5
    artifact_gb: float = 0.1
    region: str = DEFAULT_REGION

    def __post_init__(self) -> None:
        _positive("idle time", self.idle_s)
        if not 0 <= self.headroom < 1:
            raise InvalidInput(
                f"A head-room of {self.headroom:g} is no share below 1", where="headroom"
            )
        for name in ("max_concurrency", "fewest_instances", "requests_at_once"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1", where="assumptions")

    @property
    def told(self) -> tuple[str, ...]:
        """Each as a sentence."""
        return (
            f"An idle container goes after {self.idle_s:g} s; AWS documents no time.",
            f"A serverless endpoint takes up to {self.max_concurrency} requests at once.",
            (
                f"An instance serves {self.requests_at_once} request"
                f"{'s' * (self.requests_at_once > 1)} at once, and {self.headroom:.0%} of the "
                f"instances stay free in the busiest hour; at least {self.fewest_instances} "
                "stands ready, day and night."
            ),
            (
                "A cold start is billed from the set-up of the container on, and a container "
                "without a measured time of its own for the client's whole latency: an upper "
                "bound."
            ),
            (
                "A keep-warm request sends a photograph and is billed like any other; whoever "
                "sends it is not billed here."
            ),
            (
                f"{self.image_gb:g} GB of images and {self.artifact_gb:g} GB of artifacts are "
                f"stored; an answer has {self.response_bytes / 1000:g} KB."
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DecisionInputs:
    """What a decision depends on besides measurements and prices.

    Attributes:
        traffic: Requests a month and their shape over a week, or the arrivals of a trace.
        required: What an option must meet to be chosen.
        assumptions: Values that no measurement gives.
        seed: Seed of the arrivals, the simulation and the bootstrap.
    """

    traffic: Traffic | Arrivals
    required: Requirements = field(default_factory=Requirements)
    assumptions: Assumptions = field(default_factory=Assumptions)
    seed: int = SEED


def _positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise InvalidInput(f"A {name} of {value:g} cannot be met", where=name)

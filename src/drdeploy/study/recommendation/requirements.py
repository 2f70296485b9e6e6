"""What a decision depends on besides measurements and prices: requirements and assumptions."""

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
    """What an option must meet; None where nothing is required.

    Attributes:
        p95_s: Seconds within which 95 of 100 requests are answered, cold starts and waiting
            included.
        min_sensitivity: Share that the lower 95 % limit of the sensitivity must reach, at an
            operating point of the artifact.
        at_grade: ICDR grade from which on eyes are to be found: 2 (referable) or 3
            (vision-threatening).
        budget_usd: Most that a month may cost.
        throttled_at_most: Share of requests that the endpoint may refuse.
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
                f"A sensitivity of {self.min_sensitivity:g} is not a share between 0 and 1",
                where="min-sensitivity",
                remedy="Write it like 0.9",
            )
        if self.at_grade not in {2, 3}:
            raise InvalidInput(
                f"There is no operating point at grade {self.at_grade}",
                where="at-grade",
                remedy="Name 2 (referable) or 3 (vision-threatening)",
            )


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Values that no measurement gives; the decision lists every one of them.

    Attributes:
        idle_s: Seconds after which the platform removes an idle container; AWS documents none.
        max_concurrency: Requests that a serverless endpoint handles at once; SageMaker allows 200.
        headroom: Share of the instances that stays free in the busiest hour.
        fewest_instances: Instances that run at least, even where fewer would do.
        requests_at_once: Requests that one instance handles at once; latencies were measured one
            at a time.
        photographs_per_patient: Photographs of one patient, for the cost per patient.
        request_bytes: Size of a photograph, where the rows do not say.
        response_bytes: Size of an answer.
        image_gb: Size of the image in the registry, compressed.
        artifact_gb: Size of the model's artifact in the bucket.
        region: AWS region whose prices are used.
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
                f"A headroom of {self.headroom:g} is not a share from 0 up to, but not, 1",
                where="headroom",
                remedy="Write it like 0.3",
            )
        for name in ("max_concurrency", "fewest_instances", "requests_at_once"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1", where="assumptions")

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is assumed, each as a sentence."""
        return (
            f"An idle container is removed after {self.idle_s:g} s; AWS documents no time.",
            f"A serverless endpoint handles up to {self.max_concurrency} requests at once.",
            (
                f"An instance handles {self.requests_at_once} request"
                f"{'s' * (self.requests_at_once > 1)} at once, and {self.headroom:.0%} of the "
                f"instances stay free in the busiest hour; at least {self.fewest_instances} "
                "runs day and night."
            ),
            (
                "A cold start is billed from the start of the container on. Where the container's "
                "own time was not measured, the client's whole latency is billed, which is an "
                "upper bound."
            ),
            (
                "A keep-warm request sends a photograph and is billed like any other; the program "
                "that sends it is not billed here."
            ),
            (
                f"{self.image_gb:g} GB of images and {self.artifact_gb:g} GB of artifacts are "
                f"stored; an answer is {self.response_bytes / 1000:g} KB long."
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
        raise InvalidInput(
            f"A {name} of {value:g} cannot be met", where=name, remedy="Give a number above 0"
        )

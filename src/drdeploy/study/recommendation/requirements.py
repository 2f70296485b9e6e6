"""The requirements and the assumptions of a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, turn_import_error_into_missing_extra
from drdeploy.grader.grading.grade import DEFAULT_MIN_SPECIFICITY
from drdeploy.hosting.sagemaker import DEFAULT_REGION
from drdeploy.hosting.sagemaker.api_limits import read_max_concurrency_range
from drdeploy.units import KB

if TYPE_CHECKING:
    from drdeploy.study.recommendation.aws_latency_estimates import TransferModel
    from drdeploy.study.recommendation.traffic import Arrivals, Traffic

SEED = 2023


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The requirements that an option must meet. None means that there is no requirement.

    Attributes:
        p95_s: The time within which 95 of 100 requests must be answered, in seconds, including
            cold starts and waiting.
        min_sensitivity: The required sensitivity. The lower end of the sensitivity's 95 % interval
            must reach this value at one or more of the artifact's operating points. Only operating
            points with cross-fitted rates are considered.
        min_specificity: The required specificity. The lower end of the specificity's 95 % interval
            must reach this value at the operating point that reaches ``min_sensitivity``. If it is
            None but a sensitivity is required, :data:`DEFAULT_MIN_SPECIFICITY` is required.
        at_grade: The lowest ICDR grade of the eyes that the grader must find: 2 for moderate NPDR
            or worse, 3 for severe NPDR or worse.
        budget_usd: The highest allowed cost of a month in USD.
        throttled_at_most: The highest allowed share of requests that the endpoint refuses.
        same_cost_share: If two costs differ by at most this share of the lower cost, they count as
            equal.
        same_cost_usd: If two monthly costs differ by at most this amount in USD, they count as
            equal, too.
        needs_vpc: Whether the model must run in a VPC of the account. A serverless endpoint cannot
            run in one (developer guide, "Deploy models with Amazon SageMaker Serverless
            Inference").
        needs_network_isolation: Whether the container must not have access to any network. A
            serverless endpoint cannot isolate its containers (same page of the developer guide).
        needs_gpu: Whether the model needs a GPU. A serverless endpoint has no GPU (same page of the
            developer guide).
        needs_own_key: Whether the volumes of the instances must be encrypted with a key of the
            account. A serverless endpoint has no volume that a key could encrypt (API reference,
            ``CreateEndpointConfig``, ``KmsKeyId``).
        largest_photograph_mb: The size of the largest photograph in MB (of 1024 x 1024 bytes).
            SageMaker accepts 4 MB for serverless, 6 MB for real-time and batch transform, and 1 GB
            for asynchronous inference.
        may_wait_s: The longest time that a result may take, in seconds. If it is None, the result
            must be in the response to the request, which excludes asynchronous inference and batch
            transform.
        data_stays_in: The regions in which photographs must stay. An entry is a region, or the
            beginning of the names of several regions, such as ``eu``. If there are no entries,
            every region is allowed.
    """

    p95_s: float | None = None
    min_sensitivity: float | None = None
    min_specificity: float | None = None
    at_grade: int = 2
    budget_usd: float | None = None
    throttled_at_most: float = 0.001
    same_cost_share: float = 0.05
    same_cost_usd: float = 1.0
    needs_vpc: bool = False
    needs_network_isolation: bool = False
    needs_gpu: bool = False
    needs_own_key: bool = False
    largest_photograph_mb: float | None = None
    may_wait_s: float | None = None
    data_stays_in: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_positive("p95", self.p95_s)
        _require_positive("budget", self.budget_usd)
        _require_positive("largest-photograph-mb", self.largest_photograph_mb)
        _require_positive("may-wait-hours", self.may_wait_s)
        for value, what, option, remedy in (
            (
                self.same_cost_share,
                "share of the cost",
                "--same-cost-percent",
                "Give a percentage like 5; in Python, a share like 0.05",
            ),
            (self.same_cost_usd, "amount", "--same-cost-usd", "Give an amount a month like 1"),
        ):
            if not 0 <= value < float("inf"):
                raise InvalidInput(
                    f"The {what} that still counts as equal must be 0 or more, not {value:g}",
                    where=option,
                    remedy=remedy,
                )
        for name, least in (
            ("sensitivity", self.min_sensitivity),
            ("specificity", self.min_specificity),
        ):
            if least is not None and not 0 < least <= 1:
                raise InvalidInput(
                    f"The {name} must be above 0 and at most 1, not {least:g}",
                    where=f"--min-{name}",
                    remedy="Give a number like 0.9",
                )
        if self.at_grade not in {2, 3}:
            raise InvalidInput(
                f"No operating point exists for grade {self.at_grade}",
                where="--at-grade",
                remedy="Give 2 for moderate NPDR or worse, or 3 for severe NPDR or worse",
            )

    @property
    def specificity_floor(self) -> float | None:
        """The specificity that an operating point must have; None if any will do."""
        if self.min_specificity is None and self.min_sensitivity is not None:
            return DEFAULT_MIN_SPECIFICITY
        return self.min_specificity


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Values that are assumed, because they cannot be measured. The decision states most of them.

    Attributes:
        idle_s: The time after which the platform removes an idle container, in seconds; AWS does
            not document this time.
        max_concurrency: The largest number of requests that a serverless endpoint handles at once;
            SageMaker allows 200.
        account_concurrency: The account's quota: how many requests all its serverless endpoints in
            the region may handle at once. None means that the quota does not matter, because it is
            at least ``max_concurrency``. The quota of a new account may be only 10 (Service Quotas,
            "Total concurrency of serverless endpoints").
        instance_start_s: The time in seconds that an instance needs from its start until it
            answers. AWS does not document this time, and bills the instance meanwhile.
        has_zero_instances: Whether the region accepts ``MinInstanceCount`` 0 for inference
            components; some regions refuse it.
        headroom: The share of the instances' capacity that stays free in the busiest hour.
        fewest_instances: The smallest number of instances of a real-time endpoint, which stay on
            even when there is no traffic.
        requests_at_once: The number of requests that one instance is assumed to handle at once
            without becoming slower. The latencies were measured with one request at a time.
        photographs_per_patient: The number of photographs of one patient, from which the cost per
            patient is computed.
        request_bytes: The size of a photograph if the rows do not give it.
        response_bytes: The size of an answer.
        image_gb: The compressed size of the container image in the registry, in GB.
        artifact_gb: The size of the model's artifact in the bucket, in GB.
        region: The AWS region whose prices are used.
    """

    idle_s: float = 600.0
    max_concurrency: int = 200
    account_concurrency: int | None = None
    instance_start_s: float = 300.0
    has_zero_instances: bool = True
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
        _require_positive("idle-s", self.idle_s)
        _require_positive("instance-start-s", self.instance_start_s)
        _require_positive("account-concurrency", self.account_concurrency)
        if not 0 <= self.headroom < 1:
            raise InvalidInput(
                f"The headroom must be at least 0 and below 1, not {self.headroom:g}",
                where="--headroom",
                remedy="Give a number like 0.3",
            )
        for option, size, unit in (
            ("--request-kb", self.request_bytes, "kB"),
            ("--image-gb", self.image_gb, "GB"),
            ("--artifact-gb", self.artifact_gb, "GB"),
        ):
            if not 0 <= size < float("inf"):
                raise InvalidInput(
                    "A size must be 0 or more, and finite",
                    where=option,
                    remedy=f"Give the size in {unit}",
                )
        for name in (
            *("max_concurrency", "fewest_instances", "requests_at_once"),
            "photographs_per_patient",
        ):
            if getattr(self, name) < 1:
                raise InvalidInput(
                    f"The value must be at least 1, not {getattr(self, name)}",
                    where=f"--{name.replace('_', '-')}",
                    remedy="Give a whole number that is at least 1",
                )
        with turn_import_error_into_missing_extra("study", "A recommendation"):
            permitted = read_max_concurrency_range()
        if self.max_concurrency not in permitted:
            raise InvalidInput(
                f"A serverless endpoint cannot handle {self.max_concurrency} requests at once: "
                f"SageMaker permits {permitted}",
                where="--max-concurrency",
                remedy=f"Give a whole number ({permitted})",
            )

    @property
    def concurrency_limit(self) -> int:
        """How many requests a serverless endpoint can handle at once, given the account's quota."""
        return min(self.max_concurrency, self.account_concurrency or self.max_concurrency)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The assumptions as sentences."""
        return (
            (
                f"A container that is idle for {self.idle_s:g} s is stopped. AWS does not document "
                "this time."
            ),
            f"A serverless endpoint handles up to {self.concurrency_limit} requests at once.",
            (
                f"An instance handles {self.requests_at_once} request"
                f"{'s' * (self.requests_at_once > 1)} at once. Even in the busiest hour, "
                f"{self.headroom:.0%} of the instances' capacity stays free. When there is no "
                f"traffic, {self.fewest_instances} instance{'s' * (self.fewest_instances > 1)} "
                f"still run{'s' * (self.fewest_instances == 1)}."
            ),
            (
                f"A new instance takes {self.instance_start_s:g} s to start. AWS bills this time, "
                "but does not document how long it is. Autoscaling adds an instance "
                "when the load has been above the target for 3 minutes. It removes an instance "
                "when the load has been below 90 % of the target for 15 minutes. The alarms of "
                "target tracking have these times. If an asynchronous endpoint has no "
                "instances, the first one is started two minutes after a request arrives. If an "
                "inference component has no instances, its first instance is started after one "
                "minute."
            ),
            (
                "A cold start is billed from the start of the container. If the time in the "
                "container was not measured, the cost is computed from the whole latency at the "
                "client, and is therefore too high."
            ),
            (
                "A keep-warm request is billed like any other request. Its schedule costs nothing, "
                "because EventBridge Scheduler's first 14 million requests a month are free."
            ),
            (
                "The costs do not include the alarms that the Terraform modules create. Outside "
                "the free tier of CloudWatch, the two alarms of a real-time endpoint, which read "
                "three metrics, cost 0.30 USD a month in us-east-1. The alarms of autoscaling "
                "cost another 0.20 USD."
            ),
            (
                f"The stored images take {self.image_gb:g} GB, and the stored artifacts take "
                f"{self.artifact_gb:g} GB. An answer is {self.response_bytes / KB:g} KB long."
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DecisionInputs:
    """The inputs of a decision other than measurements and prices.

    Attributes:
        traffic: The requests of a month and their distribution over a week, or the arrivals of a
            trace.
        required: The requirements that an option must meet to be chosen.
        assumptions: The values that cannot be measured.
        seed: The seed of the arrivals, the simulation and the bootstrap.
        transfer: The model that estimates latencies on AWS from rows of this machine. If None,
            the latencies are used as they were measured.
    """

    traffic: Traffic | Arrivals
    required: Requirements = field(default_factory=Requirements)
    assumptions: Assumptions = field(default_factory=Assumptions)
    seed: int = SEED
    transfer: TransferModel | None = None


def require_allowed_region(required: Requirements, region: str) -> None:
    """Check that the requirements allow photographs in the region.

    Raises:
        InvalidInput: The requirements exclude the region, so no option is possible.
    """
    stays_in = required.data_stays_in
    if not stays_in or any(region == one or region.startswith(f"{one}-") for one in stays_in):
        return
    raise InvalidInput(
        f"No option is possible: the data must stay in {' or '.join(stays_in)}, and the region is "
        f"{region}",
        where="--data-stays-in",
        remedy="Choose an allowed region with --region, and a price sheet that has its prices "
        "(`drdeploy prices update --region REGION`)",
    )


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise InvalidInput(
            f"The value must be above 0, not {value:g}",
            where=f"--{name}",
            remedy="Give a finite number above 0",
        )

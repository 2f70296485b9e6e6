"""The decision as one frozen document of plain values, which page, report and JSON display."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from drdeploy.grader.artifacts import OperatingPoint

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Price
    from drdeploy.study.recommendation.break_even import BreakEven
    from drdeploy.study.recommendation.confidence import Confidence
    from drdeploy.study.recommendation.cost.sensitivity import PriceSensitivity
    from drdeploy.study.recommendation.mitigation.comparison import MitigationComparison
    from drdeploy.study.recommendation.requirements import Requirements


@dataclass(frozen=True)
class BillLine:
    """One line of the month's bill: a quantity times a dated price."""

    item: str
    quantity: float
    unit: str
    price_usd: float
    usd: float
    price_date: str


@dataclass(frozen=True, kw_only=True)
class EvaluatedOption:
    """One way of hosting, with what was simulated and priced, and the requirements it fails.

    Attributes:
        name: Distinct among all options.
        kind: ``serverless``, ``serverless, POLICY`` or ``real-time``.
        size: Memory or instance type: ``1024 MB`` or ``ml.m5.xlarge``.
        policy: What is done against cold starts; empty for a real-time endpoint.
        description: The policy, or the number of instances, in words.
        instances: Number of instances; 0 for a serverless endpoint.
        usd_per_month: The bill's total; None where a price is not known.
        usd_per_month_limits: The middle 95 % of bootstrap resamples of the rows; None where the
            cost is not known.
        usd_per_inference: The month's bill over the month's requests.
        usd_per_patient: The same times the photographs per patient.
        p50_s: Median latency of all requests, cold starts and waiting included.
        p95_s: The 95th percentile; None where so many requests are refused that it has no end.
        p95_s_limits: The middle 95 % of bootstrap resamples; None where a resample has no end.
        cold_share: Share of the answered requests that met a cold start.
        throttled_share: Share of all requests that were refused.
        waiting_p95_s: The 95th percentile of the time that a request waits for a free instance.
        peak_concurrency: Most requests at once.
        sensitivity: The best operating point at the grade that is required, or None.
        warm_rows: Number of measured rows that warm times were drawn from.
        cold_rows: Number of measured rows that cold starts were drawn from.
        trials: Names of the trials that the rows belong to.
        failures: Requirements that it misses, each as a clause; empty if it meets all.
        settings: Variables for ``infrastructure/environments/single-endpoint``.
        schedule: Hours of the week in which containers are kept warm or provisioned.
    """

    name: str
    kind: str
    model: str
    precision: str
    profile: str
    size: str
    policy: str
    description: str
    instances: int
    usd_per_month: float | None
    usd_per_month_limits: tuple[float, float] | None
    usd_per_inference: float | None
    usd_per_patient: float | None
    bill: tuple[BillLine, ...]
    p50_s: float | None
    p95_s: float | None
    p95_s_limits: tuple[float, float] | None
    cold_share: float
    throttled_share: float
    waiting_p95_s: float
    peak_concurrency: int
    sensitivity: OperatingPoint | None
    warm_rows: int
    cold_rows: int
    trials: tuple[str, ...]
    failures: tuple[str, ...]
    settings: dict[str, Any]
    schedule: tuple[dict[str, Any], ...]

    @property
    def usd_per_million(self) -> float | None:
        """Cost of a million inferences."""
        return None if self.usd_per_inference is None else self.usd_per_inference * 1e6


@dataclass(frozen=True)
class Unusable:
    """A configuration that could not be simulated, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The cheapest option that meets every requirement, and all that was considered.

    Attributes:
        answer: The decision in sentences, the most important first.
        traffic: The traffic in words.
        requests_per_month: Photographs a month.
        required: What an option must meet.
        assumptions: What no measurement gives, each as a sentence.
        winner: The cheapest option that meets every requirement, or None.
        runners_up: The other options that meet them, the cheapest first.
        excluded: Options that miss one, those with the fewest failures and the lowest cost first.
        unusable: Configurations without the rows that a simulation needs.
        confidence: How sure the winner is.
        break_even: Volumes at which kinds of hosting cost the same; of cost alone.
        prices: How much depends on each price; empty without a winner.
        mitigation: What each policy against cold starts does for one configuration.
        mitigated: Name of that configuration.
        simulated_requests: Number of requests in the simulation.
        seed: Seed of the arrivals, the simulation and the bootstrap.
        notes: How traces and rows were treated.
        price_sources: Every price that was used.
        platform: Where the rows were measured, ``local`` or ``aws``.
        source: Name of the measurements' file or folder.
        notice: That results are for research use.
    """

    answer: tuple[str, ...]
    traffic: str
    requests_per_month: float
    required: Requirements
    assumptions: tuple[str, ...]
    winner: EvaluatedOption | None
    runners_up: tuple[EvaluatedOption, ...]
    excluded: tuple[EvaluatedOption, ...]
    unusable: tuple[Unusable, ...]
    confidence: Confidence
    break_even: tuple[BreakEven, ...]
    prices: tuple[PriceSensitivity, ...]
    mitigation: MitigationComparison | None
    mitigated: str
    simulated_requests: int
    seed: int
    notes: tuple[str, ...]
    price_sources: tuple[Price, ...]
    platform: str
    source: str
    notice: str

    @property
    def options(self) -> tuple[EvaluatedOption, ...]:
        """Every option that was simulated: the winner, the runners-up, and the excluded ones."""
        first = () if self.winner is None else (self.winner,)
        return (*first, *self.runners_up, *self.excluded)


JSON_NAMES = {"description": "told", "mitigation": "softening", "mitigated": "softened"}
"""Fields that keep their first names in JSON, so that programs that read them go on working."""


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision as plain values for JSON, which has no infinity: that becomes null."""
    document: dict[str, Any] = _plain(asdict(decision))
    return document


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {JSON_NAMES.get(name, name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case OperatingPoint(name=name, at_or_above=at_grade, sensitivity=rate):
            limits = {"sensitivity": rate.value, "low": rate.low, "n": rate.n}
            return {"name": name, "at_grade": at_grade, **limits}
        case float():
            return value if isfinite(value) else None
        case _:
            return value

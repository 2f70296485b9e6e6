"""The decision as one frozen document of plain values; page, report and JSON show it."""

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
    """A quantity times a dated price."""

    item: str
    quantity: float
    unit: str
    price_usd: float
    usd: float
    price_date: str


@dataclass(frozen=True, kw_only=True)
class EvaluatedOption:
    """One option with its figures, and what it fails on.

    Attributes:
        name: Distinct.
        kind: ``serverless``, ``serverless, POLICY`` or ``real-time``.
        size: ``1024 MB`` or ``ml.m5.xlarge``.
        policy: What is done against cold starts; empty for real-time.
        told: The same in words.
        instances: 0 for serverless.
        usd_per_month: None where a price is not known.
        usd_per_month_limits: The middle 95 % of bootstrap resamples of the rows; None where the
            cost is not known.
        usd_per_inference: The month's bill over its requests.
        usd_per_patient: Times the photographs per patient.
        p50_s: Of all requests, cold starts and waiting among them.
        p95_s: The same; None where so many are refused that it has no end.
        p95_s_limits: The middle 95 % of bootstrap resamples; None where a resample has no end.
        cold_share: Of the answered requests.
        throttled_share: Of all requests.
        waiting_p95_s: For a free instance.
        peak_concurrency: Most requests at once.
        sensitivity: At the best operating point of the grade that was asked for.
        warm_rows: Measured rows that the simulation draws warm times from.
        cold_rows: The same, cold.
        trials: Where the rows are.
        failures: Empty if it meets everything.
        settings: For ``infrastructure/environments/single-endpoint``.
        schedule: Hours of the week in which containers are kept warm or provisioned.
    """

    name: str
    kind: str
    model: str
    precision: str
    profile: str
    size: str
    policy: str
    told: str
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
        """Of inferences."""
        return None if self.usd_per_inference is None else self.usd_per_inference * 1e6


@dataclass(frozen=True)
class Unusable:
    """A configuration that could not even be simulated."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer.

    Attributes:
        answer: In sentences, the most important first.
        traffic: In words.
        requests_per_month: Photographs.
        required: What was asked.
        assumptions: Each as a sentence.
        winner: The cheapest option that meets everything, or None.
        runners_up: The others that do, the cheapest first.
        excluded: What fails, the one with the fewest failures and the lowest cost first.
        unusable: Configurations without the rows that a simulation needs.
        confidence: How sure the winner is.
        break_even: Between the kinds of hosting; of cost alone.
        prices: What hangs on each price; empty without a winner.
        softening: What each policy against cold starts does for one configuration.
        softened: That configuration.
        simulated_requests: In the simulation.
        seed: Of everything random.
        notes: How traces and rows were treated.
        price_sources: Every price that was used.
        platform: Where the rows were measured, ``local`` or ``aws``.
        source: The measurements.
        notice: For research use.
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
    softening: MitigationComparison | None
    softened: str
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


def as_json(decision: Decision) -> dict[str, Any]:
    """The decision as plain values for JSON, which has no infinity: that becomes null."""
    document: dict[str, Any] = _plain(asdict(decision))
    return document


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case OperatingPoint(name=name, at_or_above=at_grade, sensitivity=rate):
            limits = {"sensitivity": rate.value, "low": rate.low, "n": rate.n}
            return {"name": name, "at_grade": at_grade, **limits}
        case float():
            return value if isfinite(value) else None
        case _:
            return value

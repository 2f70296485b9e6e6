"""The decision as one document of plain values, for the page, the report and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from drdeploy.grader.artifacts import OperatingPoint
from drdeploy.study.recommendation.hosting_ways import WAYS
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Price
    from drdeploy.study.recommendation.aws_latency_estimates import AppliedTransfer
    from drdeploy.study.recommendation.break_even import BreakEven
    from drdeploy.study.recommendation.confidence import Confidence
    from drdeploy.study.recommendation.hosting_ways import WayName
    from drdeploy.study.recommendation.mitigation.comparison import MitigationComparison
    from drdeploy.study.recommendation.price_sensitivity import PriceSensitivity
    from drdeploy.study.recommendation.requirements import Requirements


@dataclass(frozen=True)
class BillLine:
    """One line of a month's bill: a quantity times a dated price."""

    item: str
    quantity: float
    unit: str
    price_usd: float
    usd: float
    price_date: str


@dataclass(frozen=True, kw_only=True)
class EvaluatedOption:
    """One way of hosting, with its latency, its cost, and the requirements that it misses.

    Attributes:
        name: A name that no other option has.
        kind: The kind of hosting: ``serverless``, ``serverless, POLICY``, or the name of another
            way in :data:`~drdeploy.study.recommendation.hosting_ways.WAYS`.
        size: The memory or the instance type, for example ``1024 MB`` or ``ml.m5.xlarge``.
        policy: The policy against cold starts; empty for instances.
        description: A description of the policy, or the number of instances, as text.
        instances: The largest number of instances; 0 for a serverless endpoint.
        usd_per_month: The total of the monthly bill, or None if a price is not known.
        usd_per_month_limits: The interval of the middle 95 % of the monthly costs in bootstrap
            resamples, or None for an unknown cost.
        usd_per_inference: The monthly bill divided by the number of requests in a month.
        usd_per_patient: The cost of all photographs of one patient.
        p50_s: The median latency of all requests, including cold starts and waiting.
        p95_s: The 95th percentile of the latency, or None if more than 5 % of the requests are
            refused.
        p95_s_limits: The interval of the middle 95 % of the p95 in bootstrap resamples; None if
            a p95 is infinite.
        p95_as_measured_s: The p95 with the times that were measured on this machine. None if
            ``p95_s`` itself is computed from measured times, or if more than 5 % of the requests
            are refused.
        cold_share: The share of the answered requests that met a cold start.
        throttled_share: The share of all requests that were refused.
        waiting_p95_s: The 95th percentile of the time that a request waits for a free instance.
        peak_concurrency: The largest number of requests in progress at once.
        sensitivity: The operating point whose sensitivity and specificity were checked against the
            requirements. None if the artifact has no operating point for the required grade.
        warm_rows: The number of measured rows of warm requests. The simulation draws the time of
            each simulated warm request from these rows.
        cold_rows: The number of measured rows of cold starts. The simulation draws the time of each
            simulated cold start from these rows.
        trials: The ids of the trials that the rows belong to.
        is_deployable: Whether this project can set the option up on AWS.
        operated_parts: The components that someone must operate for the option, besides the
            endpoint.
        failures: A text for each requirement that the option misses.
        settings: The variables that :attr:`command` takes to set the option up; empty if the option
            cannot be deployed.
        schedule: The hours of the week in which containers are kept warm or provisioned.
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
    p95_as_measured_s: float | None
    cold_share: float
    throttled_share: float
    waiting_p95_s: float
    peak_concurrency: int
    sensitivity: OperatingPoint | None
    warm_rows: int
    cold_rows: int
    trials: tuple[str, ...]
    is_deployable: bool
    operated_parts: tuple[str, ...]
    failures: tuple[str, ...]
    settings: dict[str, Any]
    schedule: tuple[dict[str, Any], ...]

    @property
    def usd_per_million(self) -> float | None:
        """The cost of a million inferences in USD."""
        return None if self.usd_per_inference is None else self.usd_per_inference * MILLION

    @property
    def command(self) -> str:
        """The command that sets the option up; its option ``--variables`` takes the settings."""
        return WAYS["serverless" if self.policy else cast("WayName", self.kind)].command


@dataclass(frozen=True)
class Unusable:
    """A configuration that could not be simulated, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The result of a recommendation: the chosen option, and all other options.

    Attributes:
        answer: The decision in sentences, the most important sentence first.
        traffic: A description of the traffic.
        requests_per_month: The number of photographs in a month.
        required: The requirements of an option.
        assumptions: The assumed values, each as a sentence.
        winner: The option to choose, or None if no option meets every requirement.  Of the options
            that cost about the same as the cheapest, the simplest to run wins, then the fastest.
        runners_up: The other options that meet every requirement, the cheapest first.
        equivalent: The names of the runners-up that cost about the same as the cheapest option.
        excluded: The options that miss a requirement. The options are sorted by the number of
            missed requirements, and then by cost.
        research: The options that were simulated although this project cannot deploy them, the
            cheapest first.
        unusable: What could not be simulated: configurations without the rows that a simulation
            needs, and instances with a GPU on which nothing was measured.
        confidence: The share of bootstrap resamples in which the winner is chosen.
        break_even: The monthly numbers of requests at which two kinds of hosting cost the same.
            Latency is ignored.
        prices: For each price, how far it can change before another option wins; empty if there is
            no winner.
        mitigation: The comparison of all policies against cold starts on one configuration.
        mitigated: The name of the configuration on which policies are compared.
        simulated_requests: The number of requests in the simulation.
        seed: The seed of the arrivals, the simulation and the bootstrap.
        notes: Sentences about anything that may have changed the decision, such as sorted rows of a
            trace, skipped lines of the measurements, or missing prices.
        price_age: A sentence about the dates and the age of the prices.
        price_sources: Every price that was used.
        platform: The platform on which the rows were measured: ``local`` or ``aws``, or both.
        source: The name of the file or folder of the measurements.
        notice: The sentence that results are for research use only.
        latency_basis: A sentence that says where the latencies come from.
        transfer: How the latencies on AWS were estimated from rows of this machine; None if the
            latencies are as measured.
    """

    answer: tuple[str, ...]
    traffic: str
    requests_per_month: float
    required: Requirements
    assumptions: tuple[str, ...]
    winner: EvaluatedOption | None
    runners_up: tuple[EvaluatedOption, ...]
    equivalent: tuple[str, ...]
    excluded: tuple[EvaluatedOption, ...]
    research: tuple[EvaluatedOption, ...]
    unusable: tuple[Unusable, ...]
    confidence: Confidence
    break_even: tuple[BreakEven, ...]
    prices: tuple[PriceSensitivity, ...]
    mitigation: MitigationComparison | None
    mitigated: str
    simulated_requests: int
    seed: int
    notes: tuple[str, ...]
    price_age: str
    price_sources: tuple[Price, ...]
    platform: str
    source: str
    notice: str
    latency_basis: str
    transfer: AppliedTransfer | None

    @property
    def options(self) -> tuple[EvaluatedOption, ...]:
        """All simulated options, with the winner first and those that cannot be deployed last."""
        first = () if self.winner is None else (self.winner,)
        return (*first, *self.runners_up, *self.excluded, *self.research)


def convert_decision_to_json(decision: Decision) -> dict[str, Any]:
    """Return the decision as plain values for JSON; infinity becomes null."""
    document: dict[str, Any] = _convert_to_plain_values(asdict(decision))
    return document


def _convert_to_plain_values(value: Any) -> Any:
    match value:
        case dict():
            return {name: _convert_to_plain_values(one) for name, one in value.items()}
        case list() | tuple():
            return [_convert_to_plain_values(one) for one in value]
        case OperatingPoint(name=name, at_or_above=at_grade, sensitivity=rate, specificity=other):
            return {
                "name": name,
                "at_grade": at_grade,
                "sensitivity": rate.value,
                "low": rate.low,
                "n": rate.n,
                "specificity": {"value": other.value, "low": other.low, "n": other.n},
                "cross_fitted": value.cross_fitted,
            }
        case float():
            return value if isfinite(value) else None
        case _:
            return value

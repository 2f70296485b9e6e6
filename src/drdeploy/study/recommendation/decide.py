"""From measurements, traffic, prices and requirements to the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import AnalysisError, UnknownPrice
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.break_even import break_evens, cost_curves
from drdeploy.study.recommendation.checks import failures, may_win
from drdeploy.study.recommendation.confidence import confidence, resample
from drdeploy.study.recommendation.configurations import hosted_of
from drdeploy.study.recommendation.cost.sensitivity import sensitivities
from drdeploy.study.recommendation.decision import Decision, Unusable
from drdeploy.study.recommendation.evaluated import judged
from drdeploy.study.recommendation.mitigation.comparison import compare
from drdeploy.study.recommendation.mitigation.demand import season_of
from drdeploy.study.recommendation.options import Option, Setting, options_of
from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
from drdeploy.study.recommendation.traffic.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.sagemaker import Price, PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.mitigation.comparison import MitigationComparison
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements


def decide(
    measurements: Measurements,
    sheet: PriceSheet,
    inputs: DecisionInputs,
    *,
    allow_mixed: bool = False,
) -> Decision:
    """Play, price and judge every option.

    Raises:
        AnalysisError: No configuration has the rows that a simulation needs, or rows of different
            platforms or machines are mixed and ``allow_mixed`` is not given.
        UnknownPrice: The sheet prices none of the options.
    """
    if not allow_mixed:
        measurements.require_comparable()
    hosted = hosted_of(measurements)
    unusable = tuple(Unusable(one.name, one.unusable) for one in hosted if one.unusable)
    if len(unusable) == len(hosted):
        raise AnalysisError(
            f"No configuration can be decided on: {_reasons(unusable)}",
            where=str(measurements.source),
            remedy="Measure a warm scenario of each configuration, and a cold one of each "
            "serverless configuration",
        )
    setting = Setting(_arrivals(inputs), sheet, inputs.assumptions, inputs.seed)
    options = tuple(options_of(hosted, setting))
    if not any(option.bill for option in options):
        raise UnknownPrice(
            f"No option has a known cost: {' '.join(sorted({o.no_cost for o in options}))}",
            where=f"price sheet, region {inputs.assumptions.region}",
            remedy="Write a sheet with `drdeploy prices update`, or name a region that is priced",
        )
    return _decision(measurements, inputs, setting, options, unusable)


def _reasons(unusable: Sequence[Unusable]) -> str:
    """Each reason once, with those that it holds for."""
    names: dict[str, list[str]] = {}
    for one in unusable:
        names.setdefault(one.reason, []).append(one.name)
    return "; ".join(
        f"{reason} (all {len(those)} of them)"
        if len(those) == len(unusable) > 1
        else f"{', '.join(dict.fromkeys(those))}: {reason}"
        for reason, those in names.items()
    )


def _decision(
    measurements: Measurements,
    inputs: DecisionInputs,
    setting: Setting,
    options: Sequence[Option],
    unusable: tuple[Unusable, ...],
) -> Decision:
    required = inputs.required
    everything, options = options, [option for option in options if option.is_distinct]
    failing = {option.name: tuple(failures(option, required)) for option in options}
    meeting = sorted((o for o in options if not failing[o.name]), key=_usd)
    excluded = sorted(
        (o for o in options if failing[o.name]), key=lambda o: (len(failing[o.name]), _usd(o))
    )
    winner = meeting[0] if meeting else None
    resampled = resample(options, seed=inputs.seed)
    told = {
        o.name: judged(o, failing[o.name], inputs, setting.arrivals, resampled[o.name])
        for o in options
    }
    softened = _softened(options, winner)
    document = Decision(
        answer=(),
        traffic=setting.arrivals.told,
        requests_per_month=setting.arrivals.requests_per_month,
        required=required,
        assumptions=inputs.assumptions.told,
        winner=told[winner.name] if winner else None,
        runners_up=tuple(told[option.name] for option in meeting[1:]),
        excluded=tuple(told[option.name] for option in excluded),
        unusable=unusable,
        confidence=confidence(
            winner.name if winner else None,
            [resampled[o.name] for o in options if may_win(o, required)],
            required,
        ),
        break_even=break_evens(
            cost_curves(_of_same_model(options, winner), _as_traffic(inputs), setting)
        ),
        prices=sensitivities(winner.name, {o.name: o.bill for o in meeting if o.bill})
        if winner
        else (),
        softening=_softening(everything, softened, required),
        softened=softened.name if softened else "",
        simulated_requests=setting.arrivals.n,
        seed=inputs.seed,
        notes=(
            *setting.arrivals.notes,
            *measurements.notes,
            *_payload_notes(options, inputs),
            *_unpriced_notes(options),
        ),
        price_sources=_prices(options),
        platform=", ".join(sorted(set(measurements.frame["platform"]))),
        source=measurements.source.name,
        notice=RESEARCH_USE_NOTICE,
    )
    return wording.answered(document)


def _arrivals(inputs: DecisionInputs) -> Arrivals:
    if isinstance(inputs.traffic, Arrivals):
        return inputs.traffic
    return inputs.traffic.arrivals(inputs.seed)


def _as_traffic(inputs: DecisionInputs) -> Traffic:
    """Of a trace: its mean week, at any volume."""
    if isinstance(inputs.traffic, Traffic):
        return inputs.traffic
    arrivals = inputs.traffic
    season = season_of(arrivals)
    shape = Shape("trace", tuple((season / season.sum()).tolist()))
    return Traffic(
        requests_per_month=arrivals.requests_per_month, shape=shape, photographs_per_patient=1
    )


def _usd(option: Option) -> float:
    return option.bill.usd if option.bill else float("inf")


def _of_same_model(options: Sequence[Option], winner: Option | None) -> list[Option]:
    """Break-evens compare hosting, not models: the winner's, else those of the cheapest option."""
    model = (winner or min(options, key=_usd)).hosted.configuration.model
    return [option for option in options if option.hosted.configuration.model == model]


def _softened(options: Sequence[Option], winner: Option | None) -> MeasuredConfiguration | None:
    """The configuration to compare policies on: the winner's, or the cheapest serverless one."""
    serverless = [option for option in options if option.policy]
    if not serverless:
        return None
    if winner and winner.policy:
        return winner.hosted
    return min(_of_same_model(serverless, None), key=_usd).hosted


def _softening(
    options: Sequence[Option], hosted: MeasuredConfiguration | None, required: Requirements
) -> MitigationComparison | None:
    if hosted is None:
        return None
    played = [option.played for option in options if option.hosted is hosted]
    return compare([one for one in played if one], p95_s=required.p95_s)


def _payload_notes(options: Sequence[Option], inputs: DecisionInputs) -> tuple[str, ...]:
    unknown = {o.hosted.name for o in options if o.policy and o.hosted.request_bytes is None}
    if not unknown:
        return ()
    size_kb = inputs.assumptions.request_bytes / 1000
    return (
        (
            f"The rows do not say how large the photographs were; {size_kb:g} KB each is "
            "assumed for the data that is processed."
        ),
    )


def _unpriced_notes(options: Sequence[Option]) -> tuple[str, ...]:
    unpriced = sorted({option.no_cost for option in options if option.no_cost})
    if not unpriced:
        return ()
    remedy = "What needs them is excluded; take a sheet that has them (`drdeploy prices update`)."
    return (f"{' '.join(unpriced)} {remedy}",)


def _prices(options: Sequence[Option]) -> tuple[Price, ...]:
    used = {line.price: None for option in options if option.bill for line in option.bill.lines}
    return tuple(sorted(used, key=lambda price: (price.unit, price.item)))

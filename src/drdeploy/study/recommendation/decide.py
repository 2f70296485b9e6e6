"""Decide: from measurements, traffic, prices and requirements to the cheapest way of hosting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import AnalysisError, UnknownPrice
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.break_even import break_evens, cost_curves
from drdeploy.study.recommendation.checks import failures, may_win
from drdeploy.study.recommendation.confidence import confidence, resample
from drdeploy.study.recommendation.configurations import measured_configurations
from drdeploy.study.recommendation.cost.sensitivity import sensitivities
from drdeploy.study.recommendation.decision import Decision, Unusable
from drdeploy.study.recommendation.evaluated import evaluated_option
from drdeploy.study.recommendation.mitigation.comparison import compare
from drdeploy.study.recommendation.mitigation.demand import weekly_profile
from drdeploy.study.recommendation.options import Option, SimulationContext, options_of
from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
from drdeploy.study.recommendation.traffic.shape import Shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.mitigation.comparison import MitigationComparison
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements


def decide(
    measurements: Measurements,
    sheet: PriceSheet,
    inputs: DecisionInputs,
    *,
    allow_mixed: bool = False,
) -> Decision:
    """Simulate, price and check every option, and choose the cheapest that meets the requirements.

    Raises:
        AnalysisError: No configuration has the rows that a simulation needs, or rows of different
            platforms or machines are mixed and ``allow_mixed`` is not given.
        UnknownPrice: The sheet prices none of the options.
    """
    if not allow_mixed:
        measurements.require_comparable()
    configurations = measured_configurations(measurements)
    unusable = tuple(Unusable(one.name, one.unusable) for one in configurations if one.unusable)
    if len(unusable) == len(configurations):
        raise AnalysisError(
            f"No configuration can be decided on: {_reasons(unusable)}",
            where=str(measurements.source),
            remedy="Measure a warm scenario of each configuration, and a cold one of each "
            "serverless configuration",
        )
    traffic, seed = inputs.traffic, inputs.seed
    arrivals = traffic if isinstance(traffic, Arrivals) else traffic.arrivals(seed)
    context = SimulationContext(arrivals, sheet, inputs.assumptions, seed)
    options = tuple(options_of(configurations, context))
    if not any(option.bill for option in options):
        raise UnknownPrice(
            f"No option has a known cost: {' '.join(sorted({o.no_cost for o in options}))}",
            where=f"price sheet, region {inputs.assumptions.region}",
            remedy="Write a sheet with `drdeploy prices update`, or name a region that is priced",
        )
    return _decision(measurements, inputs, context, options, unusable)


def _reasons(unusable: Sequence[Unusable]) -> str:
    """List each reason once, with the configurations that it holds for."""
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
    context: SimulationContext,
    simulated: Sequence[Option],
    unusable: tuple[Unusable, ...],
) -> Decision:
    required, arrivals = inputs.required, context.arrivals
    # A policy that finds nothing to do is the same as doing nothing: it is no option of its own.
    options = [option for option in simulated if option.is_distinct]
    failing = {option.name: tuple(failures(option, required)) for option in options}
    meeting = sorted((o for o in options if not failing[o.name]), key=lambda o: o.usd)
    # Nearest first: an option that misses one requirement needs less than one that misses two.
    missing = sorted(
        (o for o in options if failing[o.name]), key=lambda o: (len(failing[o.name]), o.usd)
    )
    winner = meeting[0] if meeting else None
    resampled = resample(options, seed=inputs.seed)
    evaluated = {
        o.name: evaluated_option(o, failing[o.name], inputs, arrivals, resampled[o.name])
        for o in options
    }
    mitigated, mitigation = _mitigation(simulated, winner, required)
    prices = {entry.price: None for o in options if o.bill for entry in o.bill.entries}
    decision = Decision(
        answer=(),
        traffic=arrivals.description,
        requests_per_month=arrivals.requests_per_month,
        required=required,
        assumptions=inputs.assumptions.sentences,
        winner=evaluated[winner.name] if winner else None,
        runners_up=tuple(evaluated[option.name] for option in meeting[1:]),
        excluded=tuple(evaluated[option.name] for option in missing),
        unusable=unusable,
        confidence=confidence(
            winner.name if winner else None,
            [resampled[o.name] for o in options if may_win(o, required)],
            required,
        ),
        break_even=break_evens(
            cost_curves(_of_same_model(options, winner), _as_traffic(inputs), context)
        ),
        prices=sensitivities(winner.name, {o.name: o.bill for o in meeting if o.bill})
        if winner
        else (),
        mitigation=mitigation,
        mitigated=mitigated,
        simulated_requests=arrivals.n,
        seed=inputs.seed,
        # A trace whose rows were sorted, and photographs of assumed size, change what is decided.
        notes=(*arrivals.notes, *measurements.notes, *_notes(options, inputs)),
        price_sources=tuple(sorted(prices, key=lambda price: (price.unit, price.item))),
        platform=", ".join(sorted(set(measurements.frame["platform"]))),
        source=measurements.source.name,
        notice=RESEARCH_USE_NOTICE,
    )
    return wording.answered(decision)


def _as_traffic(inputs: DecisionInputs) -> Traffic:
    """Return the traffic, whose volume break-evens vary; of a trace, its average week."""
    if isinstance(inputs.traffic, Traffic):
        return inputs.traffic
    arrivals = inputs.traffic
    profile = weekly_profile(arrivals)
    shape = Shape("trace", tuple((profile / profile.sum()).tolist()))
    return Traffic(
        requests_per_month=arrivals.requests_per_month, shape=shape, photographs_per_patient=1
    )


def _of_same_model(options: Sequence[Option], winner: Option | None) -> list[Option]:
    """The options of the winner's model, or else of the cheapest option's.

    A break-even between two models would compare graders, not ways of hosting.
    """
    model = (winner or min(options, key=lambda o: o.usd)).measured.configuration.model
    return [option for option in options if option.measured.configuration.model == model]


def _mitigation(
    simulated: Sequence[Option], winner: Option | None, required: Requirements
) -> tuple[str, MitigationComparison | None]:
    """Compare the policies on the winner's configuration, or on the cheapest serverless one.

    Returns:
        The configuration's name and the comparison; nothing without a serverless configuration.
    """
    serverless = [option for option in simulated if option.policy]
    if not serverless:
        return "", None
    best = winner if winner and winner.policy else min(serverless, key=lambda o: o.usd)
    policies = (o.simulated_policy for o in serverless if o.measured is best.measured)
    comparison = compare([one for one in policies if one], p95_s=required.p95_s)
    return best.measured.name, comparison


def _notes(options: Sequence[Option], inputs: DecisionInputs) -> Iterator[str]:
    if any(o.policy and o.measured.request_bytes is None for o in options):
        size_kb = inputs.assumptions.request_bytes / 1000
        yield (
            f"The rows do not say how large the photographs were; {size_kb:g} KB each is "
            "assumed for the data that is processed."
        )
    unpriced = sorted({option.no_cost for option in options if option.no_cost})
    if unpriced:
        yield (
            f"{' '.join(unpriced)} Options that need these prices are excluded; use a price sheet "
            "that has them (`drdeploy prices update`)."
        )

"""Decide how to host, given measurements, traffic, prices and requirements."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError, UnknownPrice
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.study.recommendation.aws_latency_estimates import (
    describe_applied_transfer,
    expect_configurations_on_aws,
    write_basis_of_latencies,
)
from drdeploy.study.recommendation.break_even import (
    compute_cost_curves,
    find_break_even_of_each_pair,
)
from drdeploy.study.recommendation.choice import (
    NONE,
    SameCost,
    choose_option_in_each_case,
)
from drdeploy.study.recommendation.confidence import (
    compute_confidence_of_winner,
    resample_cost_and_p95,
)
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.recommendation.decision import Decision, Unusable
from drdeploy.study.recommendation.evaluated import (
    could_be_cheapest_after_resampling,
    describe_missed_requirements,
    has_only_rates_that_do_not_count,
    make_evaluated_option,
)
from drdeploy.study.recommendation.hosting_ways import has_gpu
from drdeploy.study.recommendation.mitigation.comparison import compare_cold_start_policies
from drdeploy.study.recommendation.mitigation.policies import average_requests_by_hour_of_week
from drdeploy.study.recommendation.options import Option, SimulationContext, simulate_all_options
from drdeploy.study.recommendation.price_age import (
    write_price_age_sentence,
    write_warning_about_old_prices,
)
from drdeploy.study.recommendation.price_sensitivity import compute_price_sensitivities
from drdeploy.study.recommendation.requirements import require_allowed_region
from drdeploy.study.recommendation.traffic import Arrivals, Traffic, TrafficShape
from drdeploy.study.recommendation.wording import write_answer_sentences
from drdeploy.units import HOURS_PER_MONTH, KB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.mitigation.comparison import MitigationComparison
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements


def choose_cheapest_hosting(
    measurements: Measurements,
    sheet: PriceSheet,
    inputs: DecisionInputs,
    *,
    allow_mixed: bool = False,
    today: date | None = None,
) -> Decision:
    """Simulate, price and check every option, and choose the best that meets the requirements.

    Of the options that cost about the same as the cheapest, the simplest to run is chosen. Among
    equally simple options, the fastest is chosen (:mod:`~drdeploy.study.recommendation.choice`).
    Options that this project cannot deploy are left out of the choice.

    Args:
        measurements: The measured rows.
        sheet: The prices.
        inputs: The traffic, the requirements and the assumptions.
        allow_mixed: Accept rows that were measured on different platforms or machines.
        today: The day for which the age of the prices is computed; None for the current day.

    Raises:
        AnalysisError: No configuration has the rows that a simulation needs, or rows of different
            platforms or machines are mixed without ``allow_mixed``.
        UnknownPrice: No option can be priced, because each needs a price that ``sheet`` lacks.
        InvalidInput: The requirements do not allow the region, or no patient arrives in the drawn
            traffic.
    """
    require_allowed_region(inputs.required, inputs.assumptions.region)
    if not allow_mixed:
        measurements.require_comparable()
    configurations = collect_measured_configurations(measurements)
    unusable = tuple(Unusable(one.name, one.unusable) for one in configurations if one.unusable)
    if not configurations:
        raise AnalysisError(
            "A decision needs latencies without a queue, but every row comes from an open-loop, "
            "asynchronous or batch scenario",
            where=str(measurements.source),
            remedy="Measure a warm scenario of each configuration, and a cold scenario of each "
            "serverless configuration",
        )
    if len(unusable) == len(configurations):
        raise AnalysisError(
            "No configuration has the rows that a decision needs: "
            f"{_write_reasons_why_unusable(unusable)}",
            where=str(measurements.source),
            remedy="Measure a warm scenario of each configuration, and a cold scenario of each "
            "serverless configuration",
        )
    context = make_simulation_context(sheet, inputs)
    image_gb = inputs.assumptions.image_gb
    expected = expect_configurations_on_aws(configurations, inputs.transfer, image_gb)
    options = tuple(simulate_all_options(expected, context))
    if not any(option.bill for option in options):
        raise UnknownPrice(
            f"No option has a known cost: {' '.join(sorted({o.no_cost for o in options}))}",
            where=f"price sheet, region {inputs.assumptions.region}",
            remedy="Write a price sheet with `drdeploy prices update`, or choose a region that is "
            "in the price sheet",
        )
    decision = _evaluate_options_and_make_decision(measurements, inputs, context, options, unusable)
    transfer = describe_applied_transfer(expected, inputs.transfer, image_gb, inputs.seed)
    decision = replace(
        decision,
        transfer=transfer,
        latency_basis=write_basis_of_latencies(set(measurements.frame["platform"]), transfer),
    )
    decision = replace(decision, answer=tuple(write_answer_sentences(decision)))
    return _add_age_of_prices(decision, today or datetime.now(UTC).date())


def make_simulation_context(sheet: PriceSheet, inputs: DecisionInputs) -> SimulationContext:
    """Draw the times of arrival, and return them with the prices and the assumptions."""
    traffic, seed = inputs.traffic, inputs.seed
    arrivals = traffic if isinstance(traffic, Arrivals) else traffic.arrivals(seed)
    return SimulationContext(arrivals, sheet, inputs.assumptions, seed, inputs.required.may_wait_s)


def _add_age_of_prices(decision: Decision, today: date) -> Decision:
    warning = write_warning_about_old_prices(decision.price_sources, today)
    return replace(
        decision,
        price_age=write_price_age_sentence(decision.price_sources, today),
        notes=(*decision.notes, *filter(None, [warning])),
    )


def _write_reasons_why_unusable(unusable: Sequence[Unusable]) -> str:
    """Return why configurations cannot be simulated, as one text that groups them by reason."""
    names: dict[str, list[str]] = {}
    for one in unusable:
        names.setdefault(one.reason, []).append(one.name)
    return "; ".join(
        f"{reason} (all {len(those)} configurations)"
        if len(those) == len(unusable) > 1
        else f"{', '.join(dict.fromkeys(those))}: {reason}"
        for reason, those in names.items()
    )


def _evaluate_options_and_make_decision(
    measurements: Measurements,
    inputs: DecisionInputs,
    context: SimulationContext,
    simulated: Sequence[Option],
    unusable: tuple[Unusable, ...],
) -> Decision:
    required, arrivals = inputs.required, context.arrivals
    # A policy that takes no action gives the same result as no policy, so it is not an option of
    # its own.
    options = [option for option in simulated if option.differs_from_doing_nothing]
    failing = {
        option.name: tuple(describe_missed_requirements(option, required)) for option in options
    }
    meeting = sorted(
        (o for o in options if o.is_deployable and not failing[o.name]), key=lambda o: o.usd
    )
    # The option that misses the fewest requirements comes first, because it is the closest.
    missing = sorted(
        (o for o in options if o.is_deployable and failing[o.name]),
        key=lambda o: (len(failing[o.name]), o.usd),
    )
    research = sorted((o for o in options if not o.is_deployable), key=lambda o: o.usd)
    winner, equivalent = _choose_winner_and_equivalents(meeting, required)
    resampled = resample_cost_and_p95(options, seed=inputs.seed)
    evaluated = {
        o.name: make_evaluated_option(o, failing[o.name], inputs, arrivals, resampled[o.name])
        for o in options
    }
    mitigated, mitigation = _compare_policies_on_one_configuration(simulated, winner, required)
    # A break-even between two models would compare graders, not ways of hosting.
    model = (winner or min(options, key=lambda o: o.usd)).measured.configuration.model
    rivals = [o for o in options if o.measured.configuration.model == model]
    prices = {entry.price: None for o in options if o.bill for entry in o.bill.entries}
    return Decision(
        answer=(),
        traffic=arrivals.description,
        requests_per_month=arrivals.requests_per_month,
        required=required,
        assumptions=inputs.assumptions.sentences,
        winner=evaluated[winner.name] if winner else None,
        runners_up=tuple(evaluated[o.name] for o in meeting if o is not winner),
        equivalent=tuple(o.name for o in equivalent),
        excluded=tuple(evaluated[option.name] for option in missing),
        research=tuple(evaluated[option.name] for option in research),
        unusable=(*unusable, *_list_unmeasured_gpus(options, context)),
        confidence=compute_confidence_of_winner(
            winner.name if winner else None,
            [
                (resampled[o.name], len(o.operated_parts))
                for o in options
                if could_be_cheapest_after_resampling(o, required)
            ],
            required,
        ),
        # An archive is graded only once. It has no monthly volume, and so no break-even volume.
        break_even=()
        if arrivals.is_archive
        else find_break_even_of_each_pair(
            compute_cost_curves(rivals, _make_traffic_for_break_evens(inputs), context)
        ),
        prices=compute_price_sensitivities(
            winner.name,
            {o.name: o.bill for o in meeting if o.bill},
            lambda usd: _choose_among_options(meeting, usd, required),
        )
        if winner
        else (),
        mitigation=mitigation,
        mitigated=mitigated,
        simulated_requests=arrivals.n,
        seed=inputs.seed,
        # Sorted rows of a trace, or an assumed size of photographs, may change the decision, so the
        # notes mention them.
        notes=(*arrivals.notes, *measurements.notes, *_write_notes_on_decision(options, inputs)),
        price_age="",
        price_sources=tuple(sorted(prices, key=lambda price: (price.unit, price.item))),
        platform=", ".join(sorted(set(measurements.frame["platform"]))),
        source=measurements.source.name,
        notice=RESEARCH_USE_NOTICE,
        latency_basis="",
        transfer=None,
    )


def _choose_winner_and_equivalents(
    meeting: Sequence[Option], required: Requirements
) -> tuple[Option | None, list[Option]]:
    """Return the winner, and the other options that cost about as much as the cheapest."""
    usd = np.array([[option.usd] for option in meeting]).reshape(len(meeting), 1)
    (at,) = _choose_among_options(meeting, usd, required)
    if at == NONE:
        return None, []
    highest = SameCost.from_requirements(required).compute_highest_same_usd(usd.min(axis=0))
    winner = meeting[at]
    return winner, [o for o in meeting if o is not winner and o.usd <= highest]


def _choose_among_options(
    meeting: Sequence[Option], usd: NDArray[np.float64], required: Requirements
) -> NDArray[np.int64]:
    """Return the index of the chosen option in each case, for example for each assumed price.

    Each column of ``usd`` holds the monthly costs of all options in one case.
    """
    p95_s = np.array([[option.p95_s] for option in meeting]).reshape(len(meeting), 1)
    return choose_option_in_each_case(
        usd,
        np.broadcast_to(p95_s, usd.shape),
        np.array([len(option.operated_parts) for option in meeting], dtype=np.int64),
        SameCost.from_requirements(required),
    )


def _make_traffic_for_break_evens(inputs: DecisionInputs) -> Traffic:
    """Return the traffic for break-even volumes; a trace is replaced by its average week."""
    if isinstance(inputs.traffic, Traffic):
        return inputs.traffic
    arrivals = inputs.traffic
    profile = average_requests_by_hour_of_week(arrivals)
    shape = TrafficShape("trace", tuple((profile / profile.sum()).tolist()))
    return Traffic(
        requests_per_month=arrivals.requests_per_month, shape=shape, photographs_per_patient=1
    )


def _compare_policies_on_one_configuration(
    simulated: Sequence[Option], winner: Option | None, required: Requirements
) -> tuple[str, MitigationComparison | None]:
    """Compare the policies against cold starts on one serverless configuration.

    The policies are compared on the winner's configuration if the winner is serverless, else on the
    configuration of the cheapest serverless option.

    Returns:
        The name of the configuration and the comparison. Without a serverless configuration, the
        name is empty and the comparison is None.
    """
    serverless = [option for option in simulated if option.policy]
    if not serverless:
        return "", None
    best = winner if winner and winner.policy else min(serverless, key=lambda o: o.usd)
    policies = [o.simulated_policy for o in serverless if o.measured is best.measured]
    return best.measured.name, compare_cold_start_policies(
        list(filter(None, policies)), p95_s=required.p95_s
    )


def _list_unmeasured_gpus(
    options: Sequence[Option], context: SimulationContext
) -> Iterator[Unusable]:
    """Yield one entry that names all GPU instances with a known price but without a measurement."""
    region = context.assumptions.region
    measured = {o.measured.configuration.instance_type for o in options}
    prices = sorted(
        (p.usd, p.item)
        for p in context.sheet.prices
        if p.region == region and has_gpu(p.item) and p.item not in measured
    )
    if prices:
        usd, cheapest = prices[0]
        types = sorted({item for _, item in prices} - {cheapest})
        yield Unusable(
            ", ".join([cheapest, *types]),
            "no row was measured on these instances with a GPU, so their latency is not known. "
            f"The cheapest instance, {cheapest}, costs {usd * HOURS_PER_MONTH:,.0f} USD a month "
            "around the clock",
        )


def _write_notes_on_decision(options: Sequence[Option], inputs: DecisionInputs) -> Iterator[str]:
    if any(o.measured.request_bytes is None for o in options):
        size_kb = inputs.assumptions.request_bytes / KB
        yield (
            f"The rows do not give the size of the photographs. A size of {size_kb:g} KB is "
            "assumed for the cost of processed data."
        )
    required = inputs.required
    for name, remedy, is_needed in (
        (
            "your VPC",
            'add `"model": {"vpc_config": {"subnet_ids": [...], "security_group_ids": [...]}}`',
            required.needs_vpc,
        ),
        ("your own key", "use `--kms-key` of `endpoint deploy`", required.needs_own_key),
    ):
        if is_needed:
            yield f"The Terraform variables do not contain {name}: {remedy}."
    flattered = sorted(
        {
            f"{measured.configuration.model} {measured.configuration.precision}".strip()
            for measured in (option.measured for option in options)
            if has_only_rates_that_do_not_count(measured, required)
        }
    )
    if flattered:
        yield (
            f"The sensitivity and specificity of {' and '.join(flattered)} do not count, because "
            "they were measured on the photographs on which the thresholds were chosen. On other "
            "photographs, they would probably be lower. To measure both on other photographs, "
            "adapt the grader to photographs that you graded (`drdeploy model recalibrate ARTIFACT "
            "--data PHOTOGRAPHS`). Then run the study again with the new artifact. `drdeploy model "
            "train` also measures both on other photographs."
        )
    unpriced = sorted({option.no_cost for option in options if option.no_cost})
    if unpriced:
        yield (
            f"{' '.join(unpriced)} Options that need a missing price are excluded. "
            "`drdeploy prices update` writes a price sheet with current prices."
        )

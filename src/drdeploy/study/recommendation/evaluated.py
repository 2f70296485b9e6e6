"""Check an option against the requirements, and collect its results for the decision."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.sagemaker.api_limits import ASYNCHRONOUS_TIME_TO_LIVE_S, INVOCATION_TIMEOUT_S
from drdeploy.statistics.notation import format_number
from drdeploy.study.recommendation.confidence import compute_interval_of_middle_95_percent
from drdeploy.study.recommendation.decision import BillLine, EvaluatedOption
from drdeploy.study.recommendation.hosting_ways import (
    describe_broken_constraints,
    describe_late_results,
)
from drdeploy.study.recommendation.mitigation.settings import (
    list_daily_container_periods,
    make_real_time_terraform_variables,
    make_serverless_terraform_variables,
)
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import OperatingPoint
    from drdeploy.study.recommendation.confidence import ResampledOption
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import (
        Assumptions,
        DecisionInputs,
        Requirements,
    )
    from drdeploy.study.recommendation.traffic import Arrivals


def describe_missed_requirements(option: Option, required: Requirements) -> Iterator[str]:
    """Yield a text for each requirement that the option misses; the text says why."""
    yield from describe_broken_constraints(
        required, option.hosting_way, option.measured.configuration.instance_type
    )
    if option.bill is None:
        yield f"the cost is not known: {option.no_cost.rstrip('.')}"
    if refuses_too_many_requests(option, required):
        share = option.simulated.throttled_share
        why = _explain_why_requests_fail(option)
        yield f"{share:.2%} of the requests fail, because {why}"
    if required.p95_s is not None and option.p95_s > required.p95_s:
        cold = option.simulated.cold_share
        start = f" ({cold:.1%} cold starts)" if option.policy is not None else ""
        p95 = "without end" if option.p95_s == float("inf") else f"{format_number(option.p95_s)} s"
        yield f"p95 {p95}{start}, above {required.p95_s:g} s"
    late = describe_late_results(required, option.hosting_way, option.simulated.slowest_s)
    if late:
        yield late
    sensitivity = describe_missed_sensitivity(option.measured, required)
    if sensitivity:
        yield sensitivity
    budget = required.budget_usd
    if budget is not None and option.bill is not None and option.bill.usd > budget:
        yield f"{format_number(option.bill.usd)} USD a month, above {budget:g} USD"


def could_be_cheapest_after_resampling(option: Option, required: Requirements) -> bool:
    """Whether the option could be chosen if the measured rows were resampled (bootstrap).

    Resampling changes only the latency and the cost of an option. An option that is excluded for
    another reason, such as an unknown price, refused requests or late results, is not chosen in any
    resample.
    """
    return (
        option.is_deployable
        and option.bill is not None
        and not any(
            describe_broken_constraints(
                required, option.hosting_way, option.measured.configuration.instance_type
            )
        )
        and not refuses_too_many_requests(option, required)
        and not describe_late_results(required, option.hosting_way, option.simulated.slowest_s)
        and not describe_missed_sensitivity(option.measured, required)
    )


def _explain_why_requests_fail(option: Option) -> str:
    match option.way_name:
        case "real-time":
            return f"they are not answered within {INVOCATION_TIMEOUT_S:g} s"
        case "real-time, autoscaled":
            return f"they are not answered within {INVOCATION_TIMEOUT_S:g} s while instances start"
        case "real-time, scheduled":
            return (
                "they come while the endpoint does not exist, or are not answered within "
                f"{INVOCATION_TIMEOUT_S:g} s"
            )
        case "components":
            asleep = "calls fail until a component that was scaled to zero has started"
            if option.instances == 1:
                return asleep
            late = f"are not answered within {INVOCATION_TIMEOUT_S:g} s while instances start"
            return f"{asleep}, or {late}"
        case "asynchronous":
            hours = ASYNCHRONOUS_TIME_TO_LIVE_S / SECONDS_PER_HOUR
            return f"they wait for longer than the {hours:g} hours after which a request expires"
        case "batch":
            return "no instance is left to answer them"
        case _:
            return "too many arrive at once"


def refuses_too_many_requests(option: Option, required: Requirements) -> bool:
    """Whether an endpoint refuses more requests than the requirements allow."""
    return option.simulated.throttled_share > required.throttled_at_most


def describe_missed_sensitivity(measured: MeasuredConfiguration, required: Requirements) -> str:
    """Return why the sensitivity or specificity is too low; empty if both are high enough.

    At one or more operating points, sensitivity and specificity must both be high enough. The lower
    end of the 95 % interval of each must reach the required value. A configuration without
    operating points misses the requirements, because its sensitivity and specificity were never
    measured. A configuration whose rates are not cross-fitted misses them, too: a threshold usually
    does better on the photographs on which it was chosen than on others.
    """
    wanted = [
        ("sensitivity", required.min_sensitivity),
        ("specificity", required.specificity_floor),
    ]
    if all(least is None for _, least in wanted):
        return ""
    best = choose_best_operating_point(measured, required)
    for name, least in wanted:
        if least is None:
            continue
        target = f"{least:.1%} at grade >= {required.at_grade}"
        # The grader may be good enough, but a rate that was never measured cannot meet a
        # requirement.
        if best is None:
            return f"the {name} was not measured, and {target} is required"
        if not best.cross_fitted:
            return (
                f"the {name} was measured only on the photographs on which the threshold was "
                f"chosen, which does not count, and {target} is required"
            )
        rates = {"sensitivity": best.sensitivity, "specificity": best.specificity}
        rate = rates.pop(name)
        if rate.low < least:
            # A sensitivity without the specificity at the same threshold says little, and vice
            # versa.
            (other,) = rates
            return (
                f"the {name} is {rate.value:.1%}, and its 95 % interval begins at {rate.low:.1%}, "
                f"but {target} is required (n = {rate.n}, operating point "
                f"'{best.name.replace('_', ' ')}', {other} {rates[other].value:.1%})"
            )
    return ""


def has_only_rates_that_do_not_count(
    measured: MeasuredConfiguration, required: Requirements
) -> bool:
    """Whether a sensitivity or specificity is required, but none in the artifact is cross-fitted.

    The answer is no if the artifact has no operating point for the required grade.
    """
    if required.specificity_floor is None:
        return False
    best = choose_best_operating_point(measured, required)
    return best is not None and not best.cross_fitted


def choose_best_operating_point(
    measured: MeasuredConfiguration, required: Requirements
) -> OperatingPoint | None:
    """Return the best operating point for the required grade.

    Three things decide, in this order: whether the rates of a point are cross-fitted, whether it
    reaches the required specificity, and how high the lower end of the 95 % interval of its
    sensitivity is. The result is None if there is no operating point for the grade.
    """
    floor = required.specificity_floor or 0.0
    points = [
        point for point in measured.operating_points if point.at_or_above == required.at_grade
    ]
    return max(
        points,
        key=lambda point: (
            point.cross_fitted,
            point.specificity.low >= floor,
            point.sensitivity.low,
        ),
        default=None,
    )


def _make_terraform_variables(option: Option, assumed: Assumptions) -> dict[str, Any]:
    """Return the Terraform variables of an option; empty if the option cannot be deployed."""
    configuration = option.measured.configuration
    if option.policy is not None:
        return make_serverless_terraform_variables(
            configuration.memory_mb,
            option.policy,
            peak_concurrency=option.simulated.peak_concurrency,
            headroom=assumed.headroom,
            concurrency_limit=assumed.concurrency_limit,
        )
    if option.way_name == "real-time":
        return make_real_time_terraform_variables(configuration.instance_type, option.instances)
    return option.variables


def _add_network_isolation(variables: dict[str, Any], required: Requirements) -> dict[str, Any]:
    """Add network isolation to the Terraform variables of an endpoint, if it is required.

    No variables for a VPC are added, because only the user knows the subnets.
    """
    if not required.needs_network_isolation or "endpoint" not in variables:
        return variables
    return {**variables, "model": {"network_isolation": True}}


def make_evaluated_option(
    option: Option,
    failing: tuple[str, ...],
    inputs: DecisionInputs,
    arrivals: Arrivals,
    resampled: ResampledOption,
) -> EvaluatedOption:
    """Collect an option's cost, latency and missed requirements for the decision."""
    measured, simulated, times = option.measured, option.simulated, option.measured.service_times
    configuration, policy, bill = measured.configuration, option.policy, option.bill
    each = None if bill is None else bill.usd / arrivals.requests_per_month
    return EvaluatedOption(
        name=option.name,
        kind=option.kind,
        model=configuration.model,
        precision=configuration.precision,
        profile=configuration.profile,
        size=configuration.memory_or_instance_type,
        policy=policy.name if policy else "",
        description=option.description,
        instances=option.instances,
        usd_per_month=bill.usd if bill else None,
        usd_per_month_limits=compute_interval_of_middle_95_percent(resampled.usd),
        usd_per_inference=each,
        usd_per_patient=None if each is None else each * inputs.assumptions.photographs_per_patient,
        bill=tuple(
            BillLine(
                item=entry.price.item,
                quantity=entry.quantity,
                unit=entry.price.unit,
                price_usd=entry.price.usd,
                usd=entry.usd,
                price_date=entry.price.date,
            )
            for entry in (bill.entries if bill else ())
        ),
        p50_s=simulated.p50_s if isfinite(simulated.p50_s) else None,
        p95_s=option.p95_s if isfinite(option.p95_s) else None,
        p95_s_limits=compute_interval_of_middle_95_percent(resampled.p95_s),
        p95_as_measured_s=resampled.p95_as_measured_s
        if isfinite(resampled.p95_as_measured_s or 0.0)
        else None,
        cold_share=simulated.cold_share,
        throttled_share=simulated.throttled_share,
        waiting_p95_s=simulated.waiting_p95_s,
        peak_concurrency=simulated.peak_concurrency,
        sensitivity=choose_best_operating_point(measured, inputs.required),
        warm_rows=times.warm.row_count,
        cold_rows=times.cold.row_count if times.cold else 0,
        trials=measured.trials,
        is_deployable=option.is_deployable,
        operated_parts=option.operated_parts,
        failures=failing,
        settings=_add_network_isolation(
            _make_terraform_variables(option, inputs.assumptions), inputs.required
        ),
        schedule=tuple(list_daily_container_periods(policy)) if policy else (),
    )

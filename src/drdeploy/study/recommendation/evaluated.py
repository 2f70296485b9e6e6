"""An evaluated option: what was simulated, priced and checked, as plain values."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from drdeploy.study.recommendation.checks import best_point
from drdeploy.study.recommendation.confidence import limits
from drdeploy.study.recommendation.decision import BillLine, EvaluatedOption
from drdeploy.study.recommendation.mitigation.settings import (
    real_time_variables,
    serverless_variables,
    weekly_schedule,
)

if TYPE_CHECKING:
    from drdeploy.study.recommendation.confidence import ResampledOption
    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import DecisionInputs
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals


def evaluated_option(
    option: Option,
    failing: tuple[str, ...],
    inputs: DecisionInputs,
    arrivals: Arrivals,
    resampled: ResampledOption,
) -> EvaluatedOption:
    """Collect an option's figures, and what it fails on, for the decision."""
    measured, simulated, times = option.measured, option.simulated, option.measured.times
    configuration, policy, bill = measured.configuration, option.policy, option.bill
    each = None if bill is None else bill.usd / arrivals.requests_per_month
    many = "s" * (option.instances > 1)
    return EvaluatedOption(
        name=option.name,
        kind=option.kind,
        model=configuration.model,
        precision=configuration.precision,
        profile=configuration.profile,
        size=configuration.size,
        policy=policy.name if policy else "",
        description=policy.description
        if policy
        else f"{option.instances} instance{many}, day and night",
        instances=option.instances,
        usd_per_month=bill.usd if bill else None,
        usd_per_month_limits=limits(resampled.usd),
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
        p95_s_limits=limits(resampled.p95_s),
        cold_share=simulated.cold_share,
        throttled_share=simulated.throttled_share,
        waiting_p95_s=simulated.waiting_p95_s,
        peak_concurrency=simulated.peak_concurrency,
        sensitivity=best_point(measured, inputs.required.at_grade),
        warm_rows=times.warm.n,
        cold_rows=times.cold.n if times.cold else 0,
        trials=measured.trials,
        failures=failing,
        settings=_settings(option, inputs),
        schedule=tuple(weekly_schedule(policy)) if policy else (),
    )


def _settings(option: Option, inputs: DecisionInputs) -> dict[str, Any]:
    if option.policy is None:
        return real_time_variables(option.measured.configuration.instance_type, option.instances)
    return serverless_variables(
        option.measured.configuration.memory_mb,
        option.policy,
        peak_concurrency=option.simulated.peak_concurrency,
        headroom=inputs.assumptions.headroom,
    )

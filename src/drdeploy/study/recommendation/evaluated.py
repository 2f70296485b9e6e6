"""An option as plain values for the decision."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from drdeploy.study.recommendation.checks import best_point
from drdeploy.study.recommendation.confidence import limits
from drdeploy.study.recommendation.decision import BillLine, EvaluatedOption
from drdeploy.study.recommendation.mitigation.settings import (
    real_time_variables,
    schedule_of,
    serverless_variables,
)

if TYPE_CHECKING:
    from drdeploy.study.recommendation.confidence import ResampledOption
    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import DecisionInputs
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals


def judged(
    option: Option,
    failing: tuple[str, ...],
    inputs: DecisionInputs,
    arrivals: Arrivals,
    resampled: ResampledOption,
) -> EvaluatedOption:
    """Figures of an option."""
    hosted, figures = option.hosted, option.figures
    usd = option.bill.usd if option.bill else None
    each = None if usd is None else usd / arrivals.requests_per_month
    times = hosted.times
    return EvaluatedOption(
        name=option.name,
        kind=option.kind,
        model=hosted.configuration.model,
        precision=hosted.configuration.precision,
        profile=hosted.configuration.profile,
        size=hosted.configuration.size,
        policy=option.policy.name if option.policy else "",
        told=option.policy.told if option.policy else _instances(option),
        instances=option.instances,
        usd_per_month=usd,
        usd_per_month_limits=limits(resampled.usd),
        usd_per_inference=each,
        usd_per_patient=None if each is None else each * inputs.assumptions.photographs_per_patient,
        bill=tuple(_lines(option)),
        p50_s=_finite(figures.p50_s),
        p95_s=_finite(option.p95_s),
        p95_s_limits=limits(resampled.p95_s),
        cold_share=figures.cold_share,
        throttled_share=figures.throttled_share,
        waiting_p95_s=figures.waiting_p95_s,
        peak_concurrency=figures.peak_concurrency,
        sensitivity=best_point(hosted, inputs.required.at_grade),
        warm_rows=times.warm.n,
        cold_rows=times.cold.n if times.cold else 0,
        trials=hosted.trials,
        failures=failing,
        settings=_settings(option, inputs),
        schedule=tuple(schedule_of(option.policy)) if option.policy else (),
    )


def _instances(option: Option) -> str:
    count = option.instances
    return f"{count} instance{'s' * (count > 1)} day and night"


def _settings(option: Option, inputs: DecisionInputs) -> dict[str, Any]:
    if option.policy is None:
        return real_time_variables(option.hosted.configuration.instance_type, option.instances)
    return serverless_variables(
        option.hosted.configuration.memory_mb,
        option.policy,
        peak_concurrency=option.figures.peak_concurrency,
        headroom=inputs.assumptions.headroom,
    )


def _lines(option: Option) -> list[BillLine]:
    lines = option.bill.lines if option.bill else ()
    return [
        BillLine(
            item=line.price.item,
            quantity=line.quantity,
            unit=line.price.unit,
            price_usd=line.price.usd,
            usd=line.usd,
            price_date=line.price.date,
        )
        for line in lines
    ]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None

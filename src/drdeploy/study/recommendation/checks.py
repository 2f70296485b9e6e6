"""Check an option against the requirements, and say what it fails on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.statistics.notation import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import OperatingPoint
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import Requirements


def failures(option: Option, required: Requirements) -> Iterator[str]:
    """Yield each requirement that the option misses, as a clause."""
    if option.bill is None:
        yield f"its cost is not known: {option.no_cost.rstrip('.')}"
    if is_throttled(option, required):
        share = option.simulated.throttled_share
        yield f"{share:.2%} of the requests are refused for want of concurrency"
    if required.p95_s is not None and option.p95_s > required.p95_s:
        cold = option.simulated.cold_share
        start = f" ({cold:.1%} cold starts)" if option.policy is not None else ""
        p95 = "without end" if option.p95_s == float("inf") else f"{number(option.p95_s)} s"
        yield f"p95 {p95}{start}, above {required.p95_s:g} s"
    sensitivity = sensitivity_failure(option.measured, required)
    if sensitivity:
        yield sensitivity
    budget = required.budget_usd
    if budget is not None and option.bill is not None and option.bill.usd > budget:
        yield f"{number(option.bill.usd)} USD a month, above {budget:g} USD"


def may_win(option: Option, required: Requirements) -> bool:
    """Whether other rows of the same configuration could make the option the winner.

    Drawing the rows again changes latency and cost; it changes neither an unknown price, nor a
    sensitivity, nor (as the simulation is not repeated) how many requests are refused.
    """
    return (
        option.bill is not None
        and not is_throttled(option, required)
        and not sensitivity_failure(option.measured, required)
    )


def is_throttled(option: Option, required: Requirements) -> bool:
    """Whether the endpoint refuses more requests than the requirements allow."""
    return option.simulated.throttled_share > required.throttled_at_most


def sensitivity_failure(measured: MeasuredConfiguration, required: Requirements) -> str:
    """Why a configuration is not shown to be sensitive enough; empty if it is, or none is required.

    The lower limit of the 95 % interval counts.  A configuration without clinical figures (random
    weights, a model of another kind, results of an older version) cannot be shown to meet any
    sensitivity: it fails whenever one is required.
    """
    if required.min_sensitivity is None:
        return ""
    best = best_point(measured, required.at_grade)
    target = f"{required.min_sensitivity:.1%} at grade >= {required.at_grade}"
    # The grader may well be sensitive enough, but what nobody has measured cannot decide.
    if best is None:
        return f"no clinical figures: a sensitivity of {target} is not shown"
    rate = best.sensitivity
    if rate.low < required.min_sensitivity:
        return (
            f"sensitivity {rate.value:.1%} with a lower limit of {rate.low:.1%} "
            f"(n = {rate.n}, {best.name.replace('_', ' ')} point), below {target}"
        )
    return ""


def best_point(measured: MeasuredConfiguration, at_grade: int) -> OperatingPoint | None:
    """The operating point at that grade with the highest lower limit of sensitivity."""
    points = [point for point in measured.operating_points if point.at_or_above == at_grade]
    return max(points, key=lambda point: point.sensitivity.low, default=None)

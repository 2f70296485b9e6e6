"""What an option fails on; nothing, if it meets every requirement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.statistics.notation import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import OperatingPoint
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration
    from drdeploy.study.recommendation.options import Option
    from drdeploy.study.recommendation.requirements import Requirements


def failures(option: Option, required: Requirements) -> tuple[str, ...]:
    """Each as a clause; empty if there is none."""
    return tuple(_failures(option, required))


def sensitivity_failure(hosted: MeasuredConfiguration, required: Requirements) -> str:
    """Why a configuration is not shown to be sensitive enough; empty if it is, or none is asked.

    The lower limit of the 95 % interval counts.  A configuration without clinical figures (random
    weights, a model of another kind, results of an older version) cannot be shown to meet any
    sensitivity: it fails whenever one is asked.
    """
    if required.min_sensitivity is None:
        return ""
    best = best_point(hosted, required.at_grade)
    wanted = f"{required.min_sensitivity:.1%} at grade >= {required.at_grade}"
    if best is None:
        return f"no clinical figures: a sensitivity of {wanted} is not shown"
    rate = best.sensitivity
    if rate.low < required.min_sensitivity:
        return (
            f"sensitivity {rate.value:.1%} with a lower limit of {rate.low:.1%} "
            f"(n = {rate.n}, {best.name.replace('_', ' ')} point), below {wanted}"
        )
    return ""


def best_point(hosted: MeasuredConfiguration, at_grade: int) -> OperatingPoint | None:
    """The operating point at that grade with the highest lower limit."""
    points = [point for point in hosted.operating_points if point.at_or_above == at_grade]
    return max(points, key=lambda point: point.sensitivity.low, default=None)


def _failures(option: Option, required: Requirements) -> Iterator[str]:
    if option.bill is None:
        yield f"its cost is not known: {option.no_cost.rstrip('.')}"
    throttled = option.figures.throttled_share
    if throttled > required.throttled_at_most:
        yield f"{throttled:.2%} of the requests are refused for want of concurrency"
    if required.p95_s is not None and option.p95_s > required.p95_s:
        cold = option.figures.cold_share
        start = f" ({cold:.1%} cold starts)" if option.policy is not None else ""
        told = "without end" if option.p95_s == float("inf") else f"{number(option.p95_s)} s"
        yield f"p95 {told}{start}, above {required.p95_s:g} s"
    sensitivity = sensitivity_failure(option.hosted, required)
    if sensitivity:
        yield sensitivity
    if (
        required.budget_usd is not None
        and option.bill is not None
        and option.bill.usd > required.budget_usd
    ):
        yield f"{number(option.bill.usd)} USD a month, above {required.budget_usd:g} USD"

"""Compute the capacity that a scaling policy asks for.

Source: Application Auto Scaling user guide, "Target tracking scaling policies" and "Step scaling
policies"; API reference, ``StepScalingPolicyConfiguration``. AWS does not publish the formula of
target tracking. In the local service, the capacity is multiplied by the ratio of the metric to its
target, and rounded up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCALE_IN_SHARE = 0.9
"""A target tracking policy scales in when the metric is below this share of its target."""


def compute_target_tracking_capacity(current: int, metric: float, target: float) -> int:
    """Return how many instances are needed so that a metric does not exceed its target.

    The metric is a value per instance, so it falls when instances are added. If no instance is
    running now, the result is computed as if one were running.
    """
    # Without the tolerance, the rounding error of a quotient such as 3 * (0.1 / 0.3) could cost one
    # more instance.
    return math.ceil(max(1, current) * metric / target - 1e-9)


def compute_step_scaling_capacity(
    policy: Mapping[str, Any], current: int, metric: float, threshold: float
) -> int | None:
    """Return the capacity that a step scaling policy asks for, or None if no step fits the metric.

    Args:
        policy: The ``StepScalingPolicyConfiguration``.
        current: The capacity before the change. A step of the policy adds instances to this
            capacity or removes some.
        metric: The value of the alarm's metric.
        threshold: The threshold of the alarm.
    """
    adjustment = _find_step_adjustment(policy["StepAdjustments"], metric - threshold)
    if adjustment is None:
        return None
    kind = policy["AdjustmentType"]
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return current + adjustment
    change = _round_capacity_change(current * adjustment / 100)
    least = policy.get("MinAdjustmentMagnitude") or 0
    if change and abs(change) < least:
        change = int(math.copysign(least, change))
    elif not change and least:
        change = int(math.copysign(least, adjustment)) if adjustment else 0
    return current + change


def aggregate_metric(kind: str, values: Sequence[float]) -> float:
    """Return the minimum, maximum or average of datapoints, as ``MetricAggregationType`` says."""
    if kind == "Minimum":
        return min(values)
    if kind == "Maximum":
        return max(values)
    return sum(values) / len(values)


def _find_step_adjustment(steps: Sequence[Mapping[str, Any]], difference: float) -> int | None:
    """Return the adjustment of the step whose interval contains the difference to the threshold.

    The difference is the metric minus the threshold.

    Above the threshold, an interval includes its lower bound; below the threshold, an interval
    includes its upper bound.
    """
    for step in steps:
        low = _read_bound_or_default(step.get("MetricIntervalLowerBound"), -math.inf)
        high = _read_bound_or_default(step.get("MetricIntervalUpperBound"), math.inf)
        is_above = low >= 0
        fits = low <= difference < high if is_above else low < difference <= high
        if fits:
            return int(step["ScalingAdjustment"])
    return None


def _read_bound_or_default(bound: float | None, default: float) -> float:
    return default if bound is None else float(bound)


def _round_capacity_change(change: float) -> int:
    """Round a change of the capacity to whole instances.

    A change of less than one instance becomes one instance. Any other change is rounded towards
    zero.
    """
    if abs(change) < 1:
        return int(math.copysign(math.ceil(abs(change)), change))
    return math.trunc(change)

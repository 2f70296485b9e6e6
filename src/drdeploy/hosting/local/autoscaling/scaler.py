"""Carry out the scaling policies and scheduled actions of one region.

The library moto stores the registered targets, policies and scheduled actions. The service calls
the scaler several times a second. The scaler follows two rules:

- A policy acts when one of its alarms changes to the state that triggers the policy. While the
  alarm stays in this state, the policy acts once a minute (CloudWatch user guide, "Alarm actions").
- A scheduled action changes the bounds of its target, and brings the capacity within them.

Sources: Application Auto Scaling user guide and API reference.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.autoscaling.activities import ScalingActivity
from drdeploy.hosting.local.autoscaling.adjustments import (
    aggregate_metric,
    compute_step_scaling_capacity,
    compute_target_tracking_capacity,
)
from drdeploy.hosting.local.autoscaling.schedules import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.hosting.local.autoscaling.activities import ActivityLog

log = logging.getLogger(__name__)

COOLDOWN_S = 300
"""The default cooldown of SageMaker's variants (API reference, ``ScaleInCooldown``)."""
REPEAT_S = 60.0
"""Seconds after which an alarm that stays in its state triggers a policy again."""


class ScaledVariant(Protocol):
    """A variant of an endpoint whose capacity can be set."""

    @property
    def is_in_service(self) -> bool:
        """Whether the endpoint is in service, so that it accepts a change of its capacity."""

    @property
    def capacity(self) -> int:
        """The desired number of instances, or the desired provisioned concurrency."""

    @property
    def name_of_capacity_unit(self) -> str:
        """What the capacity counts, in AWS's words, for example ``desired instance count``."""

    def set_capacity(self, capacity: int) -> None:
        """Set the capacity; raises :class:`ApiError` if the endpoint refuses the change."""

    def has_capacity(self) -> bool:
        """Return whether as many instances are running as :meth:`set_capacity` last asked for."""


class AlarmReader(Protocol):
    """The interface by which the scaler reads CloudWatch's alarms, and writes their history."""

    def find_alarms_with_action(self, policy_arn: str) -> list[Any]:
        """Return the alarms whose present state triggers a policy."""

    def read_evaluated_values(self, alarm: Any, now_s: float) -> list[float]:
        """Return the datapoints that an alarm evaluates now, oldest first."""

    def add_scaling_to_history(
        self, alarm: Any, policy_arn: str, problem: str, now_s: float
    ) -> None:
        """Write to an alarm's history that a policy was carried out, or why it was not."""


@dataclass
class _PolicyMemory:
    """What the scaler remembers about a policy between two checks.

    Attributes:
        called: When each alarm last triggered the policy, by the name of the alarm.
        scaled_out_s: When the policy last scaled out, or None if it never has.
        scaled_out_from: The capacity before the policy last scaled out.
        scaled_in_s: When the policy last scaled in. None if it has not scaled in since it last
            scaled out.
    """

    called: dict[str, float] = field(default_factory=dict)
    scaled_out_s: float | None = None
    scaled_out_from: int = 0
    scaled_in_s: float | None = None


@dataclass(frozen=True)
class _PolicyCall:
    """An alarm that triggers a policy, and the objects needed to carry out the policy."""

    target: Any
    variant: ScaledVariant
    policy: Any
    alarm: Any
    memory: _PolicyMemory
    now_s: float

    @property
    def is_low_alarm(self) -> bool:
        """Whether this is the alarm that makes a target tracking policy scale in."""
        return bool(self.alarm.name == vars(self.policy).get("drdeploy_low_alarm"))

    @property
    def sentence_on_cause(self) -> str:
        """The cause of an activity, in AWS's words."""
        return (
            f"monitor alarm {self.alarm.name} in state {self.alarm.state_value} triggered policy "
            f"{self.policy.policy_name}"
        )


class RegionScaler:
    """Carries out the scaling policies and scheduled actions of one region.

    Args:
        backend: moto's backend for Application Auto Scaling in the region.
        alarms: The alarms of the region.
        activities: The activities of the region.
        find_variant: A function that takes a resource id and a scalable dimension, and returns the
            variant, or None if it does not exist.
        has_lost_resource: A function that takes a resource id, and returns whether the resource was
            registered but no longer exists.
        deregister: A function that takes one of moto's targets, and removes the target and its
            policies.
    """

    def __init__(
        self,
        backend: Any,
        alarms: AlarmReader,
        activities: ActivityLog,
        find_variant: Callable[[str, str], ScaledVariant | None],
        *,
        has_lost_resource: Callable[[str], bool],
        deregister: Callable[[Any], None],
    ) -> None:
        self._backend = backend
        self._alarms = alarms
        self._activities = activities
        self._find_variant = find_variant
        self._has_lost_resource = has_lost_resource
        self._deregister = deregister
        self._memories: dict[str, _PolicyMemory] = {}
        self._looked_s: float | None = None

    def scale_due_targets(self, now_s: float) -> None:
        """Carry out every policy and scheduled action that is due."""
        looked_s = now_s if self._looked_s is None else self._looked_s
        self._looked_s = now_s
        by_resource = tuple(self._backend.targets.values())
        targets = [one for some in by_resource for one in tuple(some.values())]
        for target in targets:
            try:
                self._scale_target_if_due(target, looked_s, now_s)
            except Exception:
                # If one target causes an error, the other targets are scaled nevertheless.
                log.exception("%s was not scaled", target.resource_id)

    def _scale_target_if_due(self, target: Any, looked_s: float, now_s: float) -> None:
        variant = self._find_variant(target.resource_id, target.scalable_dimension)
        if variant is None:
            # SageMaker deregisters the targets of an endpoint that is deleted (developer guide,
            # "Delete endpoints configured for auto scaling").
            if self._has_lost_resource(target.resource_id):
                self._deregister(target)
            return
        self._activities.finish_done_activities(target.resource_id, now_s)
        self._run_due_scheduled_actions(target, looked_s, now_s)
        if not variant.is_in_service:
            return
        self._move_capacity_within_new_bounds(target, variant, now_s)
        policies = [
            one for one in tuple(self._backend.policies.values()) if _belongs_to_target(one, target)
        ]
        for policy in policies:
            for alarm in self._alarms.find_alarms_with_action(policy.policy_arn):
                memory = self._memories.setdefault(policy.policy_arn, _PolicyMemory())
                called_s = memory.called.get(alarm.name, -math.inf)
                if called_s < alarm.drdeploy_changed_s or now_s - called_s >= REPEAT_S:
                    # The alarm may have changed after this round began, that is, after ``now_s``.
                    # If ``now_s`` were stored, the next round would carry out the policy for the
                    # same change again.
                    memory.called[alarm.name] = max(now_s, alarm.drdeploy_changed_s)
                    call = _PolicyCall(target, variant, policy, alarm, memory, now_s)
                    self._carry_out_policy(call, policies)

    # -- scheduled actions -----------------------------------------------------------------

    def _run_due_scheduled_actions(self, target: Any, looked_s: float, now_s: float) -> None:
        for action in tuple(self._backend.scheduled_actions):
            if not _belongs_to_target(action, target):
                continue
            schedule = Schedule.parse(action.schedule, action.timezone)
            # An action that was created after the last check does not run for times before its
            # creation.
            after_s = max(looked_s, action.creation_time)
            times = (action.start_time, action.end_time)
            if not schedule.is_due(after_s, now_s, action.creation_time, *times):
                continue
            if _is_scaling_suspended(target, "ScheduledScalingSuspended"):
                continue
            self._set_bounds_of_target(target, action, now_s)

    def _set_bounds_of_target(self, target: Any, action: Any, now_s: float) -> None:
        bounds = action.scalable_target_action or {}
        named = [
            f"{word} capacity to {bounds[name]}"
            for name, word in (("MinCapacity", "min"), ("MaxCapacity", "max"))
            if name in bounds
        ]
        low = bounds.get("MinCapacity", target.min_capacity)
        high = bounds.get("MaxCapacity", target.max_capacity)
        description = f"Setting {' and '.join(named)}"
        cause = f"scheduled action name {action.scheduled_action_name} was triggered"
        activity = ScalingActivity(
            target.resource_id, target.scalable_dimension, description, cause, now_s, "InProgress"
        )
        if low > high:
            why = f"The minimum capacity {low} is larger than the maximum capacity {high}."
            activity.finish("Failed", why, now_s)
        else:
            target.update(low, high, None)
            target.drdeploy_has_new_bounds = True
            activity.finish("Successful", f"Successfully set {' and '.join(named)}", now_s)
        self._activities.add(activity)

    def _move_capacity_within_new_bounds(
        self, target: Any, variant: ScaledVariant, now_s: float
    ) -> None:
        """Change the capacity if it is outside the bounds that a scheduled action has set."""
        if not vars(target).pop("drdeploy_has_new_bounds", False):
            return
        current = variant.capacity
        if current < target.min_capacity:
            cause = f"minimum capacity was set to {target.min_capacity}"
            self._set_capacity_and_record(target, variant, target.min_capacity, cause, now_s)
        elif current > target.max_capacity:
            cause = f"maximum capacity was set to {target.max_capacity}"
            self._set_capacity_and_record(target, variant, target.max_capacity, cause, now_s)

    # -- policies --------------------------------------------------------------------------

    def _carry_out_policy(self, call: _PolicyCall, policies: Sequence[Any]) -> None:
        alarm, policy = call.alarm, call.policy
        values = self._alarms.read_evaluated_values(alarm, call.now_s)
        wanted = (
            self._find_target_tracking_capacity(call, policies, values)
            if policy.policy_type == "TargetTrackingScaling"
            else self._find_step_scaling_capacity(call, values)
        )
        problem = "No scaling adjustment fits the metric of the alarm."
        if wanted is not None:
            problem = self._scale_if_allowed(call, wanted)
        self._alarms.add_scaling_to_history(alarm, policy.policy_arn, problem, call.now_s)

    def _find_target_tracking_capacity(
        self, call: _PolicyCall, policies: Sequence[Any], values: Sequence[float]
    ) -> int | None:
        """Return the capacity that a target tracking policy asks for, or None without data."""
        if not values:
            return None
        current = call.variant.capacity
        if not call.is_low_alarm:
            base = self._find_capacity_to_add_to(call, current)
            return max(_compute_capacity_of_policy(call.policy, values[-1], base), current)
        # The highest datapoint is used, because the remaining instances must suffice for every
        # evaluated period.
        wanted = _compute_capacity_of_policy(call.policy, max(values), current)
        # A target with several policies scales in only if all policies would, and only as far as
        # the most cautious policy.
        for other in policies:
            low = vars(other).get("drdeploy_low_alarm")
            if other is call.policy or low is None:
                continue
            calling = [
                alarm
                for alarm in self._alarms.find_alarms_with_action(other.policy_arn)
                if alarm.name == low
            ]
            others = [
                value
                for alarm in calling
                for value in self._alarms.read_evaluated_values(alarm, call.now_s)
            ]
            if not others:
                return current
            wanted = max(wanted, _compute_capacity_of_policy(other, max(others), current))
        return min(wanted, current)

    def _find_step_scaling_capacity(self, call: _PolicyCall, values: Sequence[float]) -> int | None:
        """Return the capacity that a step scaling policy asks for, or None if no step applies."""
        rules = call.policy.step_scaling_policy_configuration
        threshold = float(call.alarm.threshold)
        kind = rules.get("MetricAggregationType") or "Average"
        metric = aggregate_metric(kind, values) if values else threshold
        current = call.variant.capacity
        wanted = compute_step_scaling_capacity(rules, current, metric, threshold)
        if wanted is None or wanted <= current:
            return wanted
        base = self._find_capacity_to_add_to(call, current)
        return max(current, compute_step_scaling_capacity(rules, base, metric, threshold) or 0)

    def _find_capacity_to_add_to(self, call: _PolicyCall, current: int) -> int:
        """Return the capacity to which a scaling policy adds instances.

        Normally, this is the present capacity. During the cooldown after the policy has scaled out,
        it is the capacity before the policy scaled out. If the present capacity were used during
        the cooldown, the policy would add the same instances a second time.
        """
        since_s = call.memory.scaled_out_s
        cooldown_s = _find_cooldown(call.policy, "ScaleOutCooldown")
        is_cooling = since_s is not None and call.now_s - since_s < cooldown_s
        return call.memory.scaled_out_from if is_cooling else current

    def _scale_if_allowed(self, call: _PolicyCall, wanted: int) -> str:
        """Set the capacity that a policy asks for, if bounds, cooldown and suspension allow it.

        Return the reason if the endpoint refuses the capacity, or if scaling is suspended. Return
        an empty text in all other cases, even if the bounds or the cooldown forbid the change.
        """
        target, memory, current = call.target, call.memory, call.variant.capacity
        low, high = target.min_capacity, target.max_capacity
        bounded = min(max(wanted, low), high)
        if wanted < current <= low or wanted > current >= high or bounded == current:
            self._record_unchanged_capacity(call, wanted)
            return ""
        is_out = bounded > current
        if _is_scaling_suspended(target, f"DynamicScaling{'Out' if is_out else 'In'}Suspended"):
            return "The scaling is suspended."
        since_s, cooldown_s = memory.scaled_in_s, _find_cooldown(call.policy, "ScaleInCooldown")
        if not is_out and since_s is not None and call.now_s - since_s < cooldown_s:
            return ""
        problem = self._set_capacity_and_record(
            target, call.variant, bounded, call.sentence_on_cause, call.now_s
        )
        if not problem and is_out:
            memory.scaled_out_s, memory.scaled_out_from = call.now_s, current
            memory.scaled_in_s = None  # scaling out ends the cooldown of scaling in
        elif not problem:
            memory.scaled_in_s = call.now_s
        return problem

    # -- policies and scheduled actions ----------------------------------------------------

    def _set_capacity_and_record(
        self, target: Any, variant: ScaledVariant, capacity: int, cause: str, now_s: float
    ) -> str:
        """Set the capacity, and record the activity.

        Return the reason if the endpoint refuses the capacity, otherwise an empty text.
        """
        activity = ScalingActivity(
            target.resource_id,
            target.scalable_dimension,
            f"Setting {variant.name_of_capacity_unit} to {capacity}.",
            cause,
            now_s,
            "InProgress",
            f"Successfully set {variant.name_of_capacity_unit} to {capacity}. Waiting for change "
            "to be fulfilled.",
            variant.has_capacity,
        )
        try:
            variant.set_capacity(capacity)
        except ApiError as err:
            unit = variant.name_of_capacity_unit
            problem = f"Failed to set {unit} to {capacity}. Reason: {err.message}"
            activity.finish("Failed", problem, now_s)
            self._activities.add(activity)
            return problem
        self._activities.add(activity)
        return ""

    def _record_unchanged_capacity(self, call: _PolicyCall, wanted: int) -> None:
        target, current = call.target, call.variant.capacity
        if wanted > current:
            reason = {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": target.max_capacity}
        elif wanted < current:
            reason = {"Code": "AlreadyAtMinCapacity", "MinCapacity": target.min_capacity}
        else:
            reason = {"Code": "AlreadyAtDesiredCapacity"}
        activity = ScalingActivity(
            target.resource_id,
            target.scalable_dimension,
            "Attempting to scale due to alarm triggered",
            call.sentence_on_cause,
            call.now_s,
            "Successful",
            not_scaled=(reason | {"CurrentCapacity": current},),
        )
        activity.finish("Successful", "Nothing was changed.", call.now_s)
        self._activities.add(activity)


def _belongs_to_target(kept: Any, target: Any) -> bool:
    return (kept.resource_id, kept.scalable_dimension) == (
        target.resource_id,
        target.scalable_dimension,
    )


def _is_scaling_suspended(target: Any, name: str) -> bool:
    return bool((target.suspended_state or {}).get(name))


def _find_cooldown(policy: Any, name: str) -> int:
    if policy.policy_type == "StepScaling":
        name = "Cooldown"
        rules = policy.step_scaling_policy_configuration
    else:
        rules = policy.target_tracking_scaling_policy_configuration
    return int(rules.get(name, COOLDOWN_S))


def _compute_capacity_of_policy(policy: Any, metric: float, current: int) -> int:
    target = policy.target_tracking_scaling_policy_configuration["TargetValue"]
    return compute_target_tracking_capacity(current, metric, float(target))

"""Carry out the scaling policies and scheduled actions that moto only stores.

This module replaces moto's operations, and calls the package ``local.autoscaling``, which changes
the capacity. A target tracking policy gets two CloudWatch alarms, as on AWS; with
``DisableScaleIn``, it gets one. The endpoint scales out when its metric has been above the target
for three periods. A period is ten seconds for high-resolution metrics, and a minute for all others.
The endpoint scales in when the metric has been below 90 % of the target for fifteen minutes.
"""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from drdeploy.files import Json, parse_json
from drdeploy.hosting.local.api import cloudwatch
from drdeploy.hosting.local.api.listing import cut_page_of_list
from drdeploy.hosting.local.api.metrics import make_component_dimensions, make_dimensions
from drdeploy.hosting.local.api_errors import ApiError, make_validation_error
from drdeploy.hosting.local.autoscaling.activities import ActivityLog
from drdeploy.hosting.local.autoscaling.adjustments import SCALE_IN_SHARE
from drdeploy.hosting.local.autoscaling.scaler import RegionScaler
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker.cloudwatch import METRICS_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.autoscaling.scaler import ScaledVariant


PERIOD_S = 60
HIGH_RESOLUTION_PERIOD_S = 10
PERIODS_OUT, PERIODS_IN = 3, 15
"""The endpoint scales out when its metric has been above the target for ``PERIODS_OUT`` periods. It
scales in when the metric has been below 90 % of the target for ``PERIODS_IN`` minutes (SageMaker
developer guide, "Auto scaling policy overview").
"""
PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum", PERIOD_S),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": (
        *("ConcurrentRequestsPerModel", "Maximum"),
        HIGH_RESOLUTION_PERIOD_S,
    ),
    "SageMakerVariantProvisionedConcurrencyUtilization": (
        *("ServerlessProvisionedConcurrencyUtilization", "Average"),
        PERIOD_S,
    ),
    "SageMakerInferenceComponentInvocationsPerCopy": ("InvocationsPerCopy", "Sum", PERIOD_S),
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": (
        *("ConcurrentRequestsPerCopy", "Maximum"),
        HIGH_RESOLUTION_PERIOD_S,
    ),
}
"""Metric, statistic and period of each predefined metric (developer guide, "Predefined metrics" and
"Automatically scale Provisioned Concurrency")."""
PAGE_ACTIVITIES = 50


class Autoscaler:
    """Carries out the policies and scheduled actions of all regions.

    Args:
        find_variant: A function that takes a region, a resource id and a scalable dimension, and
            returns the variant, or None if its endpoint does not exist.
        has_lost_resource: A function that takes a region and a resource id, and returns whether the
            resource was registered but no longer exists.
    """

    def __init__(
        self,
        find_variant: Callable[[str, str, str], ScaledVariant | None],
        has_lost_resource: Callable[[str, str], bool],
    ) -> None:
        self._find_variant = find_variant
        self._has_lost_resource = has_lost_resource
        self._scalers: dict[str, RegionScaler] = {}

    def scale_due_targets(self, now_s: float) -> None:
        """Carry out every policy and scheduled action that is due."""
        from moto.applicationautoscaling.models import applicationautoscaling_backends

        for region, backend in tuple(applicationautoscaling_backends[ACCOUNT].items()):
            if region not in self._scalers:
                self._scalers[region] = self._make_scaler(region, backend)
            self._scalers[region].scale_due_targets(now_s)

    def _make_scaler(self, region: str, backend: Any) -> RegionScaler:
        return RegionScaler(
            backend,
            cloudwatch.find_alarm_book(_find_cloudwatch_backend(region)),
            _find_or_make_activity_log(backend),
            partial(self._find_variant, region),
            has_lost_resource=partial(self._has_lost_resource, region),
            deregister=partial(_deregister_target, backend),
        )


def replace_operations_in_moto() -> None:
    """Replace the operations of moto that store a policy or an action without carrying it out."""
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

    responses: Any = ApplicationAutoScalingResponse
    _replace_put_operations_in_moto(responses)
    delete_policy, delete_action = (
        responses.delete_scaling_policy,
        responses.delete_scheduled_action,
    )

    def deregister_scalable_target(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        dimension = request["ScalableDimension"]
        target = backend.targets.get(dimension, {}).get(request["ResourceId"])
        if target is None:
            raise _make_not_found_error("scalable target", request)
        _deregister_target(backend, target)
        return "{}"

    def delete_scaling_policy(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        if _find_scaling_policy(backend, request) is None:
            raise _make_not_found_error("scaling policy", request, "PolicyName")
        return str(delete_policy(response))

    def delete_scheduled_action(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        if not _list_scheduled_actions(backend, request):
            raise _make_not_found_error("scheduled action", request, "ScheduledActionName")
        return str(delete_action(response))

    def describe_scaling_activities(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        found = [
            one.describe()
            for one in _find_or_make_activity_log(backend).list_activities_newest_first()
            if request.get("ResourceId") in {None, one.resource_id}
            and request.get("ScalableDimension") in {None, one.dimension}
            and (request.get("IncludeNotScaledActivities") or not one.not_scaled)
        ]
        page, token = cut_page_of_list(found, request, default_max=PAGE_ACTIVITIES)
        return json.dumps({"ScalingActivities": page} | ({"NextToken": token} if token else {}))

    responses.deregister_scalable_target = deregister_scalable_target
    responses.delete_scaling_policy = delete_scaling_policy
    responses.delete_scheduled_action = delete_scheduled_action
    responses.describe_scaling_activities = describe_scaling_activities


def _replace_put_operations_in_moto(responses: Any) -> None:
    put_policy, put_action = responses.put_scaling_policy, responses.put_scheduled_action

    def put_scaling_policy(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        before = _find_scaling_policy(backend, request)
        put_policy(response)
        policy = _find_scaling_policy(backend, request)
        if before is not None:
            # An update keeps the ARN, which alarms name.
            policy._guid, policy.policy_arn = before._guid, before.policy_arn  # noqa: SLF001
            policy.creation_time = before.creation_time
        try:
            policy.alarms = _make_alarms_of_policy(policy, response.region)
        except MonitoringError as err:
            _restore_earlier_policy(backend, before, policy)
            raise make_validation_error(err.message) from err
        if before is not None:
            before.delete_alarms(ACCOUNT, response.region)
        alarms = [{"AlarmName": one.name, "AlarmARN": one.alarm_arn} for one in policy.alarms]
        return json.dumps({"PolicyARN": policy.policy_arn, "Alarms": alarms})

    def put_scheduled_action(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        is_known = _list_scheduled_actions(backend, request)
        for needed in ("Schedule", "ScalableTargetAction"):
            if not is_known and not request.get(needed):
                raise make_validation_error(f"{needed} must be set for a new scheduled action.")
        return str(put_action(response))

    responses.put_scaling_policy = put_scaling_policy
    responses.put_scheduled_action = put_scheduled_action


def _find_cloudwatch_backend(region: str) -> Any:
    from moto.cloudwatch.models import cloudwatch_backends

    return cloudwatch_backends[ACCOUNT][region]


def _find_or_make_activity_log(backend: Any) -> ActivityLog:
    # setdefault is atomic: two threads get the same log.
    found: ActivityLog = vars(backend).setdefault("drdeploy_activities", ActivityLog())
    return found


def _find_scaling_policy(backend: Any, request: Json) -> Any:
    from moto.applicationautoscaling.models import FakeApplicationAutoscalingPolicy

    members = ("ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyName")
    key = FakeApplicationAutoscalingPolicy.formulate_key(*(request[one] for one in members))
    return backend.policies.get(key)


def _list_scheduled_actions(backend: Any, request: Json) -> list[Any]:
    """Return the scheduled action that a request names, or an empty list."""
    keys = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    found: list[Any] = backend.describe_scheduled_actions(
        [request["ScheduledActionName"]], *(request[key] for key in keys)
    )
    return found


def _make_not_found_error(what: str, request: Json, member: str = "") -> ApiError:
    """Return the error for a request that removes something that does not exist.

    By itself, moto answers with another code, or reports success.
    """
    name = f", {what.rpartition(' ')[2]} name: {request[member]}" if member else ""
    return ApiError(
        "ObjectNotFoundException",
        f"No {what} found for service namespace: {request['ServiceNamespace']}, resource ID: "
        f"{request['ResourceId']}, scalable dimension: {request['ScalableDimension']}{name}",
    )


def _restore_earlier_policy(backend: Any, before: Any, policy: Any) -> None:
    key = next(key for key, one in backend.policies.items() if one is policy)
    if before is None:
        del backend.policies[key]
    else:
        backend.policies[key] = before


def _deregister_target(backend: Any, target: Any) -> None:
    """Remove a scalable target, its policies and their alarms, and its scheduled actions.

    AWS does the same.
    """
    of_target = (target.resource_id, target.scalable_dimension)
    for key, policy in tuple(backend.policies.items()):
        if (policy.resource_id, policy.scalable_dimension) == of_target:
            policy.delete_alarms(ACCOUNT, backend.region_name)
            del backend.policies[key]
    backend.scheduled_actions = [
        one
        for one in backend.scheduled_actions
        if (one.resource_id, one.scalable_dimension) != of_target
    ]
    backend.targets.get(target.scalable_dimension, {}).pop(target.resource_id, None)


def _make_alarms_of_policy(policy: Any, region: str) -> list[Any]:
    """Make the alarms of a target tracking policy; return no alarms for a step scaling policy.

    Raises:
        MonitoringError: The metric of the policy cannot be evaluated.
    """
    if policy.policy_type != "TargetTrackingScaling":
        return []
    backend = _find_cloudwatch_backend(region)
    rules = policy.target_tracking_scaling_policy_configuration
    target = float(rules["TargetValue"])
    metric, period_s = _make_alarm_metric(policy, rules)
    prefix = f"TargetTracking-{policy.resource_id}-Alarm"
    alarms = [
        cloudwatch.put_alarm(
            backend,
            {
                **metric,
                **_make_alarm_name_and_action(policy, f"{prefix}High"),
                "ComparisonOperator": "GreaterThanThreshold",
                "Threshold": target,
                "EvaluationPeriods": PERIODS_OUT,
            },
        )
    ]
    if not rules.get("DisableScaleIn"):
        periods = PERIODS_IN * PERIOD_S // period_s
        low = {
            **metric,
            **_make_alarm_name_and_action(policy, f"{prefix}Low"),
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": target * SCALE_IN_SHARE,
            "EvaluationPeriods": periods,
        }
        alarms.append(cloudwatch.put_alarm(backend, low))
        policy.drdeploy_low_alarm = low["AlarmName"]
    return alarms


def _make_alarm_name_and_action(policy: Any, prefix: str) -> Json:
    action = f"{policy.policy_arn}:createdBy/{uuid.uuid4()}"
    return {
        "AlarmName": f"{prefix}-{uuid.uuid4()}",
        "AlarmActions": [action],
        "ActionsEnabled": True,
        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {action}.",
    }


def _make_alarm_metric(policy: Any, rules: Json) -> tuple[Json, int]:
    """Return the members of ``PutMetricAlarm`` that name the metric, and the metric's period."""
    predefined = rules.get("PredefinedMetricSpecification")
    if predefined:
        name, statistic, period_s = PREDEFINED[predefined["PredefinedMetricType"]]
        metric = {
            "Namespace": METRICS_NAMESPACE,
            "MetricName": name,
            "Statistic": statistic,
            "Period": period_s,
            "Dimensions": _make_dimensions_of_resource(policy.resource_id),
        }
        return metric, period_s
    custom = rules["CustomizedMetricSpecification"]
    if custom.get("Metrics"):
        return {"Metrics": [_add_period_to_query(query) for query in custom["Metrics"]]}, PERIOD_S
    return {**custom, "Period": PERIOD_S}, PERIOD_S


def _make_dimensions_of_resource(resource_id: str) -> list[dict[str, str]]:
    names = resource_id.split("/")
    if names[0] == "inference-component":
        return make_component_dimensions(names[1])
    return make_dimensions(names[1], names[3])


def _add_period_to_query(query: Json) -> Json:
    """Add the period to a ``TargetTrackingMetricDataQuery``, because an alarm needs one."""
    if "MetricStat" not in query:
        return {**query, "Period": PERIOD_S}
    return {**query, "MetricStat": {**query["MetricStat"], "Period": PERIOD_S}}

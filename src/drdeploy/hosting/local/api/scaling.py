"""Check requests to Application Auto Scaling before moto stores them.

moto stores requests that AWS refuses: a target whose endpoint does not exist, a policy without a
target, and a policy without its configuration. AWS looks up the endpoint and its variant when a
target is registered (API reference, ``RegisterScalableTarget`` and ``PutScalingPolicy``).
"""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from typing import TYPE_CHECKING, Any

from drdeploy.files import Json, parse_json
from drdeploy.hosting.local.api.listing import cut_page_of_list
from drdeploy.hosting.local.api.request_validation import (
    drop_null_members,
    load_service_model,
    refuse_invalid_request,
)
from drdeploy.hosting.local.api.served_operations import SERVED_OPERATIONS
from drdeploy.hosting.local.api_errors import (
    ApiError,
    make_not_served_error,
    make_validation_error,
)
from drdeploy.hosting.local.autoscaling.schedules import Schedule, ScheduleRefused
from drdeploy.hosting.local.autoscaling.variants import EndpointVariant
from drdeploy.hosting.local.inference_components.scaled_component import ScaledComponent
from drdeploy.hosting.local.request_constraints import (
    check_instance_count,
    may_run_without_instances,
)
from drdeploy.hosting.local.served_members import refuse_unserved_members
from drdeploy.hosting.sagemaker.scalable_dimensions import (
    COPIES,
    INSTANCES,
    PROVISIONED_CONCURRENCY,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.hosting.local.api.control_plane import ControlPlane


RESOURCE_ID = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
COMPONENT_ID = re.compile(r"inference-component/([^/]+)")
CONFIGURATION_OF_POLICY = {
    "StepScaling": "StepScalingPolicyConfiguration",
    "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
}
PREDEFINED_METRICS = {
    INSTANCES: {
        "SageMakerVariantInvocationsPerInstance",
        "SageMakerVariantConcurrentRequestsPerModelHighResolution",
    },
    PROVISIONED_CONCURRENCY: {"SageMakerVariantProvisionedConcurrencyUtilization"},
    COPIES: {
        "SageMakerInferenceComponentInvocationsPerCopy",
        "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
    },
}
"""The predefined metrics of SageMaker for each scalable dimension.

The developer guide lists them in "Automatic scaling of Amazon SageMaker AI models", "Automatically
scale Provisioned Concurrency" and "Scale an endpoint to zero instances".
"""
PAGE_ITEMS = 50
"""The default ``MaxResults`` of operations that list something (API reference,
``DescribeScalingPolicies``).
"""
CHECKED = frozenset({"RegisterScalableTarget", "PutScalingPolicy", "PutScheduledAction"})


def refuse_scaling_without_effect(
    operation: str,
    request: Json,
    control_plane: ControlPlane,
    find_bounds: Callable[[str, str], Json | None],
) -> None:
    """Refuse a request to Application Auto Scaling that can never have an effect.

    An example is a request that names an endpoint that does not exist.

    Args:
        operation: The name of the operation.
        request: The request.
        control_plane: The control plane of the region, which knows the endpoints.
        find_bounds: A function that takes a resource id and a scalable dimension, and returns the
            ``MinCapacity`` and the ``MaxCapacity`` of their scalable target; None if no target is
            registered for them.

    Raises:
        ApiError: The endpoint, the variant or the target does not exist; or the members of the
            request contradict each other.
    """
    if operation not in SERVED_OPERATIONS["application-autoscaling"]:
        return  # make_moto_refuse_unserved_operations refuses it later
    model = load_service_model("application-autoscaling").operation_model(operation)
    refuse_invalid_request(model, request)
    if operation not in CHECKED:
        return
    request = drop_null_members(request)
    if request["ServiceNamespace"] != "sagemaker":
        raise make_not_served_error(
            f"ServiceNamespace={request['ServiceNamespace']!r}, only the namespace sagemaker"
        )
    refuse_unserved_members(operation, request)
    resource, dimension = request["ResourceId"], request["ScalableDimension"]
    registered = find_bounds(resource, dimension)
    if operation == "RegisterScalableTarget":
        _check_variant_of_target(resource, dimension, control_plane)
        if registered is not None and request.get("Tags"):
            raise make_validation_error(
                "The scalable target that you tried to tag already exists. To update tags on an "
                "existing scalable target, use the TagResource API."
            )
        # A bound that the request does not set keeps its value.
        _check_capacity_bounds((registered or {}) | request, dimension, needs_both=True)
        _check_least_capacity(request, resource, control_plane)
        return
    if registered is None:
        raise ApiError(
            "ObjectNotFoundException",
            f"No scalable target registered for service namespace: sagemaker, resource ID: "
            f"{resource}, scalable dimension: {dimension}",
        )
    if operation == "PutScalingPolicy":
        _check_scaling_policy(request)
    else:
        bounds = request.get("ScalableTargetAction")
        if bounds is not None and not bounds:
            raise make_validation_error(
                "At least one of minimum capacity and maximum capacity should be provided"
            )
        bounds = bounds or {}
        _check_capacity_bounds(bounds, dimension, needs_both=False)
        _check_least_capacity(bounds, resource, control_plane)
        _check_scheduled_action(request)


def find_scaled_variant(
    control_plane: ControlPlane, resource: str, dimension: str
) -> EndpointVariant | ScaledComponent | None:
    """Return the variant or component that a scalable target names; None if it does not exist."""
    component = COMPONENT_ID.fullmatch(resource)
    if component is not None:
        named = control_plane.components.find_exact(component[1])
        return ScaledComponent(named) if named is not None and dimension == COPIES else None
    found = RESOURCE_ID.fullmatch(resource)
    endpoint = control_plane.endpoints.find_exact(found[1]) if found else None
    if found is None or endpoint is None:
        return None
    for variant in endpoint.list_variants_in_service():
        is_serverless = "ServerlessConfig" in variant.request
        if variant.name == found[2] and (dimension == PROVISIONED_CONCURRENCY) == is_serverless:
            return EndpointVariant(endpoint, variant)
    return None


def has_scaled_resource(control_plane: ControlPlane, resource: str) -> bool:
    """Return whether the endpoint or the component of a scalable target exists."""
    component, endpoint = COMPONENT_ID.fullmatch(resource), RESOURCE_ID.fullmatch(resource)
    if component is not None:
        return control_plane.components.find_exact(component[1]) is not None
    return endpoint is not None and control_plane.endpoints.find_exact(endpoint[1]) is not None


def _check_variant_of_target(resource: str, dimension: str, control_plane: ControlPlane) -> None:
    component = COMPONENT_ID.fullmatch(resource)
    if component is not None and dimension == COPIES:
        if control_plane.components.find_exact(component[1]) is None:
            raise make_validation_error(f"SageMaker inference component doesn't exist: {resource}")
        return
    found = RESOURCE_ID.fullmatch(resource)
    if found is None or dimension not in {INSTANCES, PROVISIONED_CONCURRENCY}:
        raise make_validation_error(
            "Unsupported service namespace, resource type or scalable dimension: ResourceId must "
            f"be endpoint/NAME/variant/NAME with the ScalableDimension {INSTANCES} or "
            f"{PROVISIONED_CONCURRENCY}, or inference-component/NAME with {COPIES}."
        )
    endpoint = control_plane.endpoints.find_exact(found[1])
    if endpoint is None:
        raise make_validation_error(f"SageMaker endpoint doesn't exist: {resource}")
    variants = {one["VariantName"]: one for one in endpoint.config.request["ProductionVariants"]}
    if found[2] not in variants:
        raise make_validation_error(f"SageMaker endpoint variant doesn't exist: {resource}")
    fitting = PROVISIONED_CONCURRENCY if "ServerlessConfig" in variants[found[2]] else INSTANCES
    if dimension != fitting:
        raise make_validation_error(f"The ScalableDimension of {resource} must be {fitting}.")
    if "ModelName" not in variants[found[2]]:
        raise make_not_served_error(
            f"{dimension} for {resource}, whose instances host inference components. Use "
            f"ManagedInstanceScaling for the instances, and {COPIES} for a component"
        )


def _check_capacity_bounds(bounds: Json, dimension: str, *, needs_both: bool) -> None:
    missing = [name for name in ("MinCapacity", "MaxCapacity") if name not in bounds]
    if missing and needs_both:
        raise make_validation_error(
            f"{' and '.join(missing)} must be set when a target is registered."
        )
    if not missing and bounds["MinCapacity"] > bounds["MaxCapacity"]:
        raise make_validation_error(
            f"MinCapacity ({bounds['MinCapacity']}) must not be larger than MaxCapacity "
            f"({bounds['MaxCapacity']})."
        )
    if (
        dimension != PROVISIONED_CONCURRENCY
    ):  # UpdateEndpointWeightsAndCapacities limits the concurrency
        for name in ("MinCapacity", "MaxCapacity"):
            check_instance_count(name, bounds.get(name) or 0)


def _check_least_capacity(bounds: Json, resource: str, control_plane: ControlPlane) -> None:
    """Refuse a capacity bound of 0 for an endpoint that needs at least one instance."""
    found = RESOURCE_ID.fullmatch(resource)
    endpoint = control_plane.endpoints.find_exact(found[1]) if found else None
    if endpoint is None or may_run_without_instances(endpoint.config.request):
        return
    for name in ("MinCapacity", "MaxCapacity"):
        if bounds.get(name) == 0:
            raise make_validation_error(
                f"{name} must be at least 1: only the variants of an asynchronous endpoint scale "
                "to 0 instances."
            )


def _check_scheduled_action(request: Json) -> None:
    # An update may change the time zone alone, and the zone must be valid then, too.
    text = request.get("Schedule", "rate(1 day)")
    try:
        schedule = Schedule.parse(text, request.get("Timezone"))
    except ScheduleRefused as err:
        raise make_validation_error(str(err)) from err
    if schedule.once_s is not None and schedule.once_s < time.time():
        raise make_validation_error(f"{text} is in the past.")


def _check_scaling_policy(request: Json) -> None:
    kind = request.get("PolicyType", "StepScaling")
    wanted = CONFIGURATION_OF_POLICY.get(kind)
    if wanted is None:
        raise make_not_served_error(f"PolicyType={kind!r}")
    for member in CONFIGURATION_OF_POLICY.values():
        if (member in request) != (member == wanted):
            must = "must be set" if member == wanted else "must not be set"
            raise make_validation_error(f"{member} {must} if PolicyType is {kind}.")
    rules = request[wanted]
    if kind == "StepScaling":
        _check_step_adjustments(rules)
        return
    predefined = rules.get("PredefinedMetricSpecification")
    custom = rules.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise make_validation_error(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must "
            "be set."
        )
    if rules["TargetValue"] <= 0:
        raise make_validation_error("TargetValue must be greater than 0.")
    if predefined:
        metric = predefined["PredefinedMetricType"]
        if metric not in PREDEFINED_METRICS[request["ScalableDimension"]]:
            raise make_validation_error(
                f"PredefinedMetricType {metric} does not apply to {request['ScalableDimension']}."
            )


def _check_step_adjustments(rules: Json) -> None:
    """Refuse steps whose intervals overlap, or leave a gap."""
    for member in ("AdjustmentType", "StepAdjustments"):
        if not rules.get(member):
            raise make_validation_error(f"{member} must be set if PolicyType is StepScaling.")
    if rules.get("MinAdjustmentMagnitude") and rules["AdjustmentType"] != "PercentChangeInCapacity":
        raise make_validation_error(
            "MinAdjustmentMagnitude applies only to the AdjustmentType PercentChangeInCapacity."
        )
    intervals = sorted(
        (
            float(step.get("MetricIntervalLowerBound", -math.inf)),
            float(step.get("MetricIntervalUpperBound", math.inf)),
        )
        for step in rules["StepAdjustments"]
    )
    if any(low >= high for low, high in intervals):
        raise make_validation_error(
            "MetricIntervalLowerBound must be less than MetricIntervalUpperBound."
        )
    if (-math.inf, math.inf) in intervals:
        raise make_validation_error(
            "A step must have MetricIntervalLowerBound or MetricIntervalUpperBound."
        )
    for (_, end), (start, _) in itertools.pairwise(intervals):
        if end != start:
            what = "overlap" if end > start else "have a gap between them"
            raise make_validation_error(f"The intervals of StepAdjustments must not {what}.")


def replace_operations_in_moto() -> None:
    """Replace those operations of moto that ignore members of a request.

    moto reads the tags of scalable targets, but does not store them. moto also ignores
    ``PolicyNames``, and compares only parts of resource ids. If moto splits a list into pages, a
    page does not begin where the previous page ended.
    """
    from moto.applicationautoscaling import responses
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

    register = ApplicationAutoScalingResponse.register_scalable_target

    def register_scalable_target(response: Any) -> str:
        answer = register(response)
        tags = response._get_param("Tags") or {}  # noqa: SLF001  moto's way to read a request
        _find_tags_of_target(response, parse_json(answer)["ScalableTargetARN"]).update(tags)
        return answer

    def list_tags_for_resource(response: Any) -> str:
        return json.dumps({"Tags": _find_tags_of_request(response)})

    def tag_resource(response: Any) -> str:
        _find_tags_of_request(response).update(response._get_param("Tags"))  # noqa: SLF001
        return "{}"

    def untag_resource(response: Any) -> str:
        tags = _find_tags_of_request(response)
        for key in response._get_param("TagKeys"):  # noqa: SLF001
            tags.pop(key, None)
        return "{}"

    def describe_scalable_targets(response: Any) -> str:
        backend, request = response.applicationautoscaling_backend, parse_json(response.body)
        found = backend.describe_scalable_targets(
            request["ServiceNamespace"],
            request.get("ResourceIds"),
            request.get("ScalableDimension"),
        )
        return _encode_page_as_json("ScalableTargets", map(responses._build_target, found), request)  # noqa: SLF001

    def describe_scaling_policies(response: Any) -> str:
        request = parse_json(response.body)
        kept = response.applicationautoscaling_backend.policies.values()
        names = request.get("PolicyNames")
        found = [
            one
            for one in kept
            if _belongs_to_scalable_target(one, request) and (not names or one.policy_name in names)
        ]
        return _encode_page_as_json("ScalingPolicies", map(responses._build_policy, found), request)  # noqa: SLF001

    def describe_scheduled_actions(response: Any) -> str:
        request = parse_json(response.body)
        kept = response.applicationautoscaling_backend.scheduled_actions
        names = request.get("ScheduledActionNames")
        found = [
            one
            for one in kept
            if _belongs_to_scalable_target(one, request)
            and (not names or one.scheduled_action_name in names)
        ]
        actions = map(responses._build_scheduled_action, found)  # noqa: SLF001
        return _encode_page_as_json("ScheduledActions", actions, request)

    for operation in (
        describe_scalable_targets,
        describe_scaling_policies,
        describe_scheduled_actions,
        register_scalable_target,
        list_tags_for_resource,
        tag_resource,
        untag_resource,
    ):
        setattr(ApplicationAutoScalingResponse, operation.__name__, operation)


def _belongs_to_scalable_target(kept: Any, request: Json) -> bool:
    return all(
        request.get(name) in {None, getattr(kept, attribute)}
        for name, attribute in (
            ("ServiceNamespace", "service_namespace"),
            ("ResourceId", "resource_id"),
            ("ScalableDimension", "scalable_dimension"),
        )
    )


def _encode_page_as_json(name: str, found: Iterable[Any], request: Json) -> str:
    page, token = cut_page_of_list(list(found), request, default_max=PAGE_ITEMS)
    return json.dumps({name: page} | ({"NextToken": token} if token else {}))


def _find_tags_of_request(response: Any) -> dict[str, str]:
    return _find_tags_of_target(response, response._get_param("ResourceARN"))  # noqa: SLF001


def _find_tags_of_target(response: Any, arn: str) -> dict[str, str]:
    """Return the dictionary in which the tags of one of moto's scalable targets are stored."""
    for targets in response.applicationautoscaling_backend.targets.values():
        for target in targets.values():
            if target.arn == arn:
                tags: dict[str, str] = vars(target).setdefault("drdeploy_tags", {})
                return tags
    raise ApiError("ResourceNotFoundException", f"The resource {arn} does not exist.")

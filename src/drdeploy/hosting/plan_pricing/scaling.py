"""Find the bounds of autoscaling: the smallest and the largest size of an endpoint's variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT, SCALING_TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.plan_pricing.document import PlanDocument, PlannedResource

SCHEDULED_ACTION = "aws_appautoscaling_scheduled_action"

DIGITS_MAX = 12


@dataclass(frozen=True)
class ScalingBounds:
    """The smallest and the largest count of instances or of provisioned containers."""

    lowest: int
    highest: int


def read_count(value: object) -> int | None:
    """Return a value that is a whole number of at least 0; None for any other value."""
    # For a number that may be null, the provider uses a string.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:DIGITS_MAX])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value >= 0 and value == value // 1 and value < float("inf") else None


def describe_unattached_scaling(plan: PlanDocument, scaling: PlannedResource) -> str:
    """Return why a scaling resource scales no endpoint of the plan; empty if it scales one."""
    endpoint = _find_scaled_endpoint(plan, scaling)
    if endpoint is not None:
        return ""
    if scaling.is_unknown("resource_id"):
        return "the endpoint to scale is known only after the plan is applied"
    named = scaling.values.get("resource_id")
    if not named:
        return "it names no endpoint"
    return f"it scales {named}, which is not an endpoint of the plan"


def find_scaling_bounds(
    plan: PlanDocument, endpoint: PlannedResource, variant: str, dimension: str
) -> ScalingBounds | str | None:
    """Return the bounds between which autoscaling keeps a variant; None without autoscaling.

    If the bounds are unknown, the function returns a text that says why. The bounds in scheduled
    actions are included, because a scheduled action temporarily replaces the usual bounds.
    """
    targets = list(_list_scaling_of_variant(plan, endpoint, variant, dimension))
    if not targets:
        return None
    lowest: list[int] = []
    highest: list[int] = []
    for one in targets:
        holder = one.values
        path: tuple[str | int, ...] = ()
        if one.type == SCHEDULED_ACTION:
            blocks = one.list_blocks("scalable_target_action")
            holder, path = (blocks[0] if blocks else {}), ("scalable_target_action", 0)
        for name, limits in (("min_capacity", lowest), ("max_capacity", highest)):
            count = read_count(holder.get(name))
            if count is not None:
                limits.append(count)
            elif one.is_unknown(*path, name):
                return f"{name} of {one.address} is known only after the plan is applied"
            elif one.type == SCALING_TARGET or holder.get(name) is not None:
                return f"{name} of {one.address} is not a whole number of 0 or more"
    if not lowest or not highest:
        return f"the scalable target of {targets[0].address} is not in the plan"
    return ScalingBounds(min(lowest), max(*highest, min(lowest)))


def _list_scaling_of_variant(
    plan: PlanDocument, endpoint: PlannedResource, variant: str, dimension: str
) -> Iterator[PlannedResource]:
    for one in _group_scaling_by_endpoint(plan).get(endpoint.address, []):
        if one.values.get("scalable_dimension") != dimension:
            continue
        if _split_resource_id(one)[1] in {variant, ""}:
            yield one


@lru_cache(maxsize=1)
def _group_scaling_by_endpoint(plan: PlanDocument) -> dict[str, list[PlannedResource]]:
    found: dict[str, list[PlannedResource]] = {}
    for one in plan.resources:
        is_scaling = one.type in {SCALING_TARGET, SCHEDULED_ACTION}
        endpoint = _find_scaled_endpoint(plan, one) if is_scaling else None
        if endpoint is not None:
            found.setdefault(endpoint.address, []).append(one)
    return found


def _find_scaled_endpoint(plan: PlanDocument, scaling: PlannedResource) -> PlannedResource | None:
    name, _ = _split_resource_id(scaling)
    if not name:
        return plan.find_referenced_resource(scaling, "resource_id", ENDPOINT)
    named = [
        one for one in plan.list_resources_named(ENDPOINT, name) if one.region == scaling.region
    ]
    return named[0] if len(named) == 1 else None


def _split_resource_id(scaling: PlannedResource) -> tuple[str, str]:
    """Return NAME and VARIANT of ``endpoint/NAME/variant/VARIANT``; empty if they are unknown."""
    match str(scaling.values.get("resource_id", "")).split("/"):
        case ["endpoint", name, "variant", variant]:
            return name, variant
        case _:
            return "", ""

"""Read from a Terraform plan what it creates, changes and deletes, and which endpoints remain.

Source: "JSON Output Format" of Terraform's documentation (format version 1.x).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from drdeploy.files import parse_json
from drdeploy.hosting.sagemaker import AsynchronousConfig, RealTimeConfig, ServerlessConfig
from drdeploy.hosting.sagemaker.terraform_types import (
    ENDPOINT,
    ENDPOINT_CONFIGURATION,
    SCALING_TARGET,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drdeploy.hosting.sagemaker import DeployableConfig

Action = Literal["create", "update", "delete", "replace"]
SCHEDULE = "aws_scheduler_schedule"
DELETES_ENDPOINT = ":aws-sdk:sagemaker:deleteEndpoint"
"""The end of the target ARN of a schedule that deletes an endpoint (see
``modules/opening-hours``).
"""


@dataclass(frozen=True)
class ResourceChange:
    """One resource that Terraform will create, change or delete.

    Attributes:
        address: The resource's name in Terraform, with modules and keys.
        type: The resource's type in Terraform, for example ``aws_sagemaker_endpoint``.
        action: What Terraform will do; ``replace`` deletes the resource and creates it again.
    """

    address: str
    type: str
    action: Action


@dataclass(frozen=True)
class PlannedChanges:
    """All changes of a Terraform plan.

    ``bool(changes)`` is False if the plan changes nothing.

    Attributes:
        changes: The changes in Terraform's order, without the resources that do not change.
        configurations: Every endpoint configuration that exists after the plan is applied, by the
            endpoint's key in the Terraform variables. In the environment ``single-endpoint``, the
            key is ``endpoint``.
        fewest_instances: For each endpoint that scales, the lowest number of instances (or the
            lowest provisioned concurrency) that scaling allows, by the endpoint's key.
        with_opening_hours: The keys of the endpoints that a schedule deletes at their closing time.
    """

    changes: tuple[ResourceChange, ...]
    configurations: Mapping[str, DeployableConfig]
    fewest_instances: Mapping[str, int] = field(default_factory=dict)
    with_opening_hours: frozenset[str] = frozenset()

    @classmethod
    def from_terraform_json(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON that ``terraform show -json`` prints for a plan."""
        changes = []
        for resource in document.get("resource_changes", ()):
            # A replacement is ["create", "delete"] or the reverse; `lifecycle` decides the order.
            actions = set(resource["change"]["actions"])
            if resource.get("mode") != "managed" or actions <= {"no-op", "read"}:
                continue
            action: Action = "replace" if {"create", "delete"} <= actions else next(iter(actions))
            changes.append(ResourceChange(resource["address"], resource["type"], action))
        root = document.get("planned_values", {}).get("root_module", {})
        configurations = {
            key: _parse_endpoint_configuration(values)
            for key, values in _find_planned_resource_values(root, ENDPOINT_CONFIGURATION)
        }
        fewest = {
            key: values.get("min_capacity") or 0
            for key, values in _find_planned_resource_values(root, SCALING_TARGET)
        }
        closing = set(_find_endpoints_that_close(root))
        closed = frozenset(
            key
            for key, values in _find_planned_resource_values(root, ENDPOINT)
            if values["name"] in closing
        )
        return cls(tuple(changes), configurations, fewest, closed)

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def summary(self) -> str:
        """The number of changes by action, for example ``26 to create, 1 to replace``."""
        counts = Counter(change.action for change in self.changes)
        order: tuple[Action, ...] = ("create", "update", "replace", "delete")
        parts = [f"{counts[action]} to {action}" for action in order if counts[action]]
        return ", ".join(parts) or "nothing to change"


def _find_planned_resource_values(
    module: Mapping[str, Any], resource_type: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the planned values of all resources of a type, with the keys of their endpoints."""
    for resource in module.get("resources", ()):
        if resource.get("type") == resource_type:
            # ``module.deployment.module.serverless_endpoint["KEY"].…``
            key = re.search(r'\["([^"]+)"\]', resource["address"])
            yield key[1] if key else resource["address"], resource["values"]
    for child in module.get("child_modules", ()):
        yield from _find_planned_resource_values(child, resource_type)


def _find_endpoints_that_close(root: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the endpoints that a schedule deletes at their closing time."""
    for _, values in _find_planned_resource_values(root, SCHEDULE):
        for target in values["target"]:
            if str(target.get("arn")).endswith(DELETES_ENDPOINT):
                yield parse_json(target["input"])["EndpointName"]


def _parse_endpoint_configuration(values: Mapping[str, Any]) -> DeployableConfig:
    # Blocks are lists in the JSON, even those that occur at most once.
    variant = values["production_variants"][0]
    serverless = (variant.get("serverless_config") or [None])[0]
    if serverless is None:
        is_asynchronous = bool(values.get("async_inference_config"))
        kind: type[AsynchronousConfig | RealTimeConfig] = (
            AsynchronousConfig if is_asynchronous else RealTimeConfig
        )
        return kind(
            instance_type=variant["instance_type"],
            initial_instance_count=variant.get("initial_instance_count") or 1,
        )
    return ServerlessConfig(
        memory_mb=serverless["memory_size_in_mb"],
        max_concurrency=serverless["max_concurrency"],
        provisioned_concurrency=serverless.get("provisioned_concurrency") or None,
    )

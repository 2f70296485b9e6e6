"""Terraform's plan as data: what it creates, changes and deletes, and the endpoints afterwards.

Source: "JSON Output Format" of Terraform's documentation (format version 1.x).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Action = Literal["create", "update", "delete", "replace"]
ENDPOINT_CONFIGURATION = "aws_sagemaker_endpoint_configuration"


@dataclass(frozen=True)
class ResourceChange:
    """One resource that Terraform will create, change or delete.

    Attributes:
        address: Terraform's name of it, with modules and keys.
        type: For example ``aws_sagemaker_endpoint``.
        action: What will be done; ``replace`` creates a new one and deletes the old one.
    """

    address: str
    type: str
    action: Action


@dataclass(frozen=True)
class PlannedChanges:
    """All changes of a plan; false where there are none.

    Attributes:
        changes: In Terraform's order, without what stays as it is.
        configurations: Every endpoint configuration that there will be afterwards, by the
            endpoint's key in the variables; a single endpoint's key is ``endpoint``.
    """

    changes: tuple[ResourceChange, ...]
    configurations: Mapping[str, ServerlessConfig | RealTimeConfig]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Read the JSON that ``terraform show -json`` prints for a plan."""
        changes = []
        for resource in document.get("resource_changes", ()):
            # ["create", "delete"] or the reverse, by what lifecycle says, is a replacement.
            actions = set(resource["change"]["actions"])
            if resource.get("mode") != "managed" or actions <= {"no-op", "read"}:
                continue
            action: Action = "replace" if {"create", "delete"} <= actions else next(iter(actions))
            changes.append(ResourceChange(resource["address"], resource["type"], action))
        root = document.get("planned_values", {}).get("root_module", {})
        return cls(tuple(changes), dict(_endpoint_configurations(root)))

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def summary(self) -> str:
        """The counts in words, for example ``26 to create, 1 to replace``."""
        counts = Counter(change.action for change in self.changes)
        order: tuple[Action, ...] = ("create", "update", "replace", "delete")
        parts = [f"{counts[action]} to {action}" for action in order if counts[action]]
        return ", ".join(parts) or "nothing to change"


def _endpoint_configurations(
    module: Mapping[str, Any],
) -> Iterator[tuple[str, ServerlessConfig | RealTimeConfig]]:
    for resource in module.get("resources", ()):
        if resource.get("type") == ENDPOINT_CONFIGURATION:
            # ``module.deployment.module.serverless_endpoint["KEY"].…``
            key = re.search(r'\["([^"]+)"\]', resource["address"])
            yield key[1] if key else resource["address"], _configuration(resource["values"])
    for child in module.get("child_modules", ()):
        yield from _endpoint_configurations(child)


def _configuration(values: Mapping[str, Any]) -> ServerlessConfig | RealTimeConfig:
    # Blocks are lists in the JSON, also those that stand at most once.
    variant = values["production_variants"][0]
    serverless = (variant.get("serverless_config") or [None])[0]
    if serverless is None:
        return RealTimeConfig(
            instance_type=variant["instance_type"],
            initial_instance_count=variant.get("initial_instance_count") or 1,
        )
    return ServerlessConfig(
        memory_mb=serverless["memory_size_in_mb"],
        max_concurrency=serverless["max_concurrency"],
        provisioned_concurrency=serverless.get("provisioned_concurrency") or None,
    )

"""Terraform's state, read without Terraform: what there is, by kind and by name.

Source: state format version 4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = {
    "aws_s3_bucket": "bucket",
    "aws_cloudwatch_dashboard": "dashboard_name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
}
"""Attribute that carries the name, where it is not ``name``."""

NAMED_IN_MESSAGES = frozenset({
    *("aws_sagemaker_endpoint", "aws_sagemaker_endpoint_configuration", "aws_sagemaker_model"),
    *("aws_s3_bucket", "aws_ecr_repository", "aws_iam_role", "aws_cloudwatch_log_group"),
    *("aws_cloudwatch_dashboard", "aws_cloudwatch_metric_alarm", "aws_sns_topic"),
    *("aws_appautoscaling_target", "aws_budgets_budget"),
})  # fmt: skip
"""Kinds with a name of their own; the others are settings of one of these."""


@dataclass(frozen=True)
class Resource:
    """One resource that Terraform created.

    Attributes:
        address: ``module.registry.aws_ecr_repository.this["drdeploy"]``.
        type: ``aws_ecr_repository``.
        name: Its own, in AWS.
    """

    address: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type.removeprefix('aws_')} {self.name}"


def resources_of(state: Path) -> tuple[Resource, ...]:
    """Everything that a state file tells of; nothing where there is none."""
    try:
        document = json.loads(state.read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(_resources(document))


def _resources(document: dict[str, Any]) -> Iterator[Resource]:
    for resource in document.get("resources", ()):
        if resource.get("mode") != "managed":
            continue
        kind = resource["type"]
        parts = (resource.get("module"), kind, resource["name"])
        place = ".".join(part for part in parts if part)
        for instance in resource.get("instances", ()):
            key = instance.get("index_key")
            address = place if key is None else f"{place}[{json.dumps(key)}]"
            attributes = instance.get("attributes") or {}
            name = attributes.get(NAMES.get(kind, "name")) or attributes.get("id") or "unnamed"
            yield Resource(address, kind, str(name))

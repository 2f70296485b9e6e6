"""Read from Terraform's state what exists, by kind and name, without running Terraform.

Messages after a failure need it at once, also where Terraform itself is what failed.
The format is that of Terraform's state file, version 4.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME_ATTRIBUTES = {
    "aws_s3_bucket": "bucket",
    "aws_cloudwatch_dashboard": "dashboard_name",
    "aws_cloudwatch_metric_alarm": "alarm_name",
}
"""The attribute that carries a resource's name, where that is not ``name``."""

NAMED_IN_MESSAGES = frozenset({
    *("aws_sagemaker_endpoint", "aws_sagemaker_endpoint_configuration", "aws_sagemaker_model"),
    *("aws_s3_bucket", "aws_ecr_repository", "aws_iam_role", "aws_cloudwatch_log_group"),
    *("aws_cloudwatch_dashboard", "aws_cloudwatch_metric_alarm", "aws_sns_topic"),
    *("aws_appautoscaling_target", "aws_budgets_budget"),
})  # fmt: skip
"""Types of what a user would look for in AWS; all others are settings of one of these."""


@dataclass(frozen=True)
class Resource:
    """One resource that Terraform created.

    Attributes:
        address: Terraform's name, for example ``module.m.aws_ecr_repository.this["drdeploy"]``.
        type: For example ``aws_ecr_repository``.
        name: Its name in AWS.
    """

    address: str
    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type.removeprefix('aws_')} {self.name}"


def resources_of(state: Path) -> tuple[Resource, ...]:
    """Return every resource in a state file; none where the file is missing or unreadable."""
    try:
        document = json.loads(state.read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    resources = []
    for resource in document.get("resources", ()):
        if resource.get("mode") != "managed":
            continue  # a data source: Terraform read it and created nothing
        kind = resource["type"]
        parts = (resource.get("module"), kind, resource["name"])
        base = ".".join(part for part in parts if part)
        for instance in resource.get("instances", ()):
            key = instance.get("index_key")
            address = base if key is None else f"{base}[{json.dumps(key)}]"
            attributes = instance.get("attributes") or {}
            name = attributes.get(NAME_ATTRIBUTES.get(kind, "name")) or attributes.get("id")
            resources.append(Resource(address, kind, str(name or "unnamed")))
    return tuple(resources)

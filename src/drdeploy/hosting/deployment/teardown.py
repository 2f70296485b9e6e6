"""Delete a deployment, and verify by looking that nothing of it is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError, LeftBehind
from drdeploy.hosting.sagemaker import translated_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.state import Resource
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.workspace import Workspace


@dataclass(frozen=True)
class TeardownReport:
    """What a deletion did.

    Attributes:
        deleted: What there had been.
        verified: One sentence for each kind that was listed afterwards.
        unverified: Kinds that could not be listed, and why.
    """

    deleted: tuple[Resource, ...]
    verified: tuple[str, ...]
    unverified: tuple[str, ...]


def sweep(
    account: Account, workspace: Workspace, terraform: Terraform, person: Approver
) -> TeardownReport:
    """Delete everything that the state tells of, then list what there is.

    Nobody is asked: who calls this has been told to delete.

    Raises:
        TerraformFailed: Something cannot be deleted.
        LeftBehind: It is still listed; the message names it.
    """
    before = workspace.resources()
    changes = terraform.plan(destroy=True)
    if changes:
        person.note(f"deleting {len(changes.changes)} resources")
        terraform.apply()
    swept = verify(account, before)
    workspace.forget()
    return swept


def verify(account: Account, resources: Iterable[Resource]) -> TeardownReport:
    """Look for each of these that costs money or may be in the way.

    Raises:
        LeftBehind: Something of it is still there.
    """
    resources = tuple(resources)
    by_type: dict[str, list[str]] = defaultdict(list)
    for resource in resources:
        by_type[resource.type].append(resource.name)
    verified, unverified, left = [], [], []
    for kind, (plural, find) in FINDERS.items():
        if kind not in by_type:
            continue
        try:
            with translated_errors(f"look for the {plural}", account.endpoint_url or "AWS"):
                remaining = sorted(find(account, by_type[kind]))
        except EndpointError as err:
            unverified.append(f"{plural}: {err.what}")
            continue
        left += [f"{kind.removeprefix('aws_')} {name}" for name in remaining]
        verified.append(f"{plural}: {len(by_type[kind])} deleted, {len(remaining)} still there")
    if left:
        raise LeftBehind(
            f"Still there after the deletion: {', '.join(left)}",
            where=account.endpoint_url or "AWS",
            remedy="Delete by hand what remains: it may cost money",
        )
    return TeardownReport(resources, tuple(verified), tuple(unverified))


Finder = Callable[["Account", "Iterable[str]"], "set[str]"]
"""Which of these names are still there."""


def _listed(service: str, operation: str, member: str, name: str, **request: str) -> Finder:
    """By listing all that there is of the kind."""

    def find(account: Account, names: Iterable[str]) -> set[str]:
        pages = account.client(service).get_paginator(operation).paginate(**request)
        return {str(one[name]) for page in pages for one in page[member]} & set(names)

    return find


def _asked(service: str, operation: str, member: str, *absent: str, many: bool = False) -> Finder:
    """By asking for each name: listing them all would need a right to all of the account."""

    def is_there(account: Account, name: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            getattr(account.client(service), operation)(**{member: [name] if many else name})
        except ClientError as err:
            if err.response.get("Error", {}).get("Code") in absent:
                return False
            raise
        return True

    def find(account: Account, names: Iterable[str]) -> set[str]:
        return {name for name in names if is_there(account, name)}

    return find


FINDERS: Mapping[str, tuple[str, Finder]] = {
    "aws_sagemaker_endpoint": (
        "endpoints",
        _listed("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ),
    "aws_sagemaker_endpoint_configuration": (
        "endpoint configurations",
        _listed("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    ),
    "aws_sagemaker_model": (
        "models",
        _listed("sagemaker", "list_models", "Models", "ModelName"),
    ),
    "aws_cloudwatch_log_group": (
        "log groups",
        _listed("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ),
    "aws_cloudwatch_metric_alarm": (
        "alarms",
        _listed("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ),
    "aws_cloudwatch_dashboard": (
        "dashboards",
        _asked(
            "cloudwatch",
            "get_dashboard",
            "DashboardName",
            *("ResourceNotFound", "DashboardNotFoundError"),
        ),
    ),
    "aws_ecr_repository": (
        "image repositories",
        _asked(
            "ecr",
            "describe_repositories",
            "repositoryNames",
            "RepositoryNotFoundException",
            many=True,
        ),
    ),
    "aws_s3_bucket": ("buckets", _asked("s3", "head_bucket", "Bucket", "404", "NoSuchBucket")),
    "aws_iam_role": ("roles", _asked("iam", "get_role", "RoleName", "NoSuchEntity")),
}
"""Kinds of resources, and how it is found out which of them are still there."""

"""Delete a deployment, then list what AWS holds and verify that nothing of it is left.

Terraform's word is not enough where something left behind costs money: its state may be
incomplete, and a deletion may have been reported that did not happen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError, LeftBehind
from drdeploy.hosting.deployment.account import answer_or_none
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
    """What was deleted, and what was found when AWS was asked afterwards.

    Attributes:
        deleted: Every resource that the state held before.
        verified: One sentence for each kind of resource that was looked for.
        unverified: One sentence for each kind that could not be looked for, with the reason.
    """

    deleted: tuple[Resource, ...]
    verified: tuple[str, ...]
    unverified: tuple[str, ...]


def tear_down(
    account: Account, workspace: Workspace, terraform: Terraform, approver: Approver
) -> TeardownReport:
    """Delete everything that the state holds, verify it, and delete the workspace.

    No approval is asked for: the user has asked for the deletion itself.

    Raises:
        TerraformFailed: Something cannot be deleted.  The workspace stays, for another try.
        LeftBehind: AWS still lists something afterwards; the message names it.
    """
    before = workspace.resources()
    changes = terraform.plan(destroy=True)
    if changes:
        approver.note(f"deleting {len(changes.changes)} resources")
        terraform.apply()
    report = verify_deleted(account, before)
    workspace.delete()
    return report


def verify_deleted(account: Account, resources: Iterable[Resource]) -> TeardownReport:
    """Look in AWS for each of these resources whose kind is one of :data:`FINDERS`.

    Raises:
        LeftBehind: At least one still exists.
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
            # Not being allowed to list says nothing about what exists.
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
"""Return those of the given names that still exist."""


def _by_listing(service: str, operation: str, member: str, name: str, **request: str) -> Finder:
    """Make a finder that lists everything of a kind and picks the names."""

    def find(account: Account, names: Iterable[str]) -> set[str]:
        pages = account.client(service).get_paginator(operation).paginate(**request)
        return {str(one[name]) for page in pages for one in page[member]} & set(names)

    return find


def _by_asking(
    service: str, operation: str, member: str, *absent: str, many: bool = False
) -> Finder:
    """Make a finder that asks for each name, or for a list of one where the API takes ``many``.

    Listing buckets or roles needs a permission for the whole account, which a deployer lacks.
    """

    def find(account: Account, names: Iterable[str]) -> set[str]:
        describe = getattr(account.client(service), operation)
        asked = {name: partial(describe, **{member: [name] if many else name}) for name in names}
        return {name for name, ask in asked.items() if answer_or_none(ask, *absent) is not None}

    return find


FINDERS: Mapping[str, tuple[str, Finder]] = {
    "aws_sagemaker_endpoint": (
        "endpoints",
        _by_listing("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ),
    "aws_sagemaker_endpoint_configuration": (
        "endpoint configurations",
        _by_listing("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    ),
    "aws_sagemaker_model": (
        "models",
        _by_listing("sagemaker", "list_models", "Models", "ModelName"),
    ),
    "aws_cloudwatch_log_group": (
        "log groups",
        _by_listing("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ),
    "aws_cloudwatch_metric_alarm": (
        "alarms",
        _by_listing("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ),
    "aws_cloudwatch_dashboard": (
        "dashboards",
        _by_asking(
            "cloudwatch",
            "get_dashboard",
            "DashboardName",
            *("ResourceNotFound", "DashboardNotFoundError"),
        ),
    ),
    "aws_ecr_repository": (
        "image repositories",
        _by_asking(
            "ecr",
            "describe_repositories",
            "repositoryNames",
            "RepositoryNotFoundException",
            many=True,
        ),
    ),
    "aws_s3_bucket": ("buckets", _by_asking("s3", "head_bucket", "Bucket", "404", "NoSuchBucket")),
    "aws_iam_role": ("roles", _by_asking("iam", "get_role", "RoleName", "NoSuchEntity")),
}
"""By type of resource: what users call it, and how to find out which of some names exist."""

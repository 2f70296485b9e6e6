"""Delete a deployment, and verify by listing that nothing of it is left."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EndpointError, LeftBehind
from drdeploy.sagemaker.refusals import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from drdeploy.deployment.account import Account
    from drdeploy.deployment.provision import Person
    from drdeploy.deployment.state import Resource
    from drdeploy.deployment.terraform import Terraform
    from drdeploy.deployment.workspace import Workspace


@dataclass(frozen=True)
class Swept:
    """What a deletion did.

    Attributes:
        deleted: What there had been.
        verified: One sentence for each kind that was listed afterwards.
        unverified: Kinds that could not be listed, and why.
    """

    deleted: tuple[Resource, ...]
    verified: tuple[str, ...]
    unverified: tuple[str, ...]


def sweep(account: Account, workspace: Workspace, terraform: Terraform, person: Person) -> Swept:
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


def verify(account: Account, resources: Iterable[Resource]) -> Swept:
    """List each kind that costs money or may be in the way, and look for these.

    Raises:
        LeftBehind: Something of it is still there.
    """
    resources = tuple(resources)
    by_type: dict[str, list[str]] = defaultdict(list)
    for resource in resources:
        by_type[resource.type].append(resource.name)
    verified, unverified, left = [], [], []
    for kind, (plural, listing) in LISTINGS.items():
        if kind not in by_type:
            continue
        try:
            with explained(f"list the {plural}", account.endpoint_url or "AWS"):
                there = set(listing(account))
        except EndpointError as err:
            unverified.append(f"{plural}: {err.what}")
            continue
        remaining = sorted(there & set(by_type[kind]))
        left += [f"{kind.removeprefix('aws_')} {name}" for name in remaining]
        verified.append(f"{plural}: {len(by_type[kind])} deleted, {len(remaining)} still listed")
    if left:
        raise LeftBehind(
            f"Still there after the deletion: {', '.join(left)}",
            where=account.endpoint_url or "AWS",
            remedy="Delete by hand what remains: it may cost money",
        )
    return Swept(resources, tuple(verified), tuple(unverified))


def _paged(service: str, operation: str, member: str, name: str) -> Callable[[Account], Any]:
    def listing(account: Account) -> Iterator[str]:
        for page in account.client(service).get_paginator(operation).paginate():
            yield from (str(one[name]) for one in page[member])

    return listing


def _buckets(account: Account) -> Iterator[str]:
    yield from (one["Name"] for one in account.client("s3").list_buckets()["Buckets"])


LISTINGS: Mapping[str, tuple[str, Callable[[Account], Iterable[str]]]] = {
    "aws_sagemaker_endpoint": (
        "endpoints",
        _paged("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ),
    "aws_sagemaker_endpoint_configuration": (
        "endpoint configurations",
        _paged("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    ),
    "aws_sagemaker_model": (
        "models",
        _paged("sagemaker", "list_models", "Models", "ModelName"),
    ),
    "aws_ecr_repository": (
        "image repositories",
        _paged("ecr", "describe_repositories", "repositories", "repositoryName"),
    ),
    "aws_s3_bucket": ("buckets", _buckets),
    "aws_cloudwatch_log_group": (
        "log groups",
        _paged("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ),
    "aws_cloudwatch_metric_alarm": (
        "alarms",
        _paged("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ),
    "aws_cloudwatch_dashboard": (
        "dashboards",
        _paged("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ),
    "aws_iam_role": ("roles", _paged("iam", "list_roles", "Roles", "RoleName")),
}
"""Kinds of resources, and who lists them."""

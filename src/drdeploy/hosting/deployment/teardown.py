"""Delete a deployment, and verify in AWS that none of its resources is left.

Terraform's own report is not enough. Terraform's state may be incomplete, and Terraform may report
a deletion that did not happen. A forgotten resource costs money.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import EndpointError, LeftBehind, format_count
from drdeploy.hosting.deployment.account import (
    call_aws_or_return_none_if_absent,
    is_local_service_running,
)
from drdeploy.hosting.deployment.orphans import delete_orphaned_resources
from drdeploy.hosting.deployment.storage import DeploymentStorage, empty_buckets_and_repositories
from drdeploy.hosting.sagemaker import translate_aws_errors
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT, ENDPOINT_CONFIGURATION, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.workspace import Resource, TerraformWorkspace


@dataclass(frozen=True)
class TeardownReport:
    """The resources that were deleted, and the kinds of resources that were looked for afterwards.

    Attributes:
        deleted: Every resource that Terraform's state held before the deletion.
        verified: One sentence for each kind of resource that was looked for in AWS.
        unverified: One sentence for each kind of resource that could not be looked for, with the
            reason.
    """

    deleted: tuple[Resource, ...]
    verified: tuple[str, ...]
    unverified: tuple[str, ...]


HOSTED = "module.deployment.module.model"
"""The address of the models in Terraform. When Terraform deletes the models, it deletes the
endpoints first, because they depend on the models.
"""


def tear_down_deployment(
    account: AwsAccount,
    workspace: TerraformWorkspace,
    terraform: Terraform,
    approver: Approver,
    *,
    others: bool = False,
) -> TeardownReport:
    """Delete all resources in Terraform's state, verify the deletion, and delete the workspace.

    The user has asked for the deletion, so no approval is needed.

    Args:
        account: The account that holds the deployment.
        workspace: The folder of the deployment.
        terraform: Terraform, initialised in the workspace.
        approver: Shows the progress.
        others: Whether to also delete objects in the bucket that drdeploy did not upload, such as
            captured photographs.

    Raises:
        TerraformFailed: A resource cannot be deleted.  The workspace stays for another try.
        DeploymentError: An archive, another object or an image was not deleted.
        EndpointError: AWS refuses to list or to delete what the bucket and the repository hold.
        LeftBehind: AWS still lists a resource after the deletion. Or the bucket holds objects that
            drdeploy did not upload, and ``others`` is false. The message names the resources or
            objects.
    """
    delete_orphaned_resources(account, workspace, terraform, approver)
    before = workspace.read_resources()
    # The endpoints go first, because they cost money and may be writing captured photographs.
    if any(one.type == MODEL for one in before):
        _destroy_terraform_targets(terraform, approver, HOSTED)
    stored = DeploymentStorage.count_stored_objects_and_images(account, before)
    if stored.others and not others:
        raise LeftBehind(
            "No endpoint is left. The bucket is kept, because it holds objects that drdeploy did "
            f"not upload: {stored.other_objects_description}",
            where=account.endpoint_url or "AWS",
            remedy="Copy the objects that you need, then delete again with --delete-captured",
        )
    if stored.contents_description:
        approver.show_progress(f"deleting {stored.contents_description}")
        empty_buckets_and_repositories(account, stored, others=others)
    _destroy_terraform_targets(terraform, approver)
    report = verify_resources_are_deleted(account, before)
    workspace.delete_folder()
    return report


def delete_workspace_folder_if_service_ended(
    workspace: TerraformWorkspace, approver: Approver
) -> bool:
    """Delete the folder of a deployment whose local service has ended.

    The deployment's resources existed only in the local service, so they are gone too. The user is
    not asked, because nothing is left that could be deleted by mistake.

    Returns:
        Whether the folder was deleted.

    Raises:
        DeploymentError: ``deployment.json`` is missing or damaged.
    """
    endpoint_url = workspace.read_record().endpoint_url
    if endpoint_url is None or is_local_service_running(endpoint_url):
        return False
    approver.show_progress(
        f"the local service at {endpoint_url} has ended, and its endpoints with it"
    )
    workspace.delete_folder()
    return True


def _destroy_terraform_targets(terraform: Terraform, approver: Approver, *targets: str) -> None:
    changes = terraform.make_plan(destroy=True, targets=targets)
    if changes:
        approver.show_progress(f"deleting {format_count(len(changes.changes), 'resource')}")
        terraform.apply_last_plan()


def verify_resources_are_deleted(
    account: AwsAccount, resources: Iterable[Resource]
) -> TeardownReport:
    """Check that AWS no longer has any of the given resources.

    A resource is checked only if its type is in :data:`FINDERS`.

    Raises:
        LeftBehind: At least one of the resources still exists.
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
            with translate_aws_errors(f"look for the {plural}", account.endpoint_url or "AWS"):
                remaining = sorted(find(account, by_type[kind]))
        except EndpointError as err:
            # Without the permission to list resources, it is not known what exists.
            unverified.append(f"{plural}: {err.what}")
            continue
        left += [f"{kind.removeprefix('aws_')} {name}" for name in remaining]
        verified.append(f"{plural}: {len(by_type[kind])} deleted, {len(remaining)} still there")
    if left:
        raise LeftBehind(
            f"Resources still exist after the deletion: {', '.join(left)}",
            where=account.endpoint_url or "AWS",
            remedy="Delete these resources by hand, because they may cost money",
        )
    return TeardownReport(resources, tuple(verified), tuple(unverified))


Finder = Callable[["AwsAccount", "Iterable[str]"], "set[str]"]
"""A function that takes names of resources, and returns the names of those that exist."""


def _make_existence_check_by_listing(
    service: str, operation: str, member: str, name: str, **request: str
) -> Finder:
    """Return a function that finds which of the given names exist, by listing all resources."""

    def find_existing_names(account: AwsAccount, names: Iterable[str]) -> set[str]:
        pages = account.boto3_client(service).get_paginator(operation).paginate(**request)
        return {str(one[name]) for page in pages for one in page[member]} & set(names)

    return find_existing_names


def _make_existence_check_by_name(
    service: str, operation: str, member: str, *absent: str, many: bool = False
) -> Finder:
    """Return a function that asks AWS for each given name, and returns the names that exist.

    For example, buckets and roles are looked up by name. Listing all buckets or all roles would
    need a permission for the whole account, and the user who deploys may lack this permission. If
    ``many`` is true, the AWS operation expects a list of names. The function then passes a list
    with one name.
    """

    def find_existing_names(account: AwsAccount, names: Iterable[str]) -> set[str]:
        describe = getattr(account.boto3_client(service), operation)
        asked = {name: partial(describe, **{member: [name] if many else name}) for name in names}
        return {
            name
            for name, ask in asked.items()
            if call_aws_or_return_none_if_absent(ask, *absent) is not None
        }

    return find_existing_names


FINDERS: Mapping[str, tuple[str, Finder]] = {
    ENDPOINT: (
        "endpoints",
        _make_existence_check_by_listing(
            "sagemaker", "list_endpoints", "Endpoints", "EndpointName"
        ),
    ),
    ENDPOINT_CONFIGURATION: (
        "endpoint configurations",
        _make_existence_check_by_listing(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"
        ),
    ),
    MODEL: (
        "models",
        _make_existence_check_by_listing("sagemaker", "list_models", "Models", "ModelName"),
    ),
    "aws_cloudwatch_log_group": (
        "log groups",
        _make_existence_check_by_listing(
            "logs", "describe_log_groups", "logGroups", "logGroupName"
        ),
    ),
    "aws_cloudwatch_metric_alarm": (
        "alarms",
        _make_existence_check_by_listing(
            "cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"
        ),
    ),
    "aws_cloudwatch_dashboard": (
        "dashboards",
        _make_existence_check_by_name(
            "cloudwatch",
            "get_dashboard",
            "DashboardName",
            *("ResourceNotFound", "DashboardNotFoundError"),
        ),
    ),
    "aws_ecr_repository": (
        "image repositories",
        _make_existence_check_by_name(
            "ecr",
            "describe_repositories",
            "repositoryNames",
            "RepositoryNotFoundException",
            many=True,
        ),
    ),
    "aws_s3_bucket": (
        "buckets",
        _make_existence_check_by_name("s3", "head_bucket", "Bucket", "404", "NoSuchBucket"),
    ),
    "aws_iam_role": (
        "roles",
        _make_existence_check_by_name("iam", "get_role", "RoleName", "NoSuchEntity"),
    ),
}
"""For each type of resource, its name in messages, and a function that finds which of the given
resources still exist."""

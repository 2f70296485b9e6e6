"""Delete orphans, which are resources that Terraform created but could not record in its state.

Terraform first creates a resource, and then records it in its state. If Terraform dies in between,
or AWS's answer is lost, AWS holds a resource that the state lacks: an orphan. Terraform cannot
create the resource again, because AWS already has one of this name. Deleting the deployment would
not find the orphan either, so an orphaned endpoint could go on costing money unnoticed.

The plan's file stays in the workspace until the plan is completely applied. The file names all
resources that may exist. Before any other step, each resource that the plan creates is looked up in
AWS, if its type is in ``KINDS``. A resource that exists and has the deployment's tags, but is not
in the state, is an orphan. For some types, a resource without any tags counts too (see ``_Kind``).
Orphans are deleted, and the next plan creates them again. No data is lost, because S3 refuses to
delete a bucket that holds objects, and ECR refuses to delete a repository that holds images.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import LeftBehind, TerraformFailed
from drdeploy.hosting.deployment.account import call_aws_or_return_none_if_absent
from drdeploy.hosting.deployment.workspace import Resource, find_name_of_resource
from drdeploy.hosting.sagemaker import translate_aws_errors
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT, ENDPOINT_CONFIGURATION, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.approval import Approver
    from drdeploy.hosting.deployment.terraform import Terraform
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace

Tags = dict[str, str]

NOT_EMPTY = frozenset({"BucketNotEmpty", "RepositoryNotEmptyException"})
"""The errors with which S3 and ECR refuse to delete a bucket or a repository that holds something.
An orphan is always empty, because drdeploy fills a bucket or repository only after Terraform has
recorded it."""


def delete_orphaned_resources(
    account: AwsAccount, workspace: TerraformWorkspace, terraform: Terraform, approver: Approver
) -> None:
    """If the last plan was not completely applied, delete the orphans that it left.

    Raises:
        EndpointError: AWS does not allow looking up or deleting a resource.
        LeftBehind: A bucket or repository holds something, so it is not an orphan.
    """
    if not workspace.applying.exists():
        return
    # If drdeploy was killed, Terraform may still be creating resources, which are not orphans.
    # Making a plan waits for that Terraform process. If the plan fails, the state is broken, and no
    # process writes to it any more.
    with suppress(TerraformFailed):
        terraform.make_plan(destroy=True)
    workspace.plan.unlink(missing_ok=True)
    workspace.restore_broken_state()
    try:
        document = terraform.read_plan_json(workspace.applying)
    except TerraformFailed:  # an unreadable plan was not applied either
        document = {}
    known = {(one.type, one.name) for one in workspace.read_resources()}
    for orphan, tags in _list_resources_to_create(document):
        kind = KINDS[orphan.type]
        if (orphan.type, orphan.name) in known:
            continue
        with translate_aws_errors(
            f"find or delete {orphan}, which an interrupted run may have created",
            str(account.platform),
        ):
            found = kind.tags(account, orphan.name)
            if found is None:
                continue
            is_tagged_later = kind.is_tagged_later and not found
            if not is_tagged_later and not tags.items() <= found.items():
                continue
            _delete_orphan_from_aws(account, orphan)
        approver.show_progress(
            f"deleted {orphan}, which an interrupted run had created but not recorded"
        )
    workspace.applying.unlink()


def _delete_orphan_from_aws(account: AwsAccount, orphan: Resource) -> None:
    from botocore.exceptions import ClientError

    try:
        KINDS[orphan.type].delete(account, orphan.name)
    except ClientError as err:
        if err.response.get("Error", {}).get("Code") not in NOT_EMPTY:
            raise
        raise LeftBehind(
            f"The {orphan} is not empty. It belongs to an earlier deployment with the same "
            "name, which is not recorded in this folder",
            where=account.endpoint_url or "AWS",
            remedy=(
                "Run the deletion in the folder of the earlier deployment, or delete the resource "
                "by hand. Then repeat the command"
            ),
        ) from err


def _list_resources_to_create(document: Mapping[str, Any]) -> Iterator[tuple[Resource, Tags]]:
    """Yield the resources that a plan would create, with their tags.

    Resources that must be deleted first come first.
    """
    changes = document.get("resource_changes", ())
    order = list(KINDS)
    created = [
        one for one in changes if one["type"] in KINDS and "create" in one["change"]["actions"]
    ]
    for one in sorted(created, key=lambda one: order.index(one["type"])):
        after = one["change"]["after"]
        name = find_name_of_resource(one["type"], after)
        if name:
            yield Resource(one["address"], one["type"], name), after.get("tags_all") or {}


# ---- by kind -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """The functions that find and delete resources of one type.

    Attributes:
        tags: Takes a name, and returns the tags of the resource with this name; None if there is no
            such resource.
        delete: Takes a name, and deletes the resource.
        is_tagged_later: Whether a resource of this type may be an orphan even if it has no tags.
            This is true for types that get their tags only after they are created, and for types
            that have no tags at all.
    """

    tags: Callable[[AwsAccount, str], Tags | None]
    delete: Callable[[AwsAccount, str], object]
    is_tagged_later: bool = False


def _make_tags_from_list(listed: Any) -> Tags:
    return {one["Key"]: one["Value"] for one in listed}


def _make_sagemaker_kind(describe: str, name_member: str, arn_member: str, kind: Any) -> _Kind:
    def read_tags_of_sagemaker_resource(account: AwsAccount, name: str) -> Tags | None:
        client = account.boto3_client("sagemaker")
        found = call_aws_or_return_none_if_absent(
            lambda: getattr(client, describe)(**{name_member: name}), "ValidationException"
        )
        return found and _make_tags_from_list(
            client.list_tags(ResourceArn=found[arn_member])["Tags"]
        )

    return _Kind(
        read_tags_of_sagemaker_resource,
        lambda account, name: account.hosting_client.delete(name, kinds=(kind,)),
    )


def _read_repository_tags(account: AwsAccount, name: str) -> Tags | None:
    ecr = account.boto3_client("ecr")
    found = call_aws_or_return_none_if_absent(
        lambda: ecr.describe_repositories(repositoryNames=[name]), "RepositoryNotFoundException"
    )
    if found is None:
        return None
    arn = found["repositories"][0]["repositoryArn"]
    return _make_tags_from_list(ecr.list_tags_for_resource(resourceArn=arn)["tags"])


def _read_role_tags(account: AwsAccount, name: str) -> Tags | None:
    found = call_aws_or_return_none_if_absent(
        lambda: account.boto3_client("iam").get_role(RoleName=name), "NoSuchEntity"
    )
    return found and _make_tags_from_list(found["Role"].get("Tags", ()))


def _delete_iam_role(account: AwsAccount, name: str) -> None:
    iam = account.boto3_client("iam")
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def _read_log_group_tags(account: AwsAccount, name: str) -> Tags | None:
    logs = account.boto3_client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    arn = next((one["arn"] for one in groups if one["logGroupName"] == name), None)
    if arn is None:
        return None
    return dict(logs.list_tags_for_resource(resourceArn=arn.removesuffix(":*"))["tags"])


def _read_dashboard_tags(account: AwsAccount, name: str) -> Tags | None:
    cloudwatch = account.boto3_client("cloudwatch")
    absent = ("ResourceNotFound", "DashboardNotFoundError")
    found = call_aws_or_return_none_if_absent(
        lambda: cloudwatch.get_dashboard(DashboardName=name), *absent
    )
    return None if found is None else {}


def _read_alarm_tags(account: AwsAccount, name: str) -> Tags | None:
    cloudwatch = account.boto3_client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not found:
        return None
    return _make_tags_from_list(
        cloudwatch.list_tags_for_resource(ResourceARN=found[0]["AlarmArn"])["Tags"]
    )


def _read_bucket_tags(account: AwsAccount, name: str) -> Tags | None:
    s3 = account.boto3_client("s3")
    if (
        call_aws_or_return_none_if_absent(
            lambda: s3.head_bucket(Bucket=name), "404", "NoSuchBucket"
        )
        is None
    ):
        return None
    found = call_aws_or_return_none_if_absent(
        lambda: s3.get_bucket_tagging(Bucket=name), "NoSuchTagSet"
    )
    return {} if found is None else _make_tags_from_list(found["TagSet"])


KINDS: Mapping[str, _Kind] = {
    ENDPOINT: _make_sagemaker_kind("describe_endpoint", "EndpointName", "EndpointArn", "endpoint"),
    ENDPOINT_CONFIGURATION: _make_sagemaker_kind(
        "describe_endpoint_config",
        "EndpointConfigName",
        "EndpointConfigArn",
        "endpoint configuration",
    ),
    MODEL: _make_sagemaker_kind("describe_model", "ModelName", "ModelArn", "model"),
    "aws_cloudwatch_log_group": _Kind(
        _read_log_group_tags,
        lambda account, name: account.boto3_client("logs").delete_log_group(logGroupName=name),
    ),
    "aws_cloudwatch_dashboard": _Kind(
        _read_dashboard_tags,
        lambda account, name: account.boto3_client("cloudwatch").delete_dashboards(
            DashboardNames=[name]
        ),
        is_tagged_later=True,
    ),
    "aws_cloudwatch_metric_alarm": _Kind(
        _read_alarm_tags,
        lambda account, name: account.boto3_client("cloudwatch").delete_alarms(AlarmNames=[name]),
    ),
    "aws_ecr_repository": _Kind(
        _read_repository_tags,
        lambda account, name: account.boto3_client("ecr").delete_repository(repositoryName=name),
    ),
    "aws_iam_role": _Kind(_read_role_tags, _delete_iam_role),
    "aws_s3_bucket": _Kind(
        _read_bucket_tags,
        lambda account, name: account.boto3_client("s3").delete_bucket(Bucket=name),
        is_tagged_later=True,
    ),
}
"""The types of resources that have a name and may cost money, in the order of deletion."""

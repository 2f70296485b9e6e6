"""Check whether SageMaker may use a model's execution role, and what the role may read.

SageMaker assumes the execution role to pull the image and read the archive. If the role lacks a
permission, the endpoint fails (developer guide, "How to use SageMaker AI execution roles").  Most
users of the local service name a role that exists only on AWS, or nowhere. A role that is missing
in the local IAM is therefore accepted without a check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drdeploy.hosting.local.endpoints.iam_policies import is_action_allowed, is_principal_allowed
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.request_constraints import (
    find_container_of_model,
    find_model_data_url,
    is_model_data_archive,
)
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SAGEMAKER = ("Service", "sagemaker.amazonaws.com")

PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)


class RequiredPermission(NamedTuple):
    """An action that a role must allow.

    Attributes:
        action: The name of the action, for example ``s3:ListBucket``.
        resource: The ARN of the resource on which the action acts.
        what: The description of the resource in error messages.
        prefix: The prefix of the keys that ``s3:ListBucket`` lists; None for other actions.
    """

    action: str
    resource: str
    what: str
    prefix: str | None = None


@dataclass(frozen=True)
class RolePolicies:
    """The policies of a role as JSON documents.

    Attributes:
        granted: The inline policies and the attached policies of the role.
        trust: The policy that says who may assume the role.
        boundary: The permissions boundary of the role, or None.
    """

    granted: tuple[str, ...]
    trust: str
    boundary: str | None = None

    def allows_action(self, needed: RequiredPermission) -> bool:
        """Return whether the role may perform an action in this account."""
        # The local service has only one account, so everything in S3 belongs to this account.
        context = {"s3:ResourceAccount": ACCOUNT}
        if needed.prefix is not None:
            context["s3:prefix"] = needed.prefix
        return is_action_allowed(
            self.granted, needed.action, needed.resource, context, boundary=self.boundary
        )

    def trusts_sagemaker(self, region: str, resource: str = "endpoint/any") -> bool:
        """Return whether SageMaker may assume the role for a resource of this account."""
        context = {
            "aws:SourceAccount": ACCOUNT,
            "aws:SourceArn": f"arn:aws:sagemaker:{region}:{ACCOUNT}:{resource}",
        }
        return is_principal_allowed(self.trust, SAGEMAKER, "sts:AssumeRole", context)


def check_execution_role(
    model: dict[str, Any],
    region: str,
    policies_of_role: Callable[[str], RolePolicies | None],
    captures: str | None = None,
    *,
    further: Sequence[RequiredPermission] = (),
    assumed_for: str = "endpoint/any",
) -> None:
    """Refuse a model if its role lacks a permission, or does not let SageMaker assume it.

    Args:
        model: The request that created the model.
        region: The AWS region of the endpoint.
        policies_of_role: A function that takes the ARN of a role and returns its policies, or None
            if the role does not exist.
        captures: An ARN with a star at its end, which stands for all objects that data capture
            writes. None if capture is off.
        further: Actions that the role must allow, in addition to those that every model needs.
        assumed_for: The kind and the name of the resource for which SageMaker assumes the role,
            with a slash between them.

    Raises:
        StartFailed: The role does not trust SageMaker, or lacks a permission; the message names the
            permission.
    """
    role = model.get("ExecutionRoleArn", "")
    policies = check_role_can_be_assumed(role, region, policies_of_role, assumed_for)
    if policies is None:
        return
    for needed in (*_list_required_permissions(model, captures), *further):
        if not policies.allows_action(needed):
            raise StartFailed(
                f"The role '{role}' does not have {needed.action} permission for {needed.what}",
                remedy=f"Allow {needed.action} on {needed.resource} in the role's policy. If the "
                "role has a permissions boundary, allow it there too",
            )


def check_role_can_be_assumed(
    role: str,
    region: str,
    policies_of_role: Callable[[str], RolePolicies | None],
    assumed_for: str = "endpoint/any",
) -> RolePolicies | None:
    """Return the policies of a role that SageMaker may assume, or None if the role does not exist.

    Raises:
        StartFailed: The role does not trust SageMaker.
    """
    policies = policies_of_role(role)
    if policies is not None and not policies.trusts_sagemaker(region, assumed_for):
        raise StartFailed(
            f"Could not assume role {role}. Please ensure that the role exists and allows "
            f"principal '{SAGEMAKER[1]}' to assume the role",
            remedy=f"Allow sts:AssumeRole to {SAGEMAKER[1]} in the role's trust policy",
        )
    return policies


def _list_required_permissions(
    model: dict[str, Any], captures: str | None
) -> Iterator[RequiredPermission]:
    image = find_container_of_model(model)["Image"]
    uri = EcrUri.parse(image)
    if uri is not None:
        repository = f"arn:aws:ecr:{uri.region}:{uri.account}:repository/{uri.name}"
        for action in PULL_ACTIONS:
            yield RequiredPermission(action, repository, f"the image: '{image}'")
        # In IAM, this action applies to no particular resource, so a policy can allow it only on *.
        yield RequiredPermission("ecr:GetAuthorizationToken", "*", f"the image: '{image}'")
    url = find_model_data_url(model)
    if url is not None:
        bucket, key = split_s3_uri(url)
        is_prefix = url.endswith("/") and not is_model_data_archive(model)
        objects = f"arn:aws:s3:::{bucket}/{key}{'*' if is_prefix else ''}"
        yield RequiredPermission("s3:GetObject", objects, f"the model data: '{url}'")
        if is_prefix:
            whole = f"arn:aws:s3:::{bucket}"
            yield RequiredPermission("s3:ListBucket", whole, f"the model data: '{url}'", key)
    if captures is not None:
        yield RequiredPermission("s3:PutObject", captures, f"the captured data: '{captures}'")

"""Whether a model's execution role may read what the model is made of.

SageMaker pulls the image and reads the archive with that role, and an endpoint whose role lacks a
permission fails (developer guide, "How to use SageMaker AI execution roles").  A role that the
local IAM does not know is not checked: most users of the local service name a role that does not
exist, because the API demands one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from drdeploy.hosting.local.constraints import container_of, model_data_url
from drdeploy.hosting.local.endpoints.iam_policies import allows
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.registry.ecr_uri import EcrUri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)


def check_role(model: dict[str, Any], policies_of_role: Callable[[str], list[str] | None]) -> None:
    """Refuse a model whose role may not pull the image or read the archive.

    Args:
        model: The request that created the model.
        policies_of_role: Returns a role's policies by its ARN; None where there is no such role.

    Raises:
        StartFailed: The role lacks a permission; the message names it.
    """
    role = model.get("ExecutionRoleArn", "")
    policies = policies_of_role(role)
    if policies is None:
        return
    for action, resource, what in _required_permissions(model):
        if not allows(policies, action, resource):
            raise StartFailed(
                f"The role '{role}' does not have {action} permission for {what}",
                remedy=f"Allow {action} on {resource} in the role's policy",
            )


def _required_permissions(model: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield action, resource, and what the resource is to the user."""
    image = container_of(model)["Image"]
    uri = EcrUri.parse(image)
    if uri is not None:
        repository = f"arn:aws:ecr:{uri.region}:{uri.account}:repository/{uri.name}"
        yield from ((action, repository, f"the image: '{image}'") for action in PULL_ACTIONS)
        # IAM knows no resource for this action: it can be allowed on * alone.
        yield "ecr:GetAuthorizationToken", "*", f"the image: '{image}'"
    url = model_data_url(model)
    if url is not None:
        parts = urlsplit(url)
        key = unquote(parts.path.lstrip("/"))
        yield "s3:GetObject", f"arn:aws:s3:::{parts.netloc}/{key}", f"the model data: '{url}'"

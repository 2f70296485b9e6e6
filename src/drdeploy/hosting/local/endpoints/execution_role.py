"""Whether a model's execution role may read what the model is made of.

A role that IAM does not know is not asked: most users of the local service name one that is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from drdeploy.hosting.local.constraints import container_of, model_data_url
from drdeploy.hosting.local.endpoints.iam_policies import allows
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.registry.ecr_uri import EcrUri

if TYPE_CHECKING:
    from collections.abc import Callable

PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def check_role(model: dict[str, Any], policies_of: Callable[[str], list[str] | None]) -> None:
    """Refuse a model whose role may not pull the image or read the archive.

    Args:
        model: The request that made it.
        policies_of: The policies of a role by ARN; None where IAM does not know it.

    Raises:
        StartFailed: The role lacks a permission; the message names it.
    """
    role = model.get("ExecutionRoleArn", "")
    policies = policies_of(role)
    if policies is None:
        return
    for action, resource, what in (*_image_needs(model), *_archive_needs(model)):
        if not allows(policies, action, resource):
            raise StartFailed(
                f"The role '{role}' does not have {action} permission for {what}",
                remedy=f"Allow {action} on {resource} in the role's policy",
            )


def _image_needs(model: dict[str, Any]) -> list[tuple[str, str, str]]:
    image = container_of(model)["Image"]
    uri = EcrUri.parse(image)
    if uri is None:
        return []
    repository = f"arn:aws:ecr:{uri.region}:{uri.account}:repository/{uri.name}"
    return [(action, repository, f"the image: '{image}'") for action in PULL] + [
        ("ecr:GetAuthorizationToken", "*", f"the image: '{image}'")
    ]


def _archive_needs(model: dict[str, Any]) -> list[tuple[str, str, str]]:
    url = model_data_url(model)
    if url is None:
        return []
    place = urlsplit(url)
    found = f"arn:aws:s3:::{place.netloc}/{unquote(place.path.lstrip('/'))}"
    return [("s3:GetObject", found, f"the model data: '{url}'")]

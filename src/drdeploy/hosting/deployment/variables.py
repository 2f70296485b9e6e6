"""The variables of the two Terraform environments, as data: ``terraform.tfvars.json``.

Their shapes are those of ``infrastructure/environments/*/variables.tf``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of
from drdeploy.hosting.sagemaker import RealTimeConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.deployment.archives import UploadedArchive
    from drdeploy.hosting.deployment.images import PushedImage
    from drdeploy.hosting.sagemaker import EndpointConfig

Environment = Literal["single-endpoint", "study"]

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
NAME_MAX = 43
"""Longest name of a model or an endpoint.

SageMaker allows 63 characters, and the Terraform modules append a digest and a time, 20 in all, to
the names of models and endpoint configurations.
"""
REPOSITORY = "drdeploy"
"""The one image repository of a deployment; its images differ in their tags."""


@dataclass(frozen=True)
class ModelVariables:
    """One model: an image by digest, and an archive by digest and version.

    Attributes:
        image: The image in ECR.
        archive: The ``model.tar.gz`` in S3.
        environment: Environment variables of the container.
    """

    image: PushedImage
    archive: UploadedArchive
    environment: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the model as the Terraform variables describe it."""
        described: dict[str, Any] = {
            "image_uri": self.image.uri,
            "model_data_url": self.archive.uri,
            "model_data_sha256": self.archive.sha256,
            "environment": dict(self.environment),
        }
        if self.archive.version_id:
            described["model_data_version_id"] = self.archive.version_id
        return described


@dataclass(frozen=True)
class EndpointVariables:
    """One endpoint: a model, and the memory or the instances that serve it.

    Attributes:
        model: Key of the model.
        config: Serverless or real-time, with its size.
    """

    model: str
    config: EndpointConfig


@dataclass(frozen=True)
class Variables:
    """All variables of one plan.

    Attributes:
        environment: The Terraform environment that they are for.
        prefix: What every name begins with.
        region: AWS region.
        tags: Tags of every resource.
        models: By key.
        endpoints: By key.
    """

    environment: Environment
    prefix: str
    region: str
    tags: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelVariables] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointVariables] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """Name of the image repository in ECR."""
        return f"{self.prefix}/{REPOSITORY}"

    def foundation(self) -> Self:
        """Return the variables without models and endpoints: bucket, repository and role alone.

        They must exist before anything can be pushed or uploaded.
        """
        return replace(self, models={}, endpoints={})

    def document(self) -> dict[str, Any]:
        """Return the content of ``terraform.tfvars.json``."""
        described: dict[str, Any] = {
            "region": self.region,
            "name_prefix": self.prefix,
            "tags": dict(self.tags),
            "allow_always_on": any(is_always_on(one.config) for one in self.endpoints.values()),
        }
        models = {key: model.document() for key, model in self.models.items()}
        if self.environment == "study":
            endpoints = {
                key: {"model": one.model, **one.config.model_dump(exclude_none=True)}
                for key, one in self.endpoints.items()
            }
            return {**described, "models": models, "endpoints": endpoints}
        endpoint = next(iter(self.endpoints.values()), None)
        return {
            **described,
            "model": next(iter(models.values()), None),
            "endpoint": endpoint and endpoint.config.model_dump(exclude_none=True),
        }


def is_always_on(config: EndpointConfig) -> bool:
    """Return whether an endpoint of that configuration costs money without requests."""
    return isinstance(config, RealTimeConfig) or bool(config.provisioned_concurrency)


def checked_prefix(name: str) -> str:
    """Return a deployment's name, after checking that it can begin the names of its resources.

    Raises:
        InvalidInput: The name is too short or too long, or has other characters.
    """
    if not _PREFIX.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot name a deployment",
            where="name",
            remedy="Use 2 to 20 lower-case letters, digits and hyphens, a letter first",
        )
    return name


def key_of(text: str, *, longest: int) -> str:
    """Return a text as a key of lower-case letters, digits and hyphens.

    A key that would be too long is cut and ends in a digest of the text, so that two long texts
    with the same beginning have different keys.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(readable) <= longest:
        return readable
    digest = sha256_of(text.encode())[:6]
    return f"{readable[: longest - 7].rstrip('-')}-{digest}"

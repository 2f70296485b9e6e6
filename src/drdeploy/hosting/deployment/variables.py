"""What Terraform is told: the ``terraform.tfvars.json`` of the two environments, as data.

The shapes are those of ``infrastructure/environments/*/variables.tf``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of
from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.deployment.archives import UploadedArchive
    from drdeploy.hosting.deployment.images import PushedImage

Environment = Literal["single-endpoint", "study"]
AnyConfig = ServerlessConfig | RealTimeConfig

PREFIX = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
ENDPOINT_NAME_MAX = 54
REPOSITORY = "drdeploy"


@dataclass(frozen=True)
class ModelVariables:
    """One model: an image by digest, an archive by digest and version."""

    image: PushedImage
    archive: UploadedArchive
    environment: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As the environments take it."""
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
    """One endpoint: which model, on what."""

    model: str
    config: AnyConfig

    @property
    def is_always_on(self) -> bool:
        """Whether it costs money without a request."""
        return is_always_on(self.config)


@dataclass(frozen=True)
class Variables:
    """The whole file; without endpoints it describes bucket, repository and role alone.

    Attributes:
        environment: Which of the two.
        prefix: Begins every name.
    """

    environment: Environment
    prefix: str
    region: str
    tags: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelVariables] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointVariables] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """Name of the image repository."""
        return f"{self.prefix}/{REPOSITORY}"

    def foundation(self) -> Self:
        """What has to be there before anything can be pushed or uploaded."""
        return replace(self, models={}, endpoints={})

    def document(self) -> dict[str, Any]:
        """As Terraform reads it."""
        described: dict[str, Any] = {
            "region": self.region,
            "name_prefix": self.prefix,
            "tags": dict(self.tags),
            "allow_always_on": any(one.is_always_on for one in self.endpoints.values()),
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


def is_always_on(config: AnyConfig) -> bool:
    """Whether an endpoint of that configuration costs money without a request."""
    return isinstance(config, RealTimeConfig) or bool(config.provisioned_concurrency)


def checked_prefix(name: str) -> str:
    """A deployment's name, which begins the names of everything that it consists of.

    Raises:
        InvalidInput: It cannot.
    """
    if not PREFIX.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot name a deployment",
            where="name",
            remedy="Use 2 to 20 lower-case letters, digits and hyphens, a letter first",
        )
    return name


def key_of(text: str, *, longest: int) -> str:
    """A key made of letters, digits and hyphens; one that is cut short ends in a digest."""
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(readable) <= longest:
        return readable
    digest = sha256_of(text.encode())[:6]
    return f"{readable[: longest - 7].rstrip('-')}-{digest}"

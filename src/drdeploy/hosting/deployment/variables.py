"""The models and endpoints of a deployment, before and after their files are sent to AWS.

The Terraform variables are written to ``terraform.tfvars.json``, in the types that
``infrastructure/environments/*/variables.tf`` declares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, assert_never

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.deployment.safeguards import NO_SAFEGUARDS, Safeguards
from drdeploy.hosting.sagemaker import AsynchronousConfig, RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.deployment.archive_upload import UploadedArchive
    from drdeploy.hosting.deployment.images import PushedImage
    from drdeploy.hosting.sagemaker import DeployableConfig

Environment = Literal["single-endpoint", "study"]

_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
NAME_MAX = 43
"""The largest number of characters in the name of a model or an endpoint.

SageMaker allows 63 characters. The Terraform modules append a digest and a time, 20 characters in
all, to the names of models and endpoint configurations.
"""
REPOSITORY = "drdeploy"
"""The name of a deployment's only image repository; its images differ in their tags."""


@dataclass(frozen=True)
class ModelVariables:
    """A model to deploy.

    Attributes:
        image: The image in ECR.
        archive: The archive in S3.
        environment: The environment variables of the container.
        cuda_version: The version of CUDA that the image needs; None if the image is for CPUs.
        network: The network settings, ``vpc_config`` and ``network_isolation``; empty if the user
            sets none.
    """

    image: PushedImage
    archive: UploadedArchive
    environment: Mapping[str, str] = field(default_factory=dict)
    cuda_version: str | None = None
    network: Mapping[str, Any] = field(default_factory=dict)

    def to_terraform_variables(self) -> dict[str, Any]:
        """Return the model as a dictionary of attributes for Terraform."""
        described: dict[str, Any] = {
            "image_uri": self.image.uri,
            "model_data_url": self.archive.uri,
            "model_data_sha256": self.archive.sha256,
            "environment": dict(self.environment),
            **self.network,
        }
        if self.archive.version_id:
            described["model_data_version_id"] = self.archive.version_id
        if self.cuda_version:
            described["cuda_version"] = self.cuda_version
        return described


@dataclass(frozen=True)
class EndpointVariables:
    """An endpoint to deploy.

    Attributes:
        model: The key of the endpoint's model.
        config: The configuration of the endpoint.
        settings: Further attributes of the endpoint's Terraform variable, for example
            ``autoscaling`` or ``keep_warm``.
    """

    model: str
    config: DeployableConfig
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_always_on(self) -> bool:
        """Whether the endpoint costs money even if no client sends requests."""
        fewest = (self.settings.get("autoscaling") or {}).get("min_capacity")
        is_kept_warm = bool(self.settings.get("keep_warm"))
        return is_always_on(self.config) or is_kept_warm or bool(fewest)

    @property
    def has_opening_hours(self) -> bool:
        """Whether schedules create the endpoint when it opens, and delete it when it closes."""
        return bool(self.settings.get("opening_hours"))

    @property
    def has_schedules_of_calls(self) -> bool:
        """Whether the endpoint needs EventBridge Scheduler, to open, close or stay warm.

        The local service has no EventBridge Scheduler.
        """
        return self.has_opening_hours or bool(self.settings.get("keep_warm"))

    def to_terraform_variables(self, *, is_local: bool) -> dict[str, Any]:
        """Return the endpoint, without its model, as a dictionary of attributes for Terraform."""
        described = {**self.config.model_dump(exclude_none=True), **self.settings}
        has_guardrails = isinstance(self.config, RealTimeConfig) and not self.has_opening_hours
        if is_local and has_guardrails:
            described.setdefault("guardrails", {"wait_s": 0, "termination_wait_s": 0})
        return described


@dataclass(frozen=True)
class DeploymentVariables:
    """All variables of one plan.

    Attributes:
        environment: The Terraform environment that the variables are for.
        prefix: The prefix of every resource's name.
        region: The AWS region.
        tags: The tags of every resource.
        models: The models by their key.
        endpoints: The endpoints by their key.
        safeguards: The encryption key and the permissions boundary.
    """

    environment: Environment
    prefix: str
    region: str
    tags: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelVariables] = field(default_factory=dict)
    endpoints: Mapping[str, EndpointVariables] = field(default_factory=dict)
    safeguards: Safeguards = NO_SAFEGUARDS

    @property
    def repository_name(self) -> str:
        """The name of the image repository in ECR."""
        return f"{self.prefix}/{REPOSITORY}"

    def without_models_and_endpoints(self) -> Self:
        """Return only the variables for the bucket, the repository and the role.

        The bucket and the repository must exist before an archive is uploaded or an image is
        pushed.
        """
        return replace(self, models={}, endpoints={})

    def to_terraform_variables(self, *, is_local: bool = False) -> dict[str, Any]:
        """Return the content of ``terraform.tfvars.json``.

        When AWS updates a real-time endpoint, it watches the new instances for ten minutes before
        the update is complete. For the local service, the variables turn this wait off.
        """
        described: dict[str, Any] = {
            "region": self.region,
            "name_prefix": self.prefix,
            **self.safeguards.to_terraform_variables(),
            "tags": dict(self.tags),
            "allow_always_on": any(one.is_always_on for one in self.endpoints.values()),
        }
        models = {key: model.to_terraform_variables() for key, model in self.models.items()}
        if self.environment == "study":
            endpoints = {
                key: {
                    "model": one.model,
                    **one.to_terraform_variables(is_local=is_local),
                }
                for key, one in self.endpoints.items()
            }
            return {**described, "models": models, "endpoints": endpoints}
        endpoint = next(iter(self.endpoints.values()), None)
        return {
            **described,
            "model": next(iter(models.values()), None),
            "endpoint": endpoint and endpoint.to_terraform_variables(is_local=is_local),
        }


def is_always_on(config: DeployableConfig) -> bool:
    """Return whether an endpoint with the given configuration costs money even without requests."""
    match config:
        case RealTimeConfig():
            return True
        case ServerlessConfig(provisioned_concurrency=provisioned):
            return bool(provisioned)
        case AsynchronousConfig():
            return False
        case _:
            assert_never(config)


def check_name_prefix(name: str) -> str:
    """Check that a deployment's name can be the prefix of its resources' names, and return it.

    Raises:
        InvalidInput: The name is too short or too long, or has characters that are not allowed.
    """
    if not _PREFIX.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a valid name for a deployment",
            where="name",
            remedy="Use 2 to 20 lower-case letters, digits and hyphens, and begin with a letter",
        )
    return name


def make_terraform_key(text: str, *, longest: int) -> str:
    """Turn a text into a key of lower-case letters, digits and hyphens.

    A key longer than ``longest`` characters is cut short and ends in a digest of the text, so that
    different texts have different keys.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(readable) <= longest:
        return readable
    digest = sha256_of_bytes(text.encode())[:6]
    return f"{readable[: longest - 7].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class ModelSource:
    """A model on this machine.

    Attributes:
        image: The tag of the image.
        archive: The archive.
        environment: The environment variables of the container.
        network: The network settings, as in the attribute ``network`` of :class:`ModelVariables`.
    """

    image: str
    archive: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredEndpoints:
    """The models and endpoints that a deployment should have.

    Attributes:
        foundation: The variables for the bucket, the repository and the role, without models and
            endpoints.
        models: The models by their key.
        endpoints: The endpoints by their key; each endpoint holds the key of its model.
    """

    foundation: DeploymentVariables
    models: Mapping[str, ModelSource]
    endpoints: Mapping[str, EndpointVariables]

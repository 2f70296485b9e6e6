"""Check that each container image is built for its instance's processor, Graviton or x86-64.

SageMaker accepts an image that is built for another processor, but about fifteen minutes later the
endpoint fails. This module therefore compares the image's processor with the instance's before the
image is pushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.images import ARM64, find_own_image_by_tag
from drdeploy.hosting.sagemaker import ServerlessConfig, find_instance_resources

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.variables import DesiredEndpoints
    from drdeploy.hosting.sagemaker import CpuArchitecture, HostingConfig

_ARCHITECTURE_OF_IMAGE: dict[str, CpuArchitecture] = {"amd64": "x86_64", "arm64": "arm64"}
"""Maps the architecture in an image's configuration to SageMaker's name for it."""


def find_architecture_of_endpoint(config: HostingConfig) -> CpuArchitecture | None:
    """Return the processor architecture of an endpoint, or None if it is unknown.

    AWS does not say on which processor serverless endpoints run, and this project's table of
    instance types may lack a new type.
    """
    if isinstance(config, ServerlessConfig):
        return None
    try:
        return find_instance_resources(config.instance_type).architecture
    except InvalidInput:
        return None


def choose_image_tag_for_endpoint(tag: str, config: HostingConfig) -> str:
    """If an endpoint runs on Graviton, return the tag of an image's arm64 build.

    For other endpoints, and for images that are not of this project, the tag is returned unchanged.
    """
    own = find_own_image_by_tag(tag)
    if own is None or find_architecture_of_endpoint(config) != "arm64":
        return tag
    return own.for_platform(ARM64).tag


def check_image_architectures(engine: ContainerEngine, desired: DesiredEndpoints) -> None:
    """Refuse images that the instances of their endpoints cannot run.

    Raises:
        InvalidInput: An image is built for a different processor than its instance has; the message
            names the instance's processor.
        EngineError: The container engine does not have one of the images.
    """
    for endpoint in desired.endpoints.values():
        needed = find_architecture_of_endpoint(endpoint.config)
        if needed is None:
            continue
        tag = desired.models[endpoint.model].image
        built_for = str(engine.image_config(tag).get("Architecture", ""))
        # An architecture that we do not know may be an emulated or future one: let AWS decide.
        if _ARCHITECTURE_OF_IMAGE.get(built_for, needed) == needed:
            continue
        platform = "linux/arm64" if needed == "arm64" else "linux/amd64"
        raise InvalidInput(
            f"The image {tag} is built for {built_for}, but {endpoint.config.label} needs {needed}",
            where="image",
            remedy=f"Build the image with --platform {platform}, or choose another instance type",
        )

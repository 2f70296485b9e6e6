"""Graviton or x86-64: an instance runs only images that were built for its processor.

SageMaker accepts any image, and a quarter of an hour later the endpoint is Failed.  So the
processors are compared here, before anything is pushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.images import ARM64, own_image
from drdeploy.hosting.sagemaker import RealTimeConfig, instance_resources

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.desired import DesiredEndpoints
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import Architecture, EndpointConfig

_ARCHITECTURE_OF_IMAGE: dict[str, Architecture] = {"amd64": "x86_64", "arm64": "arm64"}
"""Our name for what an image's configuration calls its architecture."""


def architecture_of(config: EndpointConfig) -> Architecture | None:
    """Return the processor of an endpoint; None where it is unknown.

    AWS does not say what serverless endpoints run on, and new instance types may be missing from
    our table.
    """
    if not isinstance(config, RealTimeConfig):
        return None
    try:
        return instance_resources(config.instance_type).architecture
    except InvalidInput:
        return None


def fitting_tag(tag: str, config: EndpointConfig) -> str:
    """Return the tag of an image that an endpoint can run.

    For Graviton instances that is the arm64 build of one of this project's images; any other tag
    comes back as it is.
    """
    own = own_image(tag)
    if own is None or architecture_of(config) != "arm64":
        return tag
    return own.on(ARM64).tag


def check_architectures(engine: Engine, desired: DesiredEndpoints) -> None:
    """Refuse images that the instances of their endpoints cannot run.

    Raises:
        InvalidInput: An image is built for another processor; the message names the right one.
        EngineError: The engine has no such image.
    """
    for endpoint in desired.endpoints.values():
        needed = architecture_of(endpoint.config)
        if needed is None:
            continue
        tag = desired.models[endpoint.model].image
        built_for = str(engine.image_config(tag).get("Architecture", ""))
        # An architecture that we do not know may be an emulated or future one: let AWS decide.
        if _ARCHITECTURE_OF_IMAGE.get(built_for, needed) == needed:
            continue
        platform = "linux/arm64" if needed == "arm64" else "linux/amd64"
        raise InvalidInput(
            f"{tag} is built for {built_for}, and an instance of {endpoint.config.label} is "
            f"{needed}",
            where="image",
            remedy=f"Build it for {platform}, or choose another instance type",
        )

"""Graviton and x86-64: an instance runs the images that were built for its processor, no others.

SageMaker accepts any image and the endpoint is Failed a quarter of an hour later, so it is looked
at here, before anything is pushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.images import ARM64, own_image
from drdeploy.hosting.sagemaker import RealTimeConfig, instance_resources

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.desired import DesiredEndpoints
    from drdeploy.hosting.deployment.variables import AnyConfig
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import Architecture

_CALLED: dict[str, Architecture] = {"amd64": "x86_64", "arm64": "arm64"}
"""What an image's description calls an architecture."""


def architecture_of(config: AnyConfig) -> Architecture | None:
    """The processor behind a configuration; None where AWS does not say, or it is not known."""
    if not isinstance(config, RealTimeConfig):
        return None
    try:
        return instance_resources(config.instance_type).architecture
    except InvalidInput:
        return None


def fitting_tag(tag: str, config: AnyConfig) -> str:
    """The tag's sibling for the processor of a configuration, where it is one of our images."""
    own = own_image(tag)
    if own is None or architecture_of(config) != "arm64":
        return tag
    return own.on(ARM64).tag


def check_architectures(engine: Engine, wish: DesiredEndpoints) -> None:
    """Refuse an image that an instance cannot run.

    Raises:
        InvalidInput: It names the first, and how to come by the right one.
        EngineError: There is no such image.
    """
    for endpoint in wish.endpoints.values():
        needed = architecture_of(endpoint.config)
        if needed is None:
            continue
        tag = wish.models[endpoint.model].image
        called = str(engine.image_config(tag).get("Architecture", ""))
        if _CALLED.get(called, needed) == needed:
            continue
        platform = "linux/arm64" if needed == "arm64" else "linux/amd64"
        raise InvalidInput(
            f"{tag} is built for {called}, and an instance of {endpoint.config.label} is {needed}",
            where="image",
            remedy=f"Build it for {platform}, or choose another instance type",
        )

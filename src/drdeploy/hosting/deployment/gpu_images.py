"""Check that the host of each endpoint can run the CUDA version of the endpoint's image.

The check is made before the image is pushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.sagemaker import ServerlessConfig
from drdeploy.hosting.sagemaker.gpu_hosts import (
    check_gpu_host,
    find_required_cuda,
    parse_image_variables,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.variables import DesiredEndpoints


def check_gpu_hosts_of_endpoints(engine: ContainerEngine, desired: DesiredEndpoints) -> None:
    """Refuse images that need a GPU or a driver that the host of their endpoint lacks.

    Raises:
        InvalidInput: An image needs a GPU or a driver that the host of its endpoint lacks.
        EngineError: The container engine does not have one of the images.
    """
    for endpoint in desired.endpoints.values():
        config = endpoint.config
        variables = read_image_variables(engine, desired.models[endpoint.model].image)
        if isinstance(config, ServerlessConfig):
            check_gpu_host(variables, None)
        else:
            check_gpu_host(variables, config.instance_type, config.inference_ami_version)


def find_required_cuda_of_image(engine: ContainerEngine | None, tag: str) -> str | None:
    """Return the version of CUDA that an image needs, or None.

    The result is None if the image needs no CUDA, or if nothing is known about the image.
    """
    return None if engine is None else find_required_cuda(read_image_variables(engine, tag))


def read_image_variables(engine: ContainerEngine, tag: str) -> Mapping[str, str]:
    """Return the environment variables of an image in the engine."""
    return parse_image_variables((engine.image_config(tag).get("Config") or {}).get("Env"))

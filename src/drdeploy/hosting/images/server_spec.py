"""Describes a container of one of this project's images that only this machine can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.engine import ContainerSpec, Mount, free_port
from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.engine import Engine


def server_spec(
    engine: Engine, image: str, model_dir: Path, *, memory_mb: int, cpus: float
) -> ContainerSpec:
    """Return the description of a container that serves a model on the loopback.

    On the host's network the server binds a free port of the loopback itself.  On a network of its
    own it listens on all interfaces, and the engine publishes the port on the loopback.
    """
    network = engine.fastest_network
    port = free_port() if network == "host" else CONTAINER_PORT
    on_loopback = {"SAGEMAKER_BIND_TO_PORT": str(port), "DRDEPLOY_BIND_HOST": LOOPBACK}
    return ContainerSpec(
        image,
        env=on_loopback if network == "host" else {},
        mounts=(Mount(model_dir, MODEL_DIR),),
        memory_mb=memory_mb,
        cpus=cpus,
        port=port,
        network=network,
    )

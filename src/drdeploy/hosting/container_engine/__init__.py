"""The container engine, which is Docker or Podman; only this package uses Docker's API.

::

    engine = ContainerEngine.find()                       # None if no engine answers
    engine.build_image(root, "containers/lean.Dockerfile", tag="drdeploy:lean", log=print)
    spec = ContainerSpec("drdeploy:lean", memory_mb=2048, cpus=1.16, port=8080)
    container = engine.start_container(spec)
    container.connect(timeout_s=1.0)                      # a socket
    container.stop(); container.exit_state(); container.remove()

``location`` decides which engine to use, and ``connection`` connects to it, if need be through
``ssh``.  ``spec`` describes a container to run. ``client`` builds images and starts containers;
``credentials`` finds the user's logins for registries, and ``copies`` copies folders that the
engine cannot mount.  ``container`` represents a started container.  Only this package imports the
Docker SDK.
"""

from drdeploy.hosting.container_engine.client import ContainerEngine, ImageSummary
from drdeploy.hosting.container_engine.container import ContainerStats, ExitState, RunningContainer
from drdeploy.hosting.container_engine.distribution import DOCKER_MANIFEST
from drdeploy.hosting.container_engine.events import ContainerEndEvents
from drdeploy.hosting.container_engine.ports import find_free_port
from drdeploy.hosting.container_engine.spec import NO_NETWORK, ContainerSpec, Mount

__all__ = [
    "DOCKER_MANIFEST",
    "NO_NETWORK",
    "ContainerEndEvents",
    "ContainerEngine",
    "ContainerSpec",
    "ContainerStats",
    "ExitState",
    "ImageSummary",
    "Mount",
    "RunningContainer",
    "find_free_port",
]

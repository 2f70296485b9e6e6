"""The container engine: the one seam to the Docker API (Docker, or Podman behind its socket).

::

    engine = Engine.find()                       # None where no engine answers
    engine.build(root, "containers/lean.Dockerfile", tag="drdeploy:lean", log=print)
    container = engine.run(ContainerSpec("drdeploy:lean", memory_mb=2048, cpus=1.16, port=8080))
    container.host_port                          # on 127.0.0.1
    container.stop(); container.exit_state(); container.remove()

``spec`` says what to run; ``client`` finds the engine, builds images and starts containers;
``container`` is a container that was started.  Nothing outside this package imports the Docker SDK.
"""

from drdeploy.hosting.engine.client import Engine, ImageSummary
from drdeploy.hosting.engine.container import ContainerStats, ExitState, RunningContainer
from drdeploy.hosting.engine.ports import free_port
from drdeploy.hosting.engine.spec import ContainerSpec, Mount

__all__ = [
    "ContainerSpec",
    "ContainerStats",
    "Engine",
    "ExitState",
    "ImageSummary",
    "Mount",
    "RunningContainer",
    "free_port",
]

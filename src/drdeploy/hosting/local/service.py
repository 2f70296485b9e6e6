"""Put the parts together, keep them going, take them down."""

from __future__ import annotations

import logging
import shutil
import threading
from typing import TYPE_CHECKING, Any, Literal, Self

from drdeploy.errors import EngineUnavailable, requires_extra
from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.hosting.local.api.metrics import MetricLog
from drdeploy.hosting.local.api.router import ApiRouter
from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
from drdeploy.hosting.local.http_server import HttpServer
from drdeploy.hosting.local.instances import service_folders
from drdeploy.hosting.local.instances.cgroups import find_control_groups
from drdeploy.hosting.local.instances.processes import SERVER_COMMAND, ProcessBackend
from drdeploy.hosting.local.options import ServiceOptions
from drdeploy.hosting.local.registry.routes import ImageRegistry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.local.instances.instance import InstanceBackend, Isolation

log = logging.getLogger(__name__)

IsolationChoice = Literal["auto", "container", "process"]
TICK_S = 0.25


class LocalService:
    """SageMaker on one loopback port of this machine.

    >>> with LocalService(port=0) as service:
    ...     client = boto3.client("sagemaker", endpoint_url=service.url)

    Args:
        port: 0 takes a free one.
        isolation: ``auto`` is the container engine where one answers, processes otherwise.
        options: Idle time, CPU in proportion to memory, and the like.
        server_command: What processes run; tests put a smaller server there.

    Raises:
        InvalidInput: The port is in use.
        EngineUnavailable: Containers are asked for and no engine answers.
        MissingExtra: The extra ``study`` is not installed.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        isolation: IsolationChoice = "auto",
        options: ServiceOptions | None = None,
        server_command: Sequence[str] = SERVER_COMMAND,
    ) -> None:
        with requires_extra("study", "The local service"):  # before the port is taken
            import moto.core  # noqa: F401
            import psutil  # noqa: F401
        self._server = HttpServer(port, lambda request: self._front.answer(request))  # noqa: PLW0108  made below
        self._engine = _find_engine(isolation)
        self._sweep()
        self._note, self._folder = service_folders.create_service_folder(self._server.port)
        self._aws = SimulatedAws()
        self._metrics = MetricLog(self._aws.put_metric_data)
        registry = ImageRegistry(self._folder / "registry")
        backend = self._backend(registry, server_command)
        shelf = ArtifactCache(self._folder / "artifacts", self._aws.read_object)
        self._machine = InstanceFleet(
            self._note.name,
            backend,
            shelf,
            options or ServiceOptions(),
            policies_of_role=self._aws.policies_of_role,
        )
        self._front = ApiRouter(self._machine, self._aws, self._metrics, registry, self.status)
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="tick", daemon=True)

    @property
    def url(self) -> str:
        """For ``endpoint_url``."""
        return f"http://{LOOPBACK}:{self._server.port}"

    @property
    def registry(self) -> str:
        """Host and port of the image registry."""
        return f"{LOOPBACK}:{self._server.port}"

    @property
    def isolation(self) -> Isolation:
        """What instances run in."""
        return self._machine.backend.isolation

    def start(self) -> None:
        """Answer from now on."""
        self._aws.warm_up()
        self._server.start()
        self._ticker.start()

    def stop(self) -> None:
        """Stop every instance and answer nothing more; leaves nothing behind."""
        if self._over.is_set():
            return
        self._over.set()
        self._server.stop()
        self._machine.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def status(self) -> dict[str, Any]:
        """Facts about the service, as ``GET /_drdeploy/status`` tells them."""
        options = self._machine.options
        return {
            "url": self.url,
            "pid": self._note.pid,
            "isolation": self.isolation,
            "engine": self._engine.version if self._engine else None,
            "cpus": self._machine.cpus,
            "mb_per_vcpu": options.mb_per_vcpu,
            "idle_s": options.idle_s,
            "instances": self._machine.count(),
            "endpoints": [
                {"region": control.place.region, "name": one.name, "status": one.status}
                for control in self._front.control_planes()
                for one in control.endpoints.all()
            ],
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _backend(self, registry: ImageRegistry, server_command: Sequence[str]) -> InstanceBackend:
        if self._engine is None:
            groups = find_control_groups(self._note.name)
            return ProcessBackend(
                self._folder, groups, server_command, profile_of=registry.profile_of
            )
        from drdeploy.hosting.local.instances.containers import ContainerBackend

        return ContainerBackend(self._engine, self._note.name, registry=self.registry)

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            try:
                self._metrics.flush()
                for control in self._front.control_planes():
                    for endpoint in control.endpoints.all():
                        endpoint.tick()
            except Exception:
                log.exception("an upkeep round failed")

    def _sweep(self) -> None:
        def clear(name: str) -> None:
            groups = find_control_groups(name)
            if groups is not None:
                groups.remove()
            if self._engine is not None:
                self._engine.remove_stale(f"{service_folders.LABEL}={name}")

        for name in service_folders.remove_stale_services(clear):
            log.warning("cleared away what %s had left", name)


def _find_engine(isolation: IsolationChoice) -> Engine | None:
    if isolation == "process":
        return None
    from drdeploy.hosting.engine import Engine

    engine = Engine.find()
    if engine is None and isolation == "container":
        raise EngineUnavailable(
            "No container engine answers",
            where="isolation",
            remedy="Start Docker or Podman, or choose --isolation process",
        )
    return engine

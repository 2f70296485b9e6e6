"""The local service as a whole: assemble its parts, run them, stop them."""

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
"""How often idle instances are stopped, dead ones replaced, and metrics written."""


class LocalService:
    """A SageMaker-compatible service on one loopback port of this machine.

    >>> with LocalService(port=0) as service:
    ...     client = boto3.client("sagemaker", endpoint_url=service.url)

    Args:
        port: Port to listen on; 0 takes a free one.
        isolation: What instances run in.  ``auto`` takes containers where an engine answers, and
            processes otherwise.
        options: How long idle instances stay, how much CPU comes with memory, and the like.
        server_command: Command that starts the model server where instances are processes.

    Raises:
        InvalidInput: The port is in use.
        EngineUnavailable: Containers were chosen, and no engine answers.
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
        self._server = HttpServer(port, lambda request: self._router.answer(request))  # noqa: PLW0108  made below
        self._engine = _find_engine(isolation)
        self._remove_stale_services()
        self._record, self._folder = service_folders.create_service_folder(self._server.server_port)
        self._aws = SimulatedAws()
        self._metrics = MetricLog(self._aws.put_metric_data)
        registry = ImageRegistry(self._folder / "registry")
        self._fleet = InstanceFleet(
            self._record.name,
            self._backend(registry, server_command),
            ArtifactCache(self._folder / "artifacts", self._aws.read_object),
            options or ServiceOptions(),
            policies_of_role=self._aws.policies_of_role,
        )
        self._router = ApiRouter(self._fleet, self._aws, self._metrics, registry, self.status)
        self._is_over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="tick", daemon=True)

    @property
    def url(self) -> str:
        """The URL to pass to boto3 as ``endpoint_url``."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def registry(self) -> str:
        """Host and port of the image registry."""
        return f"{LOOPBACK}:{self._server.server_port}"

    @property
    def isolation(self) -> Isolation:
        """What instances run in."""
        return self._fleet.backend.isolation

    def start(self) -> None:
        """Start answering requests."""
        self._aws.warm_up()
        self._server.start()
        self._ticker.start()

    def stop(self) -> None:
        """Stop answering, stop every instance, and remove all files; does nothing a second time."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._server.stop()
        self._fleet.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def status(self) -> dict[str, Any]:
        """Return what ``GET /_drdeploy/status`` answers: address, isolation, limits, endpoints."""
        options = self._fleet.options
        return {
            "url": self.url,
            "pid": self._record.pid,
            "isolation": self.isolation,
            "engine": self._engine.version if self._engine else None,
            "cpus": self._fleet.cpus,
            "mb_per_vcpu": options.mb_per_vcpu,
            "idle_s": options.idle_s,
            "instances": self._fleet.count(),
            "endpoints": [
                {
                    "region": control_plane.account_region.region,
                    "name": endpoint.name,
                    "status": endpoint.status,
                }
                for control_plane in self._router.control_planes()
                for endpoint in control_plane.endpoints.all()
            ],
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _backend(self, registry: ImageRegistry, server_command: Sequence[str]) -> InstanceBackend:
        if self._engine is None:
            groups = find_control_groups(self._record.name)
            return ProcessBackend(
                self._folder, groups, server_command, profile_of=registry.profile_of
            )
        from drdeploy.hosting.local.instances.containers import ContainerBackend

        return ContainerBackend(self._engine, self._record.name, registry=self.registry)

    def _tick(self) -> None:
        while not self._is_over.wait(TICK_S):
            try:
                self._metrics.flush()
                for control_plane in self._router.control_planes():
                    for endpoint in control_plane.endpoints.all():
                        endpoint.tick()
            except Exception:
                # One endpoint's trouble must not end the thread that looks after all of them.
                log.exception("a round of upkeep failed")

    def _remove_stale_services(self) -> None:
        def clear(name: str) -> None:
            groups = find_control_groups(name)
            if groups is not None:
                groups.remove()
            if self._engine is not None:
                self._engine.remove_stale(f"{service_folders.LABEL}={name}")

        for name in service_folders.remove_stale_services(clear):
            log.warning("removed what the killed service %s had left behind", name)


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

"""Assemble, run and stop the local service."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from drdeploy.errors import (
    EngineMisconfigured,
    EngineUnavailable,
    InvalidInput,
    turn_import_error_into_missing_extra,
)
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.hosting.local.access_key import AccessKey
from drdeploy.hosting.local.api.asynchronous_metrics import (
    AsynchronousRequestMetrics,
    BacklogSampler,
)
from drdeploy.hosting.local.api.component_metrics import ComponentSampler
from drdeploy.hosting.local.api.invocations import InvocationLogs
from drdeploy.hosting.local.api.metrics import MetricLog
from drdeploy.hosting.local.api.router import ApiRouter
from drdeploy.hosting.local.api.scaling_operations import Autoscaler
from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
from drdeploy.hosting.local.api.utilization import UtilizationSampler
from drdeploy.hosting.local.asynchronous_inference.queues import (
    AsynchronousQueues,
    claim_queue_folder,
)
from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
from drdeploy.hosting.local.endpoints.data_capture import CaptureLog
from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
from drdeploy.hosting.local.endpoints.instance_logs import InstanceLogs
from drdeploy.hosting.local.http_server import HttpServer
from drdeploy.hosting.local.instances import service_folders
from drdeploy.hosting.local.instances.cgroups import find_control_groups
from drdeploy.hosting.local.instances.processes import SERVER_COMMAND, ProcessBackend
from drdeploy.hosting.local.options import IsolationChoice, ServiceOptions
from drdeploy.hosting.local.registry.ecr_login import USER
from drdeploy.hosting.local.registry.routes import ImageRegistry
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.local.instances.instance import InstanceBackend, Isolation

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Seconds between two rounds of maintenance, which stop idle instances, replace ended instances and
write metrics."""


class LocalService:
    """A SageMaker-compatible service on one loopback port of this machine.

    >>> with LocalService(port=0) as service:
    ...     client = boto3.client("sagemaker", endpoint_url=service.url)

    Args:
        port: The port to listen on; 0 takes a free port.
        isolation: Whether instances run in containers or in processes.  With ``auto``, instances
            run in containers if a container engine answers, and in processes otherwise.
        options: The options of the service, for example how long idle instances stay.
        shared: Whether other users share this machine. On a shared machine, every request must be
            signed with :attr:`access_key`, and only the service can reach the instances.
        server_command: The command that starts the model server if instances are processes.

    Attributes:
        access_key: The key of a shared service; None if every program on this machine may use the
            service.

    Raises:
        InvalidInput: The port is in use, other users can write to the service's folder, the queue
            folder cannot be used, or the instances cannot be restricted or hidden as ``options`` or
            ``shared`` asks.
        EngineUnavailable: Containers were chosen, and no container engine answers.
        EngineMisconfigured: The container engine that the user has configured cannot be used.
        MissingExtra: The extra ``study`` is not installed.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        isolation: IsolationChoice = "auto",
        options: ServiceOptions | None = None,
        shared: bool = False,
        server_command: Sequence[str] = SERVER_COMMAND,
    ) -> None:
        with turn_import_error_into_missing_extra(
            "study", "The local service"
        ):  # before the port is taken
            import moto.core  # noqa: F401
            import psutil  # noqa: F401
        with ExitStack() as undo:  # if the disk is full, for example
            self._assemble(undo, port, isolation, options, server_command, shared=shared)
            undo.pop_all()

    def _assemble(
        self,
        undo: ExitStack,
        port: int,
        isolation: IsolationChoice,
        options: ServiceOptions | None,
        server_command: Sequence[str],
        *,
        shared: bool,
    ) -> None:
        """Make the parts of the service; if a part fails, ``undo`` closes the earlier parts."""
        self._engine = _find_engine_for_isolation(isolation)
        if self._engine is not None:
            undo.callback(self._engine.close)
        if self._engine is None and options is not None and options.strict_containers:
            raise InvalidInput(
                "Processes cannot be restricted like containers",
                where="--strict",
                remedy="Omit --strict, or choose --isolation container",
            )
        self._server = HttpServer(port, lambda request: self._router.admit_request(request))  # noqa: PLW0108  made below
        undo.callback(self._server.server_close)
        remove_stale_services(self._engine)
        self.access_key = AccessKey.generate() if shared else None
        self._record, self._folder = service_folders.create_service_folder(
            self._server.server_port, self.access_key
        )
        undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._aws = SimulatedAws()
        self._metrics = MetricLog(self._aws.put_metric_data)
        self._utilization = UtilizationSampler(self._aws.put_metric_data, Clock())
        self._component_sampler = ComponentSampler(self._aws.put_metric_data, Clock())
        self._captures = CaptureLog(self._aws.put_object)
        registry = ImageRegistry(self._folder / "registry")
        options = options or ServiceOptions()
        self._fleet = InstanceFleet(
            self._record.name,
            self._make_backend(registry, server_command, options),
            ArtifactCache(self._folder / "artifacts", self._aws.read_object, self._aws.read_files),
            options,
            policies_of_role=self._aws.find_policies_of_role,
            state_of_alarm=self._aws.find_state_of_alarm,
            problem_with_key=self._aws.find_problem_with_key,
            has_bucket=self._aws.has_bucket,
            logs=InstanceLogs(self._aws.put_log_lines),
            has_object=self._aws.has_object,
            has_topic=self._aws.has_topic,
        )
        self._claim_on_queue_folder = claim_queue_folder(options.queue_folder)
        undo.callback(self._claim_on_queue_folder.close)
        self._queues = AsynchronousQueues(
            self._choose_queue_folder(port, options),
            self._record.name,
            self._aws,
            lambda outcome: self._metrics.queue_metrics(AsynchronousRequestMetrics(outcome)),
            self._fleet.clock,
        )
        self._backlogs = BacklogSampler(self._aws.put_metric_data, self._queues, self._fleet.clock)
        self._router = ApiRouter(
            self._fleet,
            self._aws,
            InvocationLogs(self._metrics, self._captures),
            registry,
            self.status,
            queues=self._queues,
            backlogs=self._backlogs,
            key=self.access_key,
        )
        self._scaling = Autoscaler(self._router.find_variant, self._router.has_lost_scaled_resource)
        self._is_over = threading.Event()
        self._ticker = threading.Thread(
            target=self._run_maintenance_loop, name="maintain-workers", daemon=True
        )

    @property
    def url(self) -> str:
        """The URL to pass to boto3 as ``endpoint_url``."""
        return f"http://{LOOPBACK}:{self._server.server_port}"

    @property
    def registry(self) -> str:
        """The host and port of the image registry."""
        return f"{LOOPBACK}:{self._server.server_port}"

    @property
    def engine(self) -> str | None:
        """The container engine that runs the instances, and its address.

        None if the instances are processes of this machine instead of containers.
        """
        return self._engine.version_and_address if self._engine else None

    @property
    def isolation(self) -> Isolation:
        """Whether instances run in containers or in processes, and how they are limited."""
        return self._fleet.backend.isolation

    def start(self) -> None:
        """Start answering requests.

        Raises:
            OSError: The service could not start, for example because the disk is full. The parts
                that had started are stopped before the error is raised.
        """
        try:
            self._aws.import_moto()
            self._server.start()
            self._ticker.start()
        except BaseException:  # also an interruption, after which nobody calls stop()
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the service and its instances, and remove its files; a second call does nothing."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._server.stop()
        for control_plane in self._router.list_control_planes():
            control_plane.transform_jobs.stop_all_jobs()
        self._queues.stop()
        self._fleet.stop()
        self._report_queued_requests()
        self._claim_on_queue_folder.close()
        self._captures.write_queued_captures()
        if self._engine is not None:
            self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def status(self) -> dict[str, Any]:
        """Return the status of the service: address, isolation, limits and endpoints."""
        options = self._fleet.options
        captures = self._captures.capture_counts
        return {
            "url": self.url,
            "pid": self._record.pid,
            "isolation": self.isolation,
            "shared": self.access_key is not None,
            "engine": self._engine.name_and_version if self._engine else None,
            "engine_location": str(self._engine.location) if self._engine else None,
            "cpus": self._fleet.cpus,
            "mb_per_vcpu": options.mb_per_vcpu,
            "idle_s": options.idle_s,
            "instances": self._fleet.count_live_instances(),
            "captured_requests": captures.written,
            "lost_captures": captures.lost,
            "queue_folder": str(self._queues.folder),
            "endpoints": [
                {
                    "region": control_plane.account_region.region,
                    "name": endpoint.name,
                    "status": endpoint.status,
                }
                for control_plane in self._router.list_control_planes()
                for endpoint in control_plane.endpoints.list_resources()
            ],
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_backend(
        self, registry: ImageRegistry, server_command: Sequence[str], options: ServiceOptions
    ) -> InstanceBackend:
        if self._engine is None:
            groups = find_control_groups(self._record.name)
            return ProcessBackend(
                self._folder, groups, server_command, profile_of=registry.find_profile_of_image
            )
        from drdeploy.hosting.local.instances.containers import ContainerBackend

        return ContainerBackend(
            self._engine,
            self._record.name,
            self.registry,
            has_image=registry.has_image,
            credentials=self._make_registry_login,
            shared=self.access_key is not None,
            is_strict=options.strict_containers,
        )

    def _choose_queue_folder(self, port: int, options: ServiceOptions) -> Path:
        if options.queue_folder is not None:
            return options.queue_folder
        if port:
            return service_folders.make_services_folder() / f"asynchronous-{port}"
        return self._folder / "asynchronous"

    def _report_queued_requests(self) -> None:
        """Log how many unfinished requests stay on disk, or are deleted with the service."""
        for (region, name), count in self._queues.count_requests_by_endpoint().items():
            if self._queues.folder.is_relative_to(self._folder):
                what = "are deleted with this service, which chose a free port"
            else:
                what = f"stay in {self._queues.folder} until endpoint {name} exists again"
            log.warning("%d requests of endpoint %s (%s) %s", count, name, region, what)

    def _make_registry_login(self) -> dict[str, str] | None:
        if self.access_key is None:
            return None
        password = self.access_key.make_registry_password(time.time())
        return {"username": USER, "password": password}

    def _run_maintenance_loop(self) -> None:
        while not self._is_over.wait(TICK_S):
            try:
                self._metrics.write_queued_metrics()
                self._captures.write_queued_captures()
                self._fleet.logs.fetch_lines_without_times()
                for control_plane in self._router.list_control_planes():
                    endpoints = control_plane.endpoints.list_resources()
                    for endpoint in endpoints:
                        endpoint.maintain_workers()
                    for component in control_plane.components.list_resources():
                        component.maintain_workers()
                    region = control_plane.account_region.region
                    self._queues.match_dispatchers_to_endpoints(region, endpoints)
                    self._utilization.write_due_samples(region, endpoints)
                    components = control_plane.components.list_resources()
                    self._component_sampler.write_due_samples(region, components)
                    self._utilization.write_due_samples_of_jobs(
                        control_plane.transform_jobs.store.list_resources()
                    )
                self._backlogs.write_due_samples()
                self._aws.evaluate_due_alarms()
                self._scaling.scale_due_targets(time.time())
            except Exception:
                # An error with one endpoint must not end the thread that maintains all endpoints.
                log.exception("a round of maintenance failed")


def remove_stale_services(engine: ContainerEngine | None = None) -> None:
    """Remove the processes, groups, containers and files of killed services.

    Args:
        engine: The container engine. If it is None, this function looks for an engine, but only if
            there is a service to remove.
    """

    def remove_leftovers_of_service(name: str) -> None:
        from drdeploy.hosting.container_engine import ContainerEngine

        groups = find_control_groups(name)
        if groups is not None:
            groups.remove()
        # An engine is needed even if the new service runs processes. The folder of the killed
        # service is removed, and nobody would find its containers afterwards.
        found = engine or ContainerEngine.find()
        if found is not None:
            found.remove_containers_with_label(f"{service_folders.LABEL}={name}")
            found.remove_unused_networks(f"{service_folders.LABEL}={name}")

    try:
        removed = service_folders.remove_stale_services(remove_leftovers_of_service)
    except EngineMisconfigured as err:
        # The services' folders stay too, so a later start with a usable engine finds the
        # containers.
        log.warning("the remains of killed services are not removed: %s", err)
        return
    for name in removed:
        log.warning("the remains of the killed service %s are removed", name)


def _find_engine_for_isolation(isolation: IsolationChoice) -> ContainerEngine | None:
    if isolation == "process":
        return None
    from drdeploy.hosting.container_engine import ContainerEngine

    try:
        return ContainerEngine.find_or_raise()
    except EngineUnavailable as err:
        if isolation == "container":
            raise EngineUnavailable(
                err.what, where=err.where, remedy=f"{err.remedy}; or choose --isolation process"
            ) from err
        log.warning("endpoints run as processes: %s (%s)", err.what, err.where)
        return None

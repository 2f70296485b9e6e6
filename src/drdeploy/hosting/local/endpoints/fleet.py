"""Choose the size of the instances on this machine, and start, count and stop them."""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import count_available_cpus
from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.endpoints.instance_client import InstanceClient
from drdeploy.hosting.local.endpoints.instance_logs import InstanceLogs
from drdeploy.hosting.local.endpoints.restart_loops import refuse_restart_loop
from drdeploy.hosting.local.endpoints.worker import InstanceWorker, wait_until_ready
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    Instance,
    InstanceBackend,
    InstanceSpec,
    ModelRefused,
    PinnedImage,
    ServiceStopping,
)
from drdeploy.hosting.local.request_constraints import is_network_isolated
from drdeploy.hosting.sagemaker import Clock, api_limits, find_instance_resources
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drdeploy.files import Json
    from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
    from drdeploy.hosting.local.endpoints.execution_role import RolePolicies
    from drdeploy.hosting.local.endpoints.instance_logs import LogOrigin
    from drdeploy.hosting.local.options import ServiceOptions

log = logging.getLogger(__name__)

SERVERLESS_START_S = 180.0
"""Seconds within which a serverless container must load its model and answer a ping (developer
guide, "Invoke a serverless endpoint").
"""
REAL_TIME_START_S = 240.0
"""Seconds that a real-time container may take to start, unless the variant sets
``ContainerStartupHealthCheckTimeoutInSeconds``."""
SHUTDOWN_GRACE_S = 3.0
"""Seconds between SIGTERM and SIGKILL when the whole service stops. The time is short, because no
client waits any more."""
STOPPING_THREADS = 16


@dataclass(frozen=True)
class InstanceSize:
    """The size of an instance, and the time that it may take to start.

    Attributes:
        memory_mb: The memory limit, MiB.
        cpus: The CPU limit, in seconds of CPU time per second.
        start_s: The seconds within which the instance must answer ``GET /ping``.
        is_serverless: Whether the instance belongs to a serverless endpoint.
    """

    memory_mb: int
    cpus: float
    start_s: float
    is_serverless: bool


class InstanceFleet:
    """All instances on this machine; safe to use from several threads.

    Args:
        name: The prefix of the name of every instance.
        backend: The backend that starts instances as containers or as processes.
        artifacts: The cache that extracts the model archives for instances.
        options: The options that the user of the service has set.
        policies_of_role: A function that takes the ARN of a role and returns its policies; None if
            the role does not exist.
        state_of_alarm: A function that takes a region and the name of an alarm, and returns the
            state of the alarm, or None for a missing alarm.
        problem_with_key: A function that takes a region and a KMS key and returns why the key
            cannot encrypt; empty if it can.
        has_bucket: A function that returns whether S3 has a bucket of this name.
        logs: The logs of the instances.
        has_object: A function that returns whether S3 has the object that an ``s3://bucket/key``
            URI names.
        has_topic: A function that returns whether SNS has the topic with a given ARN.
        clock: The clock that measures the duration of starts.
    """

    def __init__(
        self,
        name: str,
        backend: InstanceBackend,
        artifacts: ArtifactCache,
        options: ServiceOptions,
        *,
        policies_of_role: Callable[[str], RolePolicies | None] = lambda _: None,
        state_of_alarm: Callable[[str, str], str | None] = lambda _region, _name: None,
        problem_with_key: Callable[[str, str], str] = lambda _region, _key: "",
        has_bucket: Callable[[str], bool] = lambda _: True,
        logs: InstanceLogs | None = None,
        has_object: Callable[[str], bool] = lambda _: True,
        has_topic: Callable[[str], bool] = lambda _: True,
        clock: Clock | None = None,
    ) -> None:
        import psutil

        self.backend = backend
        self.artifacts = artifacts
        self.options = options
        self.policies_of_role = policies_of_role
        self.state_of_alarm = state_of_alarm
        self.problem_with_key = problem_with_key
        self.has_bucket = has_bucket
        self.logs = logs or InstanceLogs(lambda _name, _lines: None)
        self.has_object = has_object
        self.has_topic = has_topic
        self.clock = clock or Clock()
        self.cpus = count_available_cpus()
        self.memory_mb = int(psutil.virtual_memory().total) // MIB
        self._name = name
        self._numbers = itertools.count(1)
        self._live: set[Instance] = set()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._stopping_threads = ThreadPoolExecutor(STOPPING_THREADS, thread_name_prefix="stop")

    def refuse_unsupported_model(self, environment: Mapping[str, str], request: Json) -> None:
        """Refuse a model that SageMaker can run, but instances on this machine cannot.

        Args:
            environment: The environment variables of the model.
            request: The request that says whether the model is isolated from the network.

        Raises:
            ApiError: The backend refuses the model.
        """
        try:
            self.backend.check_model(environment, isolated=is_network_isolated(request))
        except ModelRefused as err:
            raise make_validation_error(f"{err.what}.") from err

    def compute_serverless_size(self, memory_mb: int) -> InstanceSize:
        """Return a serverless worker's size, with CPU in proportion to memory.

        SageMaker does not publish how much CPU comes with a memory size. Serverless Inference
        "integrates with AWS Lambda" (developer guide), which gives one vCPU for every 1769 MB.
        """
        vcpu = api_limits.estimate_vcpu_from_memory(memory_mb, mb_per_vcpu=self.options.mb_per_vcpu)
        return InstanceSize(memory_mb, min(vcpu, self.cpus), SERVERLESS_START_S, is_serverless=True)

    def compute_instance_size(self, instance_type: str, start_s: float | None) -> InstanceSize:
        """Return the size of an ``ml.*`` type, limited to the resources of this machine.

        The instance may take ``start_s`` seconds to start; None means SageMaker's default.

        Raises:
            InvalidInput: The vCPUs and the memory of the instance type are not known.
        """
        resources = find_instance_resources(instance_type)
        return InstanceSize(
            min(resources.memory_mb, self.memory_mb),
            min(float(resources.vcpu), self.cpus),
            start_s or REAL_TIME_START_S,
            is_serverless=False,
        )

    def launch_instance(
        self,
        image: PinnedImage,
        model_dir: Path | None,
        environment: Mapping[str, str],
        size: InstanceSize,
        *,
        origin: LogOrigin,
        full_cpu: bool = False,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> InstanceWorker:
        """Start a worker and wait until it is ready.

        Args:
            image: The pinned image.
            model_dir: The extracted model archive, or None for a model without an archive.
            environment: The model's environment variables.
            size: The size of the instance, and the time that it may take to start.
            origin: What the instance belongs to, for example a variant of an endpoint. The origin
                determines the log stream of the instance.
            full_cpu: Whether the instance gets all CPUs of the machine, instead of as many as
                ``size`` says.
            is_wanted: A function that returns whether the instance is still needed. If it returns
                false, the start is broken off.

        Raises:
            StartFailed: The service is stopping, or the instance did not start, ended, ran out of
                memory, was not ready in time, or is no longer needed. An instance that did start
                has been stopped and removed.
        """
        spec = InstanceSpec(
            name=f"{self._name}-{next(self._numbers)}",
            image=image,
            model_dir=model_dir,
            environment=environment,
            memory_mb=size.memory_mb,
            cpus=self.cpus if full_cpu else size.cpus,
            is_serverless=size.is_serverless,
        )
        begin = self.clock.monotonic()
        instance = self._start_instance(spec)
        try:
            self.logs.add_instance(instance, origin)
            wait_until_ready(instance, begin + size.start_s, self.clock, is_wanted)
        except BaseException:  # also if this process may open no more files
            log.warning(
                "%s did not start; the end of its log: %s", spec.name, instance.read_log_tail()
            )
            self._stop_instance(instance, 0.0)
            raise
        now = self.clock.monotonic()
        return InstanceWorker(instance, now - begin, now, InstanceClient(instance.connect))

    def refuse_restart_loop(self, worker: InstanceWorker, image: PinnedImage) -> None:
        """Raise :class:`StartFailed` if the server in a container restarts its workers endlessly.

        This project's own model server is not checked. Its workers themselves answer ``GET /ping``,
        so an answered ping shows that they run.
        """
        if not image.is_own:
            refuse_restart_loop(worker.instance, self.clock)

    def retire_instance(self, worker: InstanceWorker) -> Future[None]:
        """Stop a worker in the background."""
        worker.client.close_idle_connections()
        try:
            return self._stopping_threads.submit(self._stop_instance, worker.instance, STOP_GRACE_S)
        except RuntimeError:  # the service has stopped meanwhile, with all its instances
            stopped: Future[None] = Future()
            stopped.set_result(None)
            return stopped

    def kill_unused_worker(self, worker: InstanceWorker) -> None:
        """Kill a worker that never had a request, and wait until it has ended."""
        worker.client.close_idle_connections()
        self._stop_instance(worker.instance, 0.0)

    def count_live_instances(self) -> int:
        """Return the number of instances that run or are starting."""
        with self._lock:
            live = tuple(self._live)
        # Without the lock, because an engine takes milliseconds to answer for each instance.
        dead = {instance for instance in live if not instance.is_alive()}
        with self._lock:
            self._live -= dead
            return len(self._live)

    def stop(self) -> None:
        """Stop all instances, including instances that are starting, and start no more."""
        with self._lock:
            self._is_stopping = True
            live = tuple(self._live)
        for instance in live:
            self._stopping_threads.submit(self._stop_instance, instance, SHUTDOWN_GRACE_S)
        self._stopping_threads.shutdown(wait=True)
        self.backend.close()

    def _start_instance(self, spec: InstanceSpec) -> Instance:
        if self._is_stopping:
            raise ServiceStopping("The service is stopping")
        instance = self.backend.start_instance(spec)
        with self._lock:
            self._live.add(instance)
            is_late = self._is_stopping
        if is_late:  # stop() ran during the start, and did not stop this instance
            instance.stop(0)
            raise ServiceStopping("The service is stopping")
        return instance

    def _stop_instance(self, instance: Instance, grace_s: float) -> None:
        try:
            instance.stop(grace_s)
            self.logs.finish_instance(instance)
        except Exception:
            log.exception("%s does not stop", instance.name)
        with self._lock:
            self._live.discard(instance)

"""Every instance on this machine: sized as SageMaker would, started, counted, stopped."""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import available_cpus
from drdeploy.hosting.local.endpoints.instance_client import InstanceClient
from drdeploy.hosting.local.endpoints.worker import InstanceWorker, wait_until_ready
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    Instance,
    InstanceBackend,
    InstanceSpec,
    ServiceStopping,
    StartFailed,
)
from drdeploy.hosting.sagemaker import Clock, instance_resources, quotas
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
    from drdeploy.hosting.local.options import ServiceOptions

log = logging.getLogger(__name__)

SERVERLESS_START_S = 180.0
"""A serverless container must load its model and answer a ping within this time (developer guide,
"Invoke a serverless endpoint")."""
REAL_TIME_START_S = 240.0
"""How long a real-time container may take to start, unless the variant sets
``ContainerStartupHealthCheckTimeoutInSeconds``."""
SHUTDOWN_GRACE_S = 3.0
"""Between SIGTERM and SIGKILL when the whole service stops: nobody waits for answers any more."""
STOPPING_THREADS = 16


@dataclass(frozen=True)
class InstanceSize:
    """How large an instance is, and how long it may take to start.

    Attributes:
        memory_mb: Memory limit, MiB.
        cpus: CPU time per wall-clock time.
        start_s: Seconds until it must have answered ``GET /ping``.
    """

    memory_mb: int
    cpus: float
    start_s: float


class InstanceFleet:
    """Every instance on this machine; safe to use from several threads.

    Args:
        name: Prefix of every instance's name.
        backend: What instances run in.
        artifacts: Extracts the model archives that instances read.
        options: What the user of the service set.
        policies_of_role: Returns a role's policies by its ARN; None where there is no such role.
        clock: Measures starts.
    """

    def __init__(
        self,
        name: str,
        backend: InstanceBackend,
        artifacts: ArtifactCache,
        options: ServiceOptions,
        *,
        policies_of_role: Callable[[str], list[str] | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        import psutil

        self.backend = backend
        self.artifacts = artifacts
        self.options = options
        self.policies_of_role = policies_of_role
        self.clock = clock or Clock()
        self.cpus = available_cpus()
        self.memory_mb = int(psutil.virtual_memory().total) // MIB
        self._name = name
        self._numbers = itertools.count(1)
        self._live: set[Instance] = set()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._stopping_threads = ThreadPoolExecutor(STOPPING_THREADS, thread_name_prefix="stop")

    def serverless_size(self, memory_mb: int) -> InstanceSize:
        """Return a serverless worker's size: CPU in proportion to memory, if there is as much.

        SageMaker does not publish the proportion.  Serverless Inference "integrates with AWS
        Lambda" (developer guide), which gives one vCPU for every 1769 MB.
        """
        vcpu = quotas.vcpu_of_memory(memory_mb, mb_per_vcpu=self.options.mb_per_vcpu)
        return InstanceSize(memory_mb, min(vcpu, self.cpus), SERVERLESS_START_S)

    def instance_size(self, instance_type: str, start_s: float | None) -> InstanceSize:
        """Return an ``ml.*`` type's size, cut to what this machine has.

        It may take ``start_s`` seconds to start; None is SageMaker's default.

        Raises:
            InvalidInput: vCPU and memory of the type are not known.
        """
        resources = instance_resources(instance_type)
        return InstanceSize(
            min(resources.memory_mb, self.memory_mb),
            min(float(resources.vcpu), self.cpus),
            start_s or REAL_TIME_START_S,
        )

    def launch(
        self,
        image: str,
        model_dir: Path,
        environment: Mapping[str, str],
        size: InstanceSize,
        *,
        full_cpu: bool = False,
    ) -> InstanceWorker:
        """Start a worker and wait until it is ready.

        Args:
            image: The pinned image.
            model_dir: The extracted model archive.
            environment: The model's environment variables.
            size: Memory, CPU and time to start.
            full_cpu: Whether it gets all of the machine's CPUs instead of the size's.

        Raises:
            StartFailed: It ended, ran out of memory, or was not ready in time; it has then been
                stopped and removed.
        """
        spec = InstanceSpec(
            name=f"{self._name}-{next(self._numbers)}",
            image=image,
            model_dir=model_dir,
            environment=environment,
            memory_mb=size.memory_mb,
            cpus=self.cpus if full_cpu else size.cpus,
        )
        begin = self.clock.monotonic()
        instance = self._start(spec)
        try:
            wait_until_ready(instance, begin + size.start_s, self.clock)
        except StartFailed:
            log.warning("%s did not start; the end of its log: %s", spec.name, instance.log_tail())
            instance.stop(0)
            raise
        now = self.clock.monotonic()
        return InstanceWorker(instance, now - begin, now, InstanceClient(instance.port))

    def retire(self, worker: InstanceWorker) -> Future[None]:
        """Stop a worker in the background."""
        worker.client.close()
        return self._stopping_threads.submit(self._stop, worker.instance, STOP_GRACE_S)

    def discard(self, worker: InstanceWorker) -> None:
        """Kill a worker that never had a request, and wait until it is gone."""
        worker.client.close()
        self._stop(worker.instance, 0.0)

    def count(self) -> int:
        """Return how many instances run or are starting."""
        with self._lock:
            live = tuple(self._live)
        # Without the lock: an engine takes milliseconds to answer for each.
        dead = {instance for instance in live if not instance.is_alive()}
        with self._lock:
            self._live -= dead
            return len(self._live)

    def stop(self) -> None:
        """Stop every instance, starting ones included, and start none from now on."""
        with self._lock:
            self._is_stopping = True
            live = tuple(self._live)
        for instance in live:
            self._stopping_threads.submit(self._stop, instance, SHUTDOWN_GRACE_S)
        self._stopping_threads.shutdown(wait=True)
        self.backend.close()

    def _start(self, spec: InstanceSpec) -> Instance:
        if self._is_stopping:
            raise ServiceStopping("The service is stopping")
        instance = self.backend.start(spec)
        with self._lock:
            self._live.add(instance)
            is_late = self._is_stopping
        if is_late:  # stop() ran while the backend started it, and does not know it
            instance.stop(0)
            raise ServiceStopping("The service is stopping")
        return instance

    def _stop(self, instance: Instance, grace_s: float) -> None:
        try:
            instance.stop(grace_s)
        except Exception:
            log.exception("%s does not stop", instance.name)
        with self._lock:
            self._live.discard(instance)

"""This machine: what it can give to instances, and every instance that runs on it."""

from __future__ import annotations

import itertools
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.grader.runtimes.cpu_limit import available_cpus
from drdeploy.hosting.local.endpoints.worker import InstanceWorker, launch
from drdeploy.hosting.local.instances.instance import InstanceSpec, ServiceStopping
from drdeploy.hosting.sagemaker import quotas
from drdeploy.hosting.sagemaker.clock import Clock
from drdeploy.hosting.sagemaker.instance_types import instance_resources
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
    from drdeploy.hosting.local.instances.instance import Instance, InstanceBackend
    from drdeploy.hosting.local.options import ServiceOptions

log = logging.getLogger(__name__)

SERVERLESS_START_S = 180.0
"""A serverless container loads and answers a ping within this time (developer guide)."""
REAL_TIME_START_S = 240.0
"""As long for a real-time one, unless ContainerStartupHealthCheckTimeoutInSeconds says more."""
STOPPERS = 16
SHUTDOWN_GRACE_S = 3.0


@dataclass(frozen=True)
class InstanceSize:
    """Memory and CPU of an instance, and the time it has to start."""

    memory_mb: int
    cpus: float
    start_s: float


class InstanceFleet:
    """Starts workers, remembers them, and stops them all in the end.

    Args:
        name: Begins every instance's name.
        backend: What instances run in.
        shelf: Where their artifacts come from.
        options: What the user set.
        policies_of_role: By the role's ARN; None where there is no such role.
        clock: For waiting.
    """

    def __init__(
        self,
        name: str,
        backend: InstanceBackend,
        shelf: ArtifactCache,
        options: ServiceOptions,
        *,
        policies_of_role: Callable[[str], list[str] | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self.policies_of_role = policies_of_role
        self.backend = backend
        self.shelf = shelf
        self.options = options
        self.clock = clock or Clock()
        self.cpus = available_cpus()
        self.memory_mb = _memory_mb()
        self._name = name
        self._numbers = itertools.count(1)
        self._live: set[Instance] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._stoppers = ThreadPoolExecutor(STOPPERS, thread_name_prefix="stop")

    def serverless_size(self, memory_mb: int) -> InstanceSize:
        """CPU in proportion to memory, as far as there is any."""
        vcpu = quotas.vcpu_of_memory(memory_mb, mb_per_vcpu=self.options.mb_per_vcpu)
        return InstanceSize(memory_mb, min(vcpu, self.cpus), SERVERLESS_START_S)

    def instance_size(self, instance_type: str, start_s: float | None) -> InstanceSize:
        """An ``ml.*`` type's resources, as far as this machine has them.

        Raises:
            InvalidInput: The type's resources are not known.
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

        Raises:
            StartFailed: It did not get ready; nothing of it remains.
        """
        spec = InstanceSpec(
            name=f"{self._name}-{next(self._numbers)}",
            image=image,
            model_dir=model_dir,
            environment=environment,
            memory_mb=size.memory_mb,
            cpus=self.cpus if full_cpu else size.cpus,
        )
        return launch(self._start, spec, timeout_s=size.start_s, clock=self.clock)

    def retire(self, worker: InstanceWorker) -> Future[None]:
        """Stop a worker without waiting for its end."""
        return self._stoppers.submit(self._stop, worker.stop, worker.instance)

    def discard(self, worker: InstanceWorker) -> None:
        """Kill a worker that never had a request, and wait for its end."""
        self._stop(worker.stop, worker.instance, 0.0)

    def count(self) -> int:
        """Instances that are up or on their way."""
        self._forget_dead()
        with self._lock:
            return len(self._live)

    def stop(self) -> None:
        """Stop every instance, also those still starting; start none from now on."""
        with self._lock:
            self._stopping = True
            live = tuple(self._live)
        for instance in live:
            self._stoppers.submit(self._stop, instance.stop, instance, SHUTDOWN_GRACE_S)
        self._stoppers.shutdown(wait=True)
        self.backend.close()

    def _start(self, spec: InstanceSpec) -> Instance:
        if self._stopping:
            raise ServiceStopping("The service is stopping")
        instance = self.backend.start(spec)
        with self._lock:
            self._live.add(instance)
            is_late = self._stopping
        if is_late:
            instance.stop(0)
            raise ServiceStopping("The service is stopping")
        return instance

    def _stop(self, stop: Callable[..., None], instance: Instance, *arguments: float) -> None:
        try:
            stop(*arguments)
        except Exception:
            log.exception("%s does not stop", instance.name)
        with self._lock:
            self._live.discard(instance)

    def _forget_dead(self) -> None:
        with self._lock:
            live = tuple(self._live)
        dead = {instance for instance in live if not instance.is_alive()}
        with self._lock:
            self._live -= dead


def _memory_mb() -> int:
    import psutil

    return int(psutil.virtual_memory().total) // MIB

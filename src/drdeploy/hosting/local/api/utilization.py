"""Measure once a minute how much CPU, memory and disk the instances on this machine use.

Source: SageMaker AI developer guide, "Amazon SageMaker AI metrics in Amazon CloudWatch", the table
of endpoint instance metrics. Serverless endpoints have no metrics of CPU, memory and disk. The
first values of an instance are written as soon as it is in service. The first value of an
instance's CPU use is its average since the start of the instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from drdeploy.hosting.local.api.metrics import make_datum, make_dimensions
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.instances.instance import make_ec2_instance_id
from drdeploy.hosting.sagemaker.cloudwatch import ENDPOINTS, TRANSFORM_JOBS
from drdeploy.units import PERCENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from drdeploy.hosting.local.batch_transform.job import TransformJob
    from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.instances.instance import ResourceUse
    from drdeploy.hosting.sagemaker import Clock

EVERY_S = 60.0
"""Seconds between two measurements of an instance, as on AWS. A container engine takes about 35 ms
to measure one instance."""


@dataclass(frozen=True)
class _Reading:
    """The last measurement of an instance, and the time at which the measurement was due."""

    due_s: float
    use: ResourceUse | None


class UtilizationSampler:
    """Measures the instances of real-time variants and of transform jobs; used by one thread.

    Args:
        put: Called as ``put(region, namespace, data)`` to write data to a region's CloudWatch.
        clock: The clock that gives the time of each measurement.
    """

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._readings: WeakKeyDictionary[InstanceWorker, _Reading] = WeakKeyDictionary()

    def write_due_samples(self, region: str, endpoints: Iterable[LocalEndpoint]) -> None:
        """Measure every instance of the endpoints that was not measured during the last minute."""
        for endpoint in endpoints:
            for variant in endpoint.list_variants_in_service():
                if isinstance(variant.pool, RealTimePool):
                    for worker in variant.pool.workers():
                        dimensions = make_dimensions(endpoint.name, variant.name)
                        self._measure_if_due(region, ENDPOINTS, dimensions, worker)

    def write_due_samples_of_jobs(self, jobs: Iterable[TransformJob]) -> None:
        """Measure every instance of the jobs that was not measured during the last minute."""
        for job in jobs:
            for worker in job.list_workers():
                host = f"{job.name}/{make_ec2_instance_id(worker.instance)}"
                dimensions = [{"Name": "Host", "Value": host}]
                self._measure_if_due(job.region, TRANSFORM_JOBS, dimensions, worker)

    def _measure_if_due(
        self,
        region: str,
        namespace: str,
        dimensions: list[dict[str, str]],
        worker: InstanceWorker,
    ) -> None:
        now_s = self._clock.monotonic()
        last = self._readings.get(worker)
        if last is not None and now_s < last.due_s + EVERY_S:
            return
        use = worker.instance.read_resource_use()
        self._readings[worker] = _Reading(now_s, use)
        if use is None:
            return
        before = last.use if last is not None else None
        cpu_s, seconds = use.cpu_s, use.age_s
        if before is not None:
            cpu_s, seconds = cpu_s - before.cpu_s, seconds - before.age_s
        shares = {
            "CPUUtilization": cpu_s / seconds if seconds > 0 else None,
            "MemoryUtilization": use.memory_share,
            "DiskUtilization": use.disk_share,
        }
        at = self._clock.now()
        data = [
            make_datum(name, max(0.0, share) * PERCENT, "Percent", dimensions, at)
            for name, share in shares.items()
            if share is not None
        ]
        self._put(region, namespace, data)

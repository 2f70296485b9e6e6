"""Measure inference components at regular intervals, and write the metrics to CloudWatch.

- ``ConcurrentRequestsPerCopy`` is written every ten seconds, like SageMaker's high-resolution
  metric. ``InvocationsPerCopy`` is written as 0 once a minute, so that even a component without
  requests has data. Target tracking acts only if there is data. Without these zeros, it would
  never remove an idle component's copies (developer guide, "Scale an endpoint to zero instances").
- The CPU and memory that each copy uses are written once a minute, as a share of what the copy
  reserves. The source is the developer guide ("Amazon SageMaker AI metrics in Amazon CloudWatch",
  inference component metrics).

A component without copies has no metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from drdeploy.hosting.local.api.metrics import (
    make_component_dimensions,
    make_datum,
)
from drdeploy.hosting.sagemaker.cloudwatch import INFERENCE_COMPONENTS, METRICS_NAMESPACE
from drdeploy.units import PERCENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.inference_components.component import InferenceComponent
    from drdeploy.hosting.local.inference_components.deployment import ComponentDeployment
    from drdeploy.hosting.local.instances.instance import ResourceUse
    from drdeploy.hosting.sagemaker import Clock

LOAD_EVERY_S = 10.0
USE_EVERY_S = 60.0


class ComponentSampler:
    """Measures inference components, and writes their metrics; used by one thread only.

    Args:
        put: Called as ``put(region, namespace, data)`` to write data to a region's CloudWatch.
        clock: The clock that gives the time of each measurement.
    """

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._load_due: WeakKeyDictionary[InferenceComponent, float] = WeakKeyDictionary()
        self._use_due: WeakKeyDictionary[InferenceComponent, float] = WeakKeyDictionary()
        self._last_use: WeakKeyDictionary[InstanceWorker, ResourceUse] = WeakKeyDictionary()

    def write_due_samples(self, region: str, components: Iterable[InferenceComponent]) -> None:
        """Measure every component for which the next measurement is due."""
        now_s = self._clock.monotonic()
        for component in components:
            deployment = component.find_deployment_in_service()
            copies = deployment.copies if deployment is not None else None
            workers = copies.pool.workers() if copies is not None else ()
            if deployment is None or copies is None or not workers:
                continue
            dimensions = make_component_dimensions(component.name)
            if self._claim_measurement_if_due(self._load_due, component, now_s, LOAD_EVERY_S):
                requests = copies.pool.measure_load().requests
                self._write_metrics(
                    region,
                    METRICS_NAMESPACE,
                    [("ConcurrentRequestsPerCopy", requests / len(workers), "None")],
                    dimensions,
                )
            if self._claim_measurement_if_due(self._use_due, component, now_s, USE_EVERY_S):
                zero = [("InvocationsPerCopy", 0.0, "None")]
                self._write_metrics(region, METRICS_NAMESPACE, zero, dimensions)
                for worker in workers:
                    use = self._measure_use_of_copy(deployment, worker)
                    self._write_metrics(region, INFERENCE_COMPONENTS, use, dimensions)

    @staticmethod
    def _claim_measurement_if_due(
        due: WeakKeyDictionary[InferenceComponent, float],
        component: InferenceComponent,
        now_s: float,
        every_s: float,
    ) -> bool:
        if now_s < due.get(component, now_s):
            return False
        due[component] = now_s + every_s
        return True

    def _measure_use_of_copy(
        self, deployment: ComponentDeployment, worker: InstanceWorker
    ) -> list[tuple[str, float, str]]:
        use = worker.instance.read_resource_use()
        if use is None:
            return []
        last = self._last_use.get(worker)
        self._last_use[worker] = use
        cpu_s, seconds = use.cpu_s, use.age_s
        if last is not None:
            cpu_s, seconds = cpu_s - last.cpu_s, seconds - last.age_s
        if seconds <= 0:
            return []
        shares = deployment.compute_shares_of_reservation(cpu_s / seconds, use.memory_share)
        return [
            (name, max(0.0, share) * PERCENT, "Percent")
            for name, share in shares.items()
            if share is not None
        ]

    def _write_metrics(
        self,
        region: str,
        namespace: str,
        values: list[tuple[str, float, str]],
        dimensions: list[dict[str, str]],
    ) -> None:
        at = self._clock.now()
        data = [make_datum(name, value, unit, dimensions, at) for name, value, unit in values]
        if data:
            self._put(region, namespace, data)

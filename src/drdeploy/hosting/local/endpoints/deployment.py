"""What an endpoint serves: its configuration, with images and archives pinned, and its workers.

An update makes a second deployment beside the one in service, and swaps the two once the new one
is ready, as SageMaker does (developer guide, "Blue/Green Deployments").  The old one is closed, but
its last requests still finish on it: :meth:`EndpointDeployment.invocation` counts them.
"""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DrdeployError
from drdeploy.hosting.local.api_errors import invalid
from drdeploy.hosting.local.constraints import container_of, model_data_url
from drdeploy.hosting.local.endpoints.execution_role import check_role
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.endpoints.serverless_pool import PoolScaling, ServerlessPool
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from drdeploy.hosting.local.endpoints.artifact_cache import PinnedArtifact
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.resource_store import ResourceRecord


@dataclass(eq=False)
class Variant:
    """One production variant with its workers.

    Attributes:
        name: The variant's name.
        weight: Its share of the traffic, relative to the other variants' weights.
        request: The endpoint configuration's description of it.
        image: The image as the model names it.
        resolved_image: The image as it was pinned, by digest or id.
        resolved_at: When it was pinned, UTC.
        artifact: The pinned model archive.
        pool: Its workers.
        payload_limit_bytes: Largest body of a request, and of an answer.
    """

    name: str
    weight: float
    request: dict[str, Any]
    image: str
    resolved_image: str
    resolved_at: datetime
    artifact: PinnedArtifact
    pool: ServerlessPool | RealTimePool
    payload_limit_bytes: int


class EndpointDeployment:
    """What an endpoint serves, from preparing its workers until its last request has ended.

    Args:
        config: The endpoint configuration as it is now.
        models: The models that it names, as they are now.
        fleet: Runs the workers.
    """

    def __init__(
        self, config: ResourceRecord, models: Mapping[str, ResourceRecord], fleet: InstanceFleet
    ) -> None:
        self.config = config
        self.variants: tuple[Variant, ...] = ()
        self._models = models
        self._fleet = fleet
        self._lock = threading.Lock()
        self._invocations = 0
        self._is_closing = False
        self._stops: list[Future[None]] = []

    def prepare(self) -> None:
        """Pin images and archives, and start the workers that must be ready before any request.

        Raises:
            StartFailed: The endpoint cannot be served.  The message is its ``FailureReason``; call
                :meth:`close` to give back what was pinned and started.
        """
        for request in self.config.request["ProductionVariants"]:
            try:
                variant = self._pin(request)
                self._add(variant)
                variant.pool.prepare()
            except DrdeployError as err:
                remedy = f" {err.remedy}." if err.remedy else ""
                raise StartFailed(
                    f"Production variant {request['VariantName']}: {err.what}.{remedy}"
                ) from err

    @contextlib.contextmanager
    def invocation(self) -> Iterator[None]:
        """Keep the workers from being stopped while an invocation is in progress."""
        with self._lock:
            self._invocations += 1
        try:
            yield
        finally:
            with self._lock:
                self._invocations -= 1
                is_last = self._is_closing and not self._invocations
            if is_last:
                self._end()

    def choose(self, target_variant: str | None) -> Variant:
        """Return the variant of that name; for None, one chosen at random by weight.

        Raises:
            ApiError: There is no such variant.
        """
        if target_variant is not None:
            for variant in self.variants:
                if variant.name == target_variant:
                    return variant
            raise invalid(f"Variant {target_variant} not found for this endpoint.")
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [variant.weight for variant in self.variants]
        return random.choices(self.variants, weights if sum(weights) else None)[0]

    def tick(self) -> None:
        """Let every pool stop idle workers and replace dead ones."""
        for variant in self.variants:
            variant.pool.tick()

    def close(self) -> None:
        """Stop the workers, at once or when the last invocation in progress has ended."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
            is_idle = not self._invocations
        if is_idle:
            self._end()

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait until the workers that are being stopped are gone, each for so long at most."""
        for stop in tuple(self._stops):
            with contextlib.suppress(TimeoutError):
                stop.result(timeout_s)

    def _add(self, variant: Variant) -> None:
        with self._lock:
            is_late = self._is_closing
            if not is_late:
                self.variants = (*self.variants, variant)
        if is_late:  # close() has ended the variants that there were, and does not know this one
            self._fleet.artifacts.release(variant.artifact)
            raise StartFailed("The endpoint was deleted meanwhile")

    def _end(self) -> None:
        for variant in self.variants:
            variant.pool.close()
            self._fleet.artifacts.release(variant.artifact)

    def _retire(self, worker: InstanceWorker) -> None:
        self._stops = [stop for stop in self._stops if not stop.done()]
        self._stops.append(self._fleet.retire(worker))

    def _pin(self, request: dict[str, Any]) -> Variant:
        """Resolve a variant to the image and archive that its model names at this moment."""
        model = self._models[request["ModelName"]].request
        check_role(model, self._fleet.policies_of_role)
        container = container_of(model)
        serverless = request.get("ServerlessConfig")
        if serverless:
            size = self._fleet.serverless_size(serverless["MemorySizeInMB"])
        else:
            start_s = request.get("ContainerStartupHealthCheckTimeoutInSeconds")
            size = self._fleet.instance_size(request["InstanceType"], start_s)
        resolved = self._fleet.backend.pin(container["Image"])
        artifact = self._fleet.artifacts.pin(model_data_url(model))

        def launch(*, full_cpu: bool = False) -> InstanceWorker:
            environment = container.get("Environment", {})
            return self._fleet.launch(
                resolved, artifact.folder, environment, size, full_cpu=full_cpu
            )

        return Variant(
            name=request["VariantName"],
            weight=request.get("InitialVariantWeight", 1.0),
            request=request,
            image=container["Image"],
            resolved_image=resolved,
            resolved_at=self._fleet.clock.now(),
            artifact=artifact,
            pool=self._pool(request, launch),
            payload_limit_bytes=(
                quotas.SERVERLESS_PAYLOAD_BYTES if serverless else quotas.REALTIME_PAYLOAD_BYTES
            ),
        )

    def _pool(
        self, request: dict[str, Any], launch: Callable[..., InstanceWorker]
    ) -> ServerlessPool | RealTimePool:
        clock = self._fleet.clock
        serverless = request.get("ServerlessConfig")
        if not serverless:
            count = request["InitialInstanceCount"]
            return RealTimePool(count, launch=launch, retire=self._retire, clock=clock)
        options = self._fleet.options
        scaling = PoolScaling(
            serverless["MaxConcurrency"],
            serverless.get("ProvisionedConcurrency", 0),
            options.idle_s,
        )

        def trial() -> None:
            # With all CPUs: it shows whether the container starts, and nobody measures how fast.
            self._fleet.discard(launch(full_cpu=True))

        return ServerlessPool(
            scaling,
            launch=launch,
            trial=trial if options.trial_start else None,
            retire=self._retire,
            clock=clock,
        )

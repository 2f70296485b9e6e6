"""What an endpoint serves: a configuration with images and artifacts pinned, and its workers."""

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
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet, InstanceSize
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.resource_store import ResourceRecord


@dataclass(eq=False)
class Variant:
    """One production variant with its workers.

    Attributes:
        name: As the configuration has it.
        weight: Share of the traffic, relative to the others'.
        request: The configuration's description of it.
        image: As the model names it.
        resolved_image: As it was pinned.
        resolved_at: When.
        artifact: Pinned as well.
        pool: Its workers.
        payload_limit_bytes: Each way.
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
    """Variants ready to be invoked; ends when the last invocation under way has ended.

    Args:
        config: The endpoint configuration, as of now.
        models: The models that it names, as of now.
        machine: Where workers run.
        rng: Chooses a variant by weight.
    """

    def __init__(
        self,
        config: ResourceRecord,
        models: Mapping[str, ResourceRecord],
        machine: InstanceFleet,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.variants: tuple[Variant, ...] = ()
        self._models = models
        self._machine = machine
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._invocations = 0
        self._closing = False
        self._stops: list[Future[None]] = []

    def prepare(self) -> None:
        """Pin images and artifacts, and bring up what must be there before the first request.

        Raises:
            StartFailed: The message completes a ``FailureReason``; :meth:`close` it then.
        """
        for request in self.config.request["ProductionVariants"]:
            try:
                self._add(self._pinned(request)).pool.prepare()
            except DrdeployError as err:
                remedy = f" {err.remedy}." if err.remedy else ""
                raise StartFailed(
                    f"Production variant {request['VariantName']}: {err.what}.{remedy}"
                ) from err

    @contextlib.contextmanager
    def invocation(self) -> Iterator[None]:
        """Keeps the workers from being retired meanwhile."""
        with self._lock:
            self._invocations += 1
        try:
            yield
        finally:
            with self._lock:
                self._invocations -= 1
                is_last = self._closing and not self._invocations
            if is_last:
                self._end()

    def choose(self, target_variant: str | None) -> Variant:
        """The variant that a request asks for, else one by weight.

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
        return self._rng.choices(self.variants, weights if sum(weights) else None)[0]

    def tick(self) -> None:
        """See :meth:`Pool.tick`."""
        for variant in self.variants:
            variant.pool.tick()

    def close(self) -> None:
        """Retire the workers, at once or with the last invocation under way."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            is_over = not self._invocations
        if is_over:
            self._end()

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait for the workers that were retired so far."""
        for stop in tuple(self._stops):
            with contextlib.suppress(TimeoutError):
                stop.result(timeout_s)

    def _add(self, variant: Variant) -> Variant:
        with self._lock:
            is_late = self._closing
            if not is_late:
                self.variants = (*self.variants, variant)
        if is_late:
            self._machine.shelf.release(variant.artifact)
            raise StartFailed("The endpoint was deleted meanwhile")
        return variant

    def _end(self) -> None:
        for variant in self.variants:
            variant.pool.close()
            self._machine.shelf.release(variant.artifact)

    def _retire(self, worker: InstanceWorker) -> None:
        self._stops = [stop for stop in self._stops if not stop.done()]
        self._stops.append(self._machine.retire(worker))

    def _pinned(self, request: dict[str, Any]) -> Variant:
        model = self._models[request["ModelName"]].request
        check_role(model, self._machine.policies_of_role)
        image = container_of(model)["Image"]
        size = self._size_of(request)
        resolved = self._machine.backend.pin(image)
        artifact = self._machine.shelf.pin(model_data_url(model))
        serverless = "ServerlessConfig" in request
        make_pool = self._serverless_pool if serverless else self._real_time_pool
        return Variant(
            name=request["VariantName"],
            weight=request.get("InitialVariantWeight", 1.0),
            request=request,
            image=image,
            resolved_image=resolved,
            resolved_at=self._machine.clock.now(),
            artifact=artifact,
            pool=make_pool(request, self._launcher(model, resolved, artifact, size)),
            payload_limit_bytes=(
                quotas.SERVERLESS_PAYLOAD_BYTES if serverless else quotas.REALTIME_PAYLOAD_BYTES
            ),
        )

    def _size_of(self, request: dict[str, Any]) -> InstanceSize:
        if "ServerlessConfig" in request:
            return self._machine.serverless_size(request["ServerlessConfig"]["MemorySizeInMB"])
        start_s = request.get("ContainerStartupHealthCheckTimeoutInSeconds")
        return self._machine.instance_size(request["InstanceType"], start_s)

    def _launcher(
        self, model: dict[str, Any], image: str, artifact: PinnedArtifact, size: InstanceSize
    ) -> Callable[..., InstanceWorker]:
        environment = container_of(model).get("Environment", {})

        def start(*, full_cpu: bool = False) -> InstanceWorker:
            return self._machine.launch(
                image, artifact.folder, environment, size, full_cpu=full_cpu
            )

        return start

    def _serverless_pool(
        self, request: dict[str, Any], start: Callable[..., InstanceWorker]
    ) -> ServerlessPool:
        serverless = request["ServerlessConfig"]
        options = self._machine.options
        return ServerlessPool(
            PoolScaling(
                serverless["MaxConcurrency"],
                serverless.get("ProvisionedConcurrency", 0),
                options.idle_s,
            ),
            launch=start,
            trial=(
                (lambda: self._machine.discard(start(full_cpu=True)))
                if options.trial_start
                else None
            ),
            retire=self._retire,
            clock=self._machine.clock,
        )

    def _real_time_pool(
        self, request: dict[str, Any], start: Callable[..., InstanceWorker]
    ) -> RealTimePool:
        return RealTimePool(
            request["InitialInstanceCount"],
            launch=start,
            retire=self._retire,
            clock=self._machine.clock,
        )

"""A deployment of an endpoint: its configuration, pinned container images, archives, and workers.

An update makes a second deployment beside the one in service. When the new deployment is ready, it
replaces the old one, as on SageMaker (developer guide, "Blue/Green Deployments"). The old
deployment is closed after its last invocation has finished;
:meth:`EndpointDeployment.keep_open_for_invocation` counts the invocations.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import DrdeployError
from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.endpoints.artifact_cache import PinnedArtifact
from drdeploy.hosting.local.endpoints.asynchronous_settings import AsynchronousSettings
from drdeploy.hosting.local.endpoints.data_capture import CaptureSettings
from drdeploy.hosting.local.endpoints.execution_role import (
    check_execution_role,
    check_role_can_be_assumed,
)
from drdeploy.hosting.local.endpoints.instance_group import InstanceBounds, InstanceGroup
from drdeploy.hosting.local.endpoints.instance_logs import InstanceOrigin
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.endpoints.serverless_pool import PoolScaling, ServerlessPool
from drdeploy.hosting.local.instances.instance import PinnedImage, StartFailed
from drdeploy.hosting.local.request_constraints import (
    find_container_of_model,
    find_model_data_url,
    is_model_data_archive,
    is_network_isolated,
)
from drdeploy.hosting.sagemaker import api_limits, find_instance_resources
from drdeploy.hosting.sagemaker.gpu_hosts import check_gpu_host
from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet, InstanceSize
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.resource_store import ResourceRecord


@dataclass(eq=False)
class Variant:
    """One production variant or shadow variant, with its workers.

    Attributes:
        name: The variant's name.
        weight: The variant's share of the traffic, relative to the weights of other variants.
        request: The entry of the endpoint configuration that describes the variant.
        image: The container image as the model names it; empty for a variant without a model.
        resolved_image: The pinned image (its digest or id), and the network of the variant's
            instances.
        resolved_at: When the image was pinned, UTC.
        artifact: The pinned model archive.
        pool: The pool of the variant's workers, or the instances that host inference components.
        payload_limit_bytes: The largest body of a request or of an answer.
    """

    name: str
    weight: float
    request: dict[str, Any]
    image: str
    resolved_image: PinnedImage
    resolved_at: datetime
    artifact: PinnedArtifact
    pool: ServerlessPool | RealTimePool | InstanceGroup
    payload_limit_bytes: int

    def set_capacity(self, capacity: float) -> None:
        """Set the share of the variant's instances that runs: half of them if ``capacity`` is 0.5.

        At least one instance keeps running, because the variant may already have been chosen for a
        request. The exception is a variant whose ``InitialInstanceCount`` is 0. A serverless
        variant has no instances to count, so nothing changes.
        """
        if isinstance(self.pool, RealTimePool):
            # Without the tolerance, the rounding error of a sum of shares, such as 3 * 0.1, could
            # cost one more instance.
            asked = self.request["InitialInstanceCount"]
            count = math.ceil(asked * capacity - 1e-9)
            self.pool.set_worker_count(max(min(1, asked), count))


class EndpointDeployment:
    """The variants of an endpoint in one configuration, with their images, archives and workers.

    A deployment exists from the start of its workers to the end of its last request.

    Args:
        config: The endpoint configuration at the time of the deployment.
        models: The models that the configuration names, by name.
        fleet: The fleet that runs the workers.
        endpoint: The name of the endpoint.

    Attributes:
        capture: The settings of data capture, or None if capture is off.
        asynchronous: The settings of asynchronous requests; None if the endpoint is not
            asynchronous.
        variants: The production variants, which answer requests.
        shadows: The shadow variants, which get copies of requests.
    """

    def __init__(
        self,
        config: ResourceRecord,
        models: Mapping[str, ResourceRecord],
        fleet: InstanceFleet,
        endpoint: str,
    ) -> None:
        self.config = config
        region = config.arn.split(":")[3]
        self.capture = CaptureSettings.from_config(config.request, region)
        self.asynchronous = AsynchronousSettings.from_config(config.request, region)
        self._endpoint = endpoint
        self.variants: tuple[Variant, ...] = ()
        self.shadows: tuple[Variant, ...] = ()
        self._models = models
        self._fleet = fleet
        self._lock = threading.Lock()
        self._invocations = 0
        self._is_closing = False
        self._stops: list[Future[None]] = []

    def pin_models_and_start_workers(self, capacity: float = 1.0) -> None:
        """Pin the images and archives, and start the workers that must run from the beginning.

        Args:
            capacity: The share of each real-time variant's instances that is started.

        Raises:
            StartFailed: The endpoint cannot be served. The message becomes the endpoint's
                ``FailureReason``. Call :meth:`close` to release the pinned archives and stop the
                started workers.
        """
        if self.capture is not None and not self._fleet.has_bucket(self.capture.bucket):
            raise StartFailed(
                f"The bucket {self.capture.bucket} of the DataCaptureConfig does not exist. "
                "Create the bucket, then create the endpoint again."
            )
        self._check_output_destinations_exist()
        shadows = self.config.request.get("ShadowProductionVariants", [])
        for request in (*self.config.request["ProductionVariants"], *shadows):
            try:
                variant = self._pin_image_and_archive(request)
                self._put_variant_in_service(variant, is_shadow=request in shadows)
                variant.set_capacity(capacity)
                variant.pool.start_first_workers()
                if "ServerlessConfig" in request or self._fleet.options.strict_containers:
                    for worker in variant.pool.workers()[:1]:
                        self._fleet.refuse_restart_loop(worker, variant.resolved_image)
            except DrdeployError as err:
                remedy = f" {err.remedy}." if err.remedy else ""
                raise StartFailed(
                    f"{self._name_failed_part(request)}: {err.what}.{remedy}"
                ) from err

    def _check_output_destinations_exist(self) -> None:
        """Refuse an asynchronous endpoint if its bucket or one of its topics is missing."""
        if self.asynchronous is None:
            return
        for folder in self.asynchronous.list_folders():
            bucket = split_s3_uri(folder)[0]
            if not self._fleet.has_bucket(bucket):
                raise StartFailed(
                    f"The bucket {bucket} of the AsyncInferenceConfig does not exist. Create the "
                    "bucket, then create the endpoint again."
                )
        for topic in self.asynchronous.list_topics():
            if not self._fleet.has_topic(topic):
                raise StartFailed(
                    f"The topic {topic} of the AsyncInferenceConfig does not exist. Create the "
                    "topic, then create the endpoint again."
                )

    @contextlib.contextmanager
    def keep_open_for_invocation(self) -> Iterator[None]:
        """Keep the workers running while an invocation is in progress."""
        with self._lock:
            self._invocations += 1
        try:
            yield
        finally:
            with self._lock:
                self._invocations -= 1
                is_last = self._is_closing and not self._invocations
            if is_last:
                self._stop_all_pools()

    def choose_variant(self, target_variant: str | None) -> Variant:
        """Return the variant with the given name, or a variant chosen at random by weight.

        Raises:
            ApiError: The variant does not exist.
        """
        if target_variant is not None:
            for variant in self.variants:
                if variant.name == target_variant:
                    return variant
            raise make_validation_error(f"Variant {target_variant} not found for this endpoint.")
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [variant.weight for variant in self.variants]
        return random.choices(self.variants, weights if sum(weights) else None)[0]

    def find_variant_or_shadow(self, name: str) -> Variant:
        """Return the production or shadow variant with the given name.

        Raises:
            ApiError: The variant does not exist.
        """
        for shadow in self.shadows:
            if shadow.name == name:
                return shadow
        return self.choose_variant(name)

    def list_all_variants(self) -> tuple[Variant, ...]:
        """Return the production variants and the shadow variants."""
        return self.variants + self.shadows

    def set_capacity(self, capacity: float) -> None:
        """Start or stop instances in the background, until the given share of them is running."""
        for variant in self.list_all_variants():
            variant.set_capacity(capacity)
        self.maintain_workers()

    def has_capacity(self) -> bool:
        """Return whether all instances that :meth:`set_capacity` has asked for are running."""
        return all(variant.pool.has_enough_workers() for variant in self.list_all_variants())

    def maintain_workers(self) -> None:
        """Let every pool stop idle workers and replace dead ones."""
        for variant in self.list_all_variants():
            variant.pool.maintain_workers()

    def close(self) -> None:
        """Stop the workers, at once or when the last invocation in progress has ended."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
            is_idle = not self._invocations
        if is_idle:
            self._stop_all_pools()

    def wait_until_workers_stopped(self, timeout_s: float) -> None:
        """Wait at most ``timeout_s`` for each stopping worker to end."""
        for stop in tuple(self._stops):
            with contextlib.suppress(TimeoutError):
                stop.result(timeout_s)

    def _put_variant_in_service(self, variant: Variant, *, is_shadow: bool) -> None:
        with self._lock:
            is_late = self._is_closing
            if is_shadow and not is_late:
                self.shadows = (*self.shadows, variant)
            elif not is_late:
                self.variants = (*self.variants, variant)
        if is_late:  # close() has run already, and did not release this variant
            self._release_variant(variant)
            raise StartFailed("The endpoint was deleted while it was being created")

    def _stop_all_pools(self) -> None:
        for variant in self.list_all_variants():
            variant.pool.close()
            self._release_variant(variant)

    def _release_variant(self, variant: Variant) -> None:
        self._fleet.artifacts.release_archive(variant.artifact)
        if variant.image:
            self._fleet.backend.release_network(variant.resolved_image)

    def _retire_worker(self, worker: InstanceWorker) -> None:
        self._stops = [stop for stop in self._stops if not stop.done()]
        self._stops.append(self._fleet.retire_instance(worker))

    def _pin_image_and_archive(self, request: dict[str, Any]) -> Variant:
        """Make a variant, and pin the image and the archive that its model names at this moment."""
        if "ModelName" not in request:
            return self._make_variant_without_model(request)
        model = self._models[request["ModelName"]].request
        region = self.config.arn.split(":")[3]
        captured = self._make_arn_of_captures()
        further = self.asynchronous.list_required_permissions() if self.asynchronous else ()
        check_execution_role(
            model, region, self._fleet.policies_of_role, captured, further=tuple(further)
        )
        container = find_container_of_model(model)
        size = self._compute_worker_size(request)
        isolated = is_network_isolated(model, self.config.request)
        resolved = self._fleet.backend.pin_image_and_network(container["Image"], isolated=isolated)
        try:
            # Checked again, because the image may have been pulled only now. Until then, its
            # variables were not known.
            check_gpu_host(
                self._fleet.backend.find_image_variables(resolved.name),
                request.get("InstanceType"),
                request.get("InferenceAmiVersion"),
            )
            artifact = self._fleet.artifacts.extract_and_pin_archive(
                find_model_data_url(model),
                is_checked=resolved.is_own,
                is_archive=is_model_data_archive(model),
            )
        except BaseException:
            self._fleet.backend.release_network(resolved)
            raise

        origin = self._make_log_origin(request)

        def launch_instance_of_variant(*, full_cpu: bool = False) -> InstanceWorker:
            environment = container.get("Environment", {})
            return self._fleet.launch_instance(
                resolved, artifact.folder, environment, size, origin=origin, full_cpu=full_cpu
            )

        return Variant(
            name=request["VariantName"],
            weight=request.get("InitialVariantWeight", 1.0),
            request=request,
            image=container["Image"],
            resolved_image=resolved,
            resolved_at=self._fleet.clock.now(),
            artifact=artifact,
            pool=self._make_worker_pool(request, launch_instance_of_variant, resolved),
            payload_limit_bytes=(
                api_limits.SERVERLESS_PAYLOAD_BYTES
                if "ServerlessConfig" in request
                else api_limits.REALTIME_PAYLOAD_BYTES
            ),
        )

    def _make_variant_without_model(self, request: dict[str, Any]) -> Variant:
        """Return a variant that hosts inference components, which are created later."""
        region = self.config.arn.split(":")[3]
        role = self.config.request["ExecutionRoleArn"]
        check_role_can_be_assumed(role, region, self._fleet.policies_of_role)
        group = InstanceGroup(
            find_instance_resources(request["InstanceType"]),
            request["InitialInstanceCount"],
            InstanceBounds.from_variant(request),
            idle_s=self._fleet.options.idle_s,
            clock=self._fleet.clock,
        )
        return Variant(
            name=request["VariantName"],
            weight=request.get("InitialVariantWeight", 1.0),
            request=request,
            image="",
            resolved_image=PinnedImage(""),
            resolved_at=self._fleet.clock.now(),
            artifact=PinnedArtifact("", None),
            pool=group,
            payload_limit_bytes=api_limits.REALTIME_PAYLOAD_BYTES,
        )

    def _name_failed_part(self, request: dict[str, Any]) -> str:
        """Return the name of a variant in error messages, for example ``Production variant a``."""
        return f"Production variant {request['VariantName']}"

    def _compute_worker_size(self, request: dict[str, Any]) -> InstanceSize:
        serverless = request.get("ServerlessConfig")
        if serverless:
            return self._fleet.compute_serverless_size(serverless["MemorySizeInMB"])
        start_s = request.get("ContainerStartupHealthCheckTimeoutInSeconds")
        return self._fleet.compute_instance_size(request["InstanceType"], start_s)

    def _make_log_origin(self, request: dict[str, Any]) -> InstanceOrigin:
        region = self.config.arn.split(":")[3]
        return InstanceOrigin(region, self._endpoint, request["VariantName"])

    def _make_arn_of_captures(self) -> str | None:
        """Return the ARN of all objects that data capture writes, or None without data capture."""
        if self.capture is None:
            return None
        folder = self.capture.make_s3_folder_of_endpoint(self._endpoint)
        return f"arn:aws:s3:::{self.capture.bucket}/{folder}*"

    def _make_worker_pool(
        self, request: dict[str, Any], launch: Callable[..., InstanceWorker], image: PinnedImage
    ) -> ServerlessPool | RealTimePool:
        clock = self._fleet.clock
        serverless = request.get("ServerlessConfig")
        if not serverless:
            count = request["InitialInstanceCount"]
            routing = request.get("RoutingConfig", {}).get("RoutingStrategy")
            return RealTimePool(
                count,
                launch=launch,
                retire=self._retire_worker,
                clock=clock,
                is_random=routing == "RANDOM",
            )
        options = self._fleet.options
        scaling = PoolScaling(
            serverless["MaxConcurrency"],
            serverless.get("ProvisionedConcurrency", 0),
            options.idle_s,
        )

        def start_trial_instance() -> None:
            # With all CPUs, because the trial only shows whether the container starts, not how
            # fast.
            worker = launch(full_cpu=True)
            try:
                self._fleet.refuse_restart_loop(worker, image)
            finally:
                self._fleet.kill_unused_worker(worker)

        return ServerlessPool(
            scaling,
            launch=launch,
            trial=start_trial_instance if options.trial_start else None,
            retire=self._retire_worker,
            clock=clock,
        )

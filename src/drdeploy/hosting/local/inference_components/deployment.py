"""A deployment of an inference component: its pinned image, its archive, and its copies.

A copy is a container that is placed on one of the instances of the endpoint's variant. The copies
form a pool like that of a real-time endpoint, so a copy that dies is replaced.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.instances.instance import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet, InstanceSize
    from drdeploy.hosting.local.endpoints.instance_group import (
        CopyRequirements,
        InstanceGroup,
        Reservation,
    )
    from drdeploy.hosting.local.endpoints.instance_logs import InstanceOrigin
    from drdeploy.hosting.local.endpoints.serverless_pool import ServerlessPool
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.local.instances.instance import PinnedImage
    from drdeploy.hosting.local.resource_store import ResourceRecord

MODEL = "model"
"""The name that a component's model has in its deployment."""


@dataclass(frozen=True)
class ComponentPlace:
    """Where an inference component is hosted.

    Attributes:
        component: The name of the component.
        endpoint: The name of the endpoint.
        variant: The description of the variant in the endpoint configuration.
        group: The instances of the variant.
    """

    component: str
    endpoint: str
    variant: dict[str, Any]
    group: InstanceGroup


class ComponentDeployment(EndpointDeployment):
    """One specification of an inference component, with its image, archive and copies.

    A deployment exists from the start of its copies to the end of its last request.

    Args:
        config: The endpoint configuration of the endpoint.
        model: The model, or a model made from the container of the specification.
        fleet: The fleet that runs the copies.
        specification: The specification of the component.
        place: Where the component is hosted.
        needed: The resources that each copy takes.
        copies: The number of copies with which the deployment starts.
    """

    def __init__(
        self,
        config: ResourceRecord,
        model: ResourceRecord,
        fleet: InstanceFleet,
        *,
        specification: dict[str, Any],
        place: ComponentPlace,
        needed: CopyRequirements,
        copies: int,
    ) -> None:
        startup = specification.get("StartupParameters", {})
        variant = {
            "VariantName": place.variant["VariantName"],
            "ModelName": MODEL,
            "InstanceType": place.variant["InstanceType"],
            "InitialInstanceCount": copies,
            **{
                name: value
                for name, value in (*startup.items(), *place.variant.items())
                if name in {"ContainerStartupHealthCheckTimeoutInSeconds", "RoutingConfig"}
            },
        }
        request = config.request | {"ProductionVariants": [variant]}
        super().__init__(replace(config, request=request), {MODEL: model}, fleet, place.endpoint)
        self.specification = specification
        self._download_s = startup.get("ModelDataDownloadTimeoutInSeconds")
        self._place = place
        self._needed = needed
        self._reservations: dict[InstanceWorker, Reservation] = {}
        self._held = 0
        self._held_changed = threading.Condition()
        self._failure = ""

    @property
    def copies(self) -> Variant | None:
        """The variant whose workers are the copies; None until image and archive are pinned."""
        return self.variants[0] if self.variants else None

    def count_copies(self) -> int:
        """Return the number of copies that are ready."""
        return len(self.copies.pool.workers()) if self.copies else 0

    def set_copy_count(self, count: int) -> None:
        """Begin to start or stop copies, until ``count`` copies are running."""
        self._failure = ""
        for variant in self.variants:
            variant.request = {**variant.request, "InitialInstanceCount": count}
            if isinstance(variant.pool, RealTimePool):
                variant.pool.set_worker_count(count)
        self.maintain_workers()

    def wait_until_copies_hold_room(self, most: int, timeout_s: float) -> None:
        """Wait until no more than ``most`` copies hold resources, or until a timeout.

        A copy that is being stopped holds resources until its last request and its container have
        ended.
        """
        with self._held_changed:
            self._held_changed.wait_for(lambda: self._held <= most, timeout_s)

    def close_and_wait(self, timeout_s: float) -> None:
        """Stop all copies, and wait at most ``timeout_s`` until their resources are free."""
        self.close()
        self.wait_until_copies_hold_room(0, timeout_s)

    def compute_shares_of_reservation(
        self, cpus: float, memory_share: float | None
    ) -> dict[str, float | None]:
        """Return which share of its reserved CPU and memory a copy uses, as values of two metrics.

        Args:
            cpus: How many CPUs the copy has used on average.
            memory_share: The memory that the copy uses, as a share of its memory limit; None if the
                memory in use is not known.
        """
        size = self._compute_worker_size(self.config.request["ProductionVariants"][0])
        limit = size.memory_mb / self._needed.memory_mb
        return {
            "CPUUtilizationNormalized": cpus / size.cpus,
            "MemoryUtilizationNormalized": None if memory_share is None else memory_share * limit,
        }

    def find_failure(self) -> str:
        """Return why a copy failed to start after the last change; empty if no copy has failed."""
        return self._failure

    def _name_failed_part(self, request: dict[str, Any]) -> str:
        del request
        return f"Inference component {self._place.component}"

    def _compute_worker_size(self, request: dict[str, Any]) -> InstanceSize:
        whole = super()._compute_worker_size(request)
        return replace(
            whole,
            memory_mb=min(whole.memory_mb, self._needed.memory_limit_mb or whole.memory_mb),
            cpus=min(whole.cpus, self._needed.cpus or whole.cpus),
        )

    def _make_log_origin(self, request: dict[str, Any]) -> InstanceOrigin:
        return replace(super()._make_log_origin(request), component=self._place.component)

    def _pin_image_and_archive(self, request: dict[str, Any]) -> Variant:
        begin = time.monotonic()
        variant = super()._pin_image_and_archive(request)
        if self._download_s is not None and time.monotonic() - begin > self._download_s:
            self._release_variant(variant)
            raise StartFailed(
                "The model data was not downloaded within ModelDataDownloadTimeoutInSeconds "
                f"({self._download_s})"
            )
        return variant

    def _make_worker_pool(
        self, request: dict[str, Any], launch: Callable[..., InstanceWorker], image: PinnedImage
    ) -> ServerlessPool | RealTimePool:
        return super()._make_worker_pool(request, lambda: self._start_copy(launch), image)

    def _start_copy(self, launch: Callable[..., InstanceWorker]) -> InstanceWorker:
        """Start a copy on an instance that has room for it."""
        reservation = None
        try:
            reservation = self._place.group.reserve_room_for_copy(self._needed)
            with self._held_changed:
                self._held += 1
            worker = launch()
        except BaseException as err:
            self._failure = err.what if isinstance(err, StartFailed) else str(err)
            if reservation is not None:
                self._release_reserved_room(reservation)
            raise
        self._reservations[worker] = reservation
        return worker

    def _retire_worker(self, worker: InstanceWorker) -> None:
        reservation = self._reservations.pop(worker)
        # There is room for another copy only when this copy has stopped.
        self._fleet.retire_instance(worker).add_done_callback(
            lambda _: self._release_reserved_room(reservation)
        )

    def _release_reserved_room(self, reservation: Reservation) -> None:
        reservation.release()
        with self._held_changed:
            self._held -= 1
            self._held_changed.notify_all()

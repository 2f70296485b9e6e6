"""The instances of an endpoint variant that hosts inference components instead of a model.

These instances form a group. An instance of the group is not a container, but a record of which
resources of the instance type are free. Each copy of an inference component is a container of its
own, and reserves some of the resources (API reference,
``InferenceComponentComputeResourceRequirements``). An instance of the group therefore takes no time
to start.

With ``ManagedInstanceScaling``, the group adds an instance if no instance has room for a copy. It
never has more than ``MaxInstanceCount`` instances. The group releases instances without copies, but
keeps at least ``MinInstanceCount`` instances (API reference,
``ProductionVariantManagedInstanceScaling``). According to published observations, SageMaker
releases an instance about ten minutes after the instance's last copy has left. The local service
waits ``idle_s`` seconds, as it does before it stops an idle serverless worker.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from drdeploy.hosting.local.endpoints.pool import PoolLoad, WorkerLease, WorkerNotReady
from drdeploy.hosting.local.instances.instance import StartFailed

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.sagemaker import Clock
    from drdeploy.hosting.sagemaker.instance_types import InstanceResources

NO_ROOM = (
    "There is not enough hardware resources on the instances for this endpoint to create a copy of "
    "the inference component"
)
"""SageMaker's message if a copy fits on no instance."""


@dataclass(frozen=True)
class CopyRequirements:
    """The resources of an instance that one copy of an inference component takes.

    Attributes:
        memory_mb: The memory that the copy reserves, in MiB.
        memory_limit_mb: The memory that the copy's container may use, in MiB. None means all memory
            of the instance.
        cpus: The number of CPUs that the copy reserves. The copy cannot use more CPUs. None means
            that the copy reserves no CPU, and may use all CPUs of the instance.
        is_packed: Whether a copy goes to the fullest instance that has room for it. Otherwise, it
            goes to the emptiest instance.
    """

    memory_mb: int
    memory_limit_mb: int | None = None
    cpus: float | None = None
    is_packed: bool = False

    @classmethod
    def from_specification(cls, specification: dict[str, Any]) -> Self:
        """Read the requirements of an ``InferenceComponentSpecification``."""
        required = specification["ComputeResourceRequirements"]
        placement = specification.get("SchedulingConfig", {}).get("PlacementStrategy")
        return cls(
            required["MinMemoryRequiredInMb"],
            required.get("MaxMemoryRequiredInMb"),
            required.get("NumberOfCpuCoresRequired"),
            is_packed=placement == "BINPACK",
        )


@dataclass(eq=False)
class HostingInstance:
    """One instance of a group, and the copies on it.

    Attributes:
        resources: The vCPUs and the memory of the instance.
        idle_since: When the instance last lost a copy, or was started; in seconds of the group's
            monotonic clock.
        copies: The resources that each copy on the instance has reserved.
    """

    resources: InstanceResources
    idle_since: float
    copies: list[CopyRequirements] = field(default_factory=list)

    @property
    def free_memory_mb(self) -> int:
        """The memory that no copy has reserved, in MiB."""
        return self.resources.memory_mb - sum(copy.memory_mb for copy in self.copies)

    @property
    def free_cpus(self) -> float:
        """The CPUs that no copy has reserved."""
        return self.resources.vcpu - sum(copy.cpus or 0.0 for copy in self.copies)

    def has_room(self, needed: CopyRequirements) -> bool:
        """Return whether one more copy fits."""
        return needed.memory_mb <= self.free_memory_mb and (needed.cpus or 0.0) <= self.free_cpus


@dataclass(frozen=True)
class InstanceBounds:
    """The smallest and the largest number of instances that managed scaling may run."""

    minimum: int
    maximum: int

    @classmethod
    def from_variant(cls, request: dict[str, Any]) -> Self | None:
        """Read the ``ManagedInstanceScaling`` of a variant; None if it is absent or disabled."""
        scaling = request.get("ManagedInstanceScaling", {})
        if scaling.get("Status") != "ENABLED":
            return None
        count = request["InitialInstanceCount"]
        return cls(
            scaling.get("MinInstanceCount", count),
            scaling.get("MaxInstanceCount", max(count, scaling.get("MinInstanceCount", count))),
        )


@dataclass(frozen=True, eq=False)
class Reservation:
    """The resources of an instance that are reserved for one copy, until :meth:`release`."""

    group: InstanceGroup
    instance: HostingInstance
    copy: CopyRequirements

    def release(self) -> None:
        """Give the resources of the copy back to the instance."""
        self.group.release_room_of_copy(self)


class InstanceGroup:
    """The instances of a variant that hosts components; safe to use from several threads.

    Args:
        resources: The resources of the variant's instance type.
        count: The number of instances at the start.
        bounds: The smallest and the largest number of instances that managed scaling may run; None
            if the number is fixed.
        idle_s: Seconds after which managed scaling releases an instance without copies.
        clock: The clock that measures how long an instance has had no copies.
    """

    def __init__(
        self,
        resources: InstanceResources,
        count: int,
        bounds: InstanceBounds | None,
        *,
        idle_s: float,
        clock: Clock,
    ) -> None:
        self.bounds = bounds
        self._resources = resources
        self._count = count
        self._idle_s = idle_s
        self._clock = clock
        self._instances: list[HostingInstance] = []
        self._lock = threading.Lock()

    def start_first_workers(self) -> None:
        """Start as many instances as the group should have at the start."""
        with self._lock:
            self._add_missing_instances()

    def reserve_room_for_copy(self, needed: CopyRequirements) -> Reservation:
        """Reserve room for one copy; if no instance has room, add an instance if that is allowed.

        Raises:
            StartFailed: The copy fits on no instance.
        """
        with self._lock:
            fitting = [one for one in self._instances if one.has_room(needed)]
            may_grow = self.bounds is not None and len(self._instances) < self.bounds.maximum
            if not fitting and may_grow and self._make_instance().has_room(needed):
                fitting = [self._make_instance()]
                self._instances += fitting
            if not fitting:
                raise StartFailed(NO_ROOM)
            choose = min if needed.is_packed else max
            chosen = choose(fitting, key=lambda one: (one.free_memory_mb, one.free_cpus))
            chosen.copies.append(needed)
        return Reservation(self, chosen, needed)

    def release_room_of_copy(self, reservation: Reservation) -> None:
        """Give the resources of a copy back to its instance."""
        with self._lock:
            reservation.instance.copies.remove(reservation.copy)
            reservation.instance.idle_since = self._clock.monotonic()

    def fits_on_an_empty_instance(self, needed: CopyRequirements) -> bool:
        """Return whether a copy fits on an instance that hosts nothing else."""
        return self._make_instance().has_room(needed)

    def count_instances(self) -> int:
        """Return the number of instances that run."""
        with self._lock:
            return len(self._instances)

    def count_instances_in_use(self) -> int:
        """Return the number of instances that host a copy."""
        with self._lock:
            return sum(bool(one.copies) for one in self._instances)

    def set_worker_count(self, count: int) -> None:
        """Start instances, or stop instances that host no copy, until ``count`` instances run."""
        with self._lock:
            self._count = count
            self._add_missing_instances()
            self._release_instances([one for one in self._instances if not one.copies], count)

    def maintain_workers(self) -> None:
        """Release the instances that have had no copies for long enough."""
        if self.bounds is None:
            return
        oldest = self._clock.monotonic() - self._idle_s
        with self._lock:
            idle = [one for one in self._instances if not one.copies and one.idle_since <= oldest]
            self._release_instances(idle, self.bounds.minimum)

    def has_enough_workers(self) -> bool:
        """Return True, because an instance takes no time to start."""
        return True

    def workers(self) -> tuple[InstanceWorker, ...]:
        """Return an empty tuple, because an instance of the group has no container of its own."""
        return ()

    def lease_worker(self, wait_s: float, *, most: int | None = None) -> WorkerLease:
        """Refuse the request; only inference components on the instances answer requests."""
        del wait_s, most
        raise WorkerNotReady("the variant has no model, so its instances serve no requests")

    def return_worker(self, lease: WorkerLease, *, broken: bool) -> None:
        """Do nothing, because the group leases no workers."""

    def measure_load(self) -> PoolLoad:
        """Return the number of instances, and 0 requests, because the group takes no requests."""
        return PoolLoad(0, self.count_instances())

    def close(self) -> None:
        """Stop all instances; the copies on them have been stopped already."""
        with self._lock:
            self._instances.clear()

    # -- called with the lock held -------------------------------------------------------

    def _make_instance(self) -> HostingInstance:
        return HostingInstance(self._resources, self._clock.monotonic())

    def _add_missing_instances(self) -> None:
        while len(self._instances) < self._count:
            self._instances.append(self._make_instance())

    def _release_instances(self, unused: list[HostingInstance], minimum: int) -> None:
        for one in unused[: max(0, len(self._instances) - minimum)]:
            self._instances.remove(one)

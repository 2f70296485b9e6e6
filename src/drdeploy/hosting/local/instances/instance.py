"""The interface of an instance, whether it is a container or a process."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

Isolation = Literal["container", "process+cgroup-v1", "process+cgroup-v2", "process"]
"""How instances are isolated and limited. With ``process``, an instance has no limits."""

STOP_GRACE_S = 30.0
"""Seconds between SIGTERM and SIGKILL (developer guide, "Custom Inference Code with Hosting
Services")."""


class StartFailed(EndpointError):
    """An instance did not start.

    The message becomes part of the endpoint's ``FailureReason``.
    """


class PlatformFailed(StartFailed):
    """The container engine, the control groups or the disk failed before the instance started."""


class ServiceStopping(StartFailed):
    """The local service is stopping and starts no more instances."""


class ImageUnavailable(EndpointError):
    """The image of a model cannot be run on this machine."""


class ModelRefused(EndpointError):
    """A model asks for something that instances on this machine cannot have."""


@dataclass(frozen=True)
class PinnedImage:
    """An image as it was when an endpoint was created, and the network of its instances.

    Attributes:
        name: A name that always means this image, even if a tag is moved.
        network: The name of the network of the instances; ``none`` if they have no network, and
            empty if they are processes that use the network of this machine.
        is_own: Whether the image starts this project's server. If so, the service checks that the
            archive of the model has a manifest or a SavedModel. For any other server, the content
            of the archive is not checked.
        accepts_port: Whether the server in the image listens on the port that
            ``SAGEMAKER_BIND_TO_PORT`` names. A label of the image says so.
    """

    name: str
    network: str = ""
    is_own: bool = True
    accepts_port: bool = True


@dataclass(frozen=True)
class InstanceSpec:
    """The specification of an instance to start.

    Attributes:
        name: The instance's name, which is unique on this machine and valid as a file name.
        image: The image, as :meth:`InstanceBackend.pin_image_and_network` returned it.
        model_dir: The folder of the extracted model, which the instance must not change. None if
            the model has no archive.
        environment: The environment variables of the model.
        memory_mb: The hard memory limit, MiB.
        cpus: The CPU limit, in seconds of CPU time per second; None means no limit.
        is_serverless: Whether the instance belongs to a serverless endpoint.
    """

    name: str
    image: PinnedImage
    model_dir: Path | None
    environment: Mapping[str, str]
    memory_mb: int
    cpus: float | None
    is_serverless: bool = True


@dataclass(frozen=True)
class ResourceUse:
    """The CPU time and memory that an instance has used, and how full its disk is.

    Attributes:
        age_s: Seconds since the instance was started.
        cpu_s: Seconds of CPU time since the instance was started.
        memory_share: The memory in use as a share of the limit, or None if it is not known.
        disk_share: The used share of the disk that holds the model, or the files that a process
            writes.
    """

    age_s: float
    cpu_s: float
    memory_share: float | None
    disk_share: float


@dataclass(frozen=True)
class LogLine:
    """A line that an instance wrote, with its time in milliseconds since 1970."""

    timestamp_ms: int
    text: str


def read_disk_share(folder: Path) -> float:
    """Return the used share of the disk that holds a folder."""
    usage = shutil.disk_usage(folder)
    return usage.used / usage.total


class Instance(Protocol):
    """A started instance; safe to use from several threads.

    Attributes:
        name: The name that the specification gives to the instance.
        has_line_times: Whether the instance's log contains the time of each line.
    """

    name: str
    has_line_times: ClassVar[bool]

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection to the server of the instance.

        Raises:
            ConnectionError: The server does not listen yet, or has ended.
            TimeoutError: The server did not accept the connection in time.
        """

    def is_alive(self) -> bool:
        """Return whether the instance's main process runs."""

    def forget_cached_state(self) -> None:
        """Forget whether the instance runs, so that :meth:`is_alive` finds it out again."""

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed one of the instance's processes for lack of memory."""

    def read_memory_share(self) -> float | None:
        """Return the memory in use as a share of the limit, or None if it is not known."""

    def read_resource_use(self) -> ResourceUse | None:
        """Return the used CPU time and memory, and how full the disk is; None if unknown."""

    def read_log_tail(self) -> str:
        """Return the last lines of the instance's log, to explain a failure."""

    def read_log(self) -> str:
        """Return the instance's log, or the last part of a long one."""

    def read_new_lines(self) -> list[LogLine]:
        """Return the lines written since the last call; works even after the instance stopped."""

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop the instance with SIGTERM, then SIGKILL, and remove its files.

        A second call does nothing.
        """


def make_ec2_instance_id(instance: Instance) -> str:
    """Return an id for an instance in the form of EC2's ids; a log stream's name contains it."""
    return f"i-{hashlib.sha256(instance.name.encode()).hexdigest()[:17]}"


class InstanceBackend(Protocol):
    """Starts instances of one kind; safe to use from several threads.

    Attributes:
        isolation: How the instances are isolated and limited.
    """

    isolation: Isolation

    def check_model(self, environment: Mapping[str, str], *, isolated: bool) -> None:
        """Refuse a model that asks for something that instances of this kind cannot have.

        Args:
            environment: The environment variables of the model.
            isolated: Whether the instances must not reach any network.

        Raises:
            ModelRefused: The message says what the model asks for, and why that is impossible.
        """

    def check_image(self, image: str) -> None:
        """Check that an image exists, without pulling it.

        Raises:
            ImageUnavailable: The image cannot be run on this machine.
        """

    def find_image_variables(self, image: str) -> Mapping[str, str]:
        """Return the environment variables of an image.

        The mapping is empty if the image is not on this machine, or if instances are processes.
        """

    def pin_image_and_network(self, image: str, *, isolated: bool) -> PinnedImage:
        """Return the image to which a name refers now, and a network for the image's instances.

        Raises:
            ImageUnavailable: The image cannot be run on this machine.
            PlatformFailed: The network cannot be created.
        """

    def release_network(self, image: PinnedImage) -> None:
        """Remove the network of a pinned image, now or when its last instance has stopped."""

    def start_instance(self, spec: InstanceSpec) -> Instance:
        """Start an instance, and return without waiting for its server.

        Raises:
            PlatformFailed: The engine, a control group or the disk refused, so nothing was started.
        """

    def close(self) -> None:
        """Remove everything that the backend has made, such as networks and control groups."""

"""What an instance of a model server is, whatever it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Isolation = Literal["container", "process+cgroup-v1", "process+cgroup-v2", "process"]
"""What keeps instances apart and within their limits; a plain ``process`` has no limits."""

STOP_GRACE_S = 30.0
"""Between SIGTERM and SIGKILL (developer guide, "Custom Inference Code with Hosting Services")."""


class StartFailed(EndpointError):
    """An instance did not start; the message completes the endpoint's ``FailureReason``."""


class PlatformFailed(StartFailed):
    """The container engine, the control groups or the disk refused before anything ran."""


class ServiceStopping(StartFailed):
    """The local service is stopping and starts nothing any more."""


class ImageUnavailable(EndpointError):
    """The image that a model names cannot be run here."""


@dataclass(frozen=True)
class InstanceSpec:
    """What to start.

    Attributes:
        name: Unique on this machine, and valid as a file name.
        image: The image, as :meth:`InstanceBackend.pin` returned it.
        model_dir: The extracted model archive, which the instance must not change.
        environment: The model's own environment variables.
        memory_mb: Hard memory limit, MiB.
        cpus: CPU time per wall-clock time; None is no limit.
    """

    name: str
    image: str
    model_dir: Path
    environment: Mapping[str, str]
    memory_mb: int
    cpus: float | None


class Instance(Protocol):
    """A started instance; safe to use from several threads.

    Attributes:
        name: The name in its specification.
        port: The loopback port where its server answers, or will.
    """

    name: str
    port: int

    def is_alive(self) -> bool:
        """Return whether its main process runs."""

    def refresh(self) -> None:
        """Forget remembered answers, so that the next ones are of this moment."""

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel has killed one of its processes for want of memory."""

    def memory_share(self) -> float | None:
        """Return memory in use over its limit; None where that is not known."""

    def log_tail(self) -> str:
        """Return the last lines that it wrote, to explain a failure."""

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Send SIGTERM, wait, send SIGKILL, and remove every trace.

        Does nothing the second time.
        """


class InstanceBackend(Protocol):
    """Starts instances of one kind; safe to use from several threads.

    Attributes:
        isolation: What its instances run in.
    """

    isolation: Isolation

    def pin(self, image: str) -> str:
        """Return a name for the image as it is now, which a moved tag does not change.

        Raises:
            ImageUnavailable: The image cannot be run here.
        """

    def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance; returns without waiting for its server.

        Raises:
            PlatformFailed: Nothing was started: the engine, a control group or the disk refused.
        """

    def close(self) -> None:
        """Remove what the backend itself has made."""

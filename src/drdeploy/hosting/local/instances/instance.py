"""What an instance of a model is, whatever it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Isolation = Literal["container", "process+cgroup-v1", "process+cgroup-v2", "process"]

STOP_GRACE_S = 30.0
"""Between SIGTERM and SIGKILL (SageMaker's container contract)."""


class StartFailed(EndpointError):
    """An instance did not come up; the message completes a ``FailureReason``."""


class PlatformFailed(StartFailed):
    """It never came to starting: the engine, the control groups or the disk refused."""


class ServiceStopping(StartFailed):
    """Nothing is started any more."""


class ImageUnavailable(EndpointError):
    """The image that a model names cannot be run here."""


@dataclass(frozen=True)
class InstanceSpec:
    """One instance, before it is started.

    Attributes:
        name: Unique on this machine, fit for file names.
        image: As :meth:`InstanceBackend.pin` returned it.
        model_dir: The extracted artifact, to be read only.
        environment: The model's own variables.
        memory_mb: Hard limit, MiB.
        cpus: CPU time per wall-clock time; None is whatever the machine has.
    """

    name: str
    image: str
    model_dir: Path
    environment: Mapping[str, str]
    memory_mb: int
    cpus: float | None


class Instance(Protocol):
    """A started instance; safe to use from several threads."""

    @property
    def name(self) -> str:
        """The specification's name."""
        ...

    @property
    def port(self) -> int:
        """Where it answers, or will, on 127.0.0.1."""
        ...

    def is_alive(self) -> bool:
        """Whether its main process still runs."""
        ...

    def look_again(self) -> None:
        """Answer the next questions from a fresh look, where answers are remembered."""
        ...

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed in it for want of memory."""
        ...

    def memory_share(self) -> float | None:
        """Memory in use over its limit; None where that cannot be told."""
        ...

    def log_tail(self) -> str:
        """The last lines that it wrote, for a failure's reason."""
        ...

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """SIGTERM, then SIGKILL; leaves nothing behind.  Fine if it already ended."""
        ...


class InstanceBackend(Protocol):
    """Starts instances; safe to use from several threads."""

    @property
    def isolation(self) -> Isolation:
        """What keeps instances apart and within their limits."""
        ...

    def pin(self, image: str) -> str:
        """The image as it is now, so that a moved tag changes nothing.

        Raises:
            ImageUnavailable: It cannot be run here.
        """
        ...

    def start(self, spec: InstanceSpec) -> Instance:
        """Start an instance without waiting for its server.

        Raises:
            StartFailed: Nothing was started.
        """
        ...

    def close(self) -> None:
        """Remove what the backend itself made."""
        ...

"""Describes a container to run, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import InvalidInput
from drdeploy.hosting.engine.ports import LOOPBACK
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Network = Literal["bridge", "host", "none"]

NANO = 1_000_000_000
SMALLEST_MEMORY_MB = 6
"""Docker's own lower bound."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine inside the container; read-only by default.

    Attributes:
        source: Path on this machine.
        target: Path in the container.
        read_only: Whether the container cannot write to it.
    """

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class ContainerSpec:
    """A container to run, with the restrictions of a model host.

    By default it has no capabilities, and can write to ``/tmp`` alone, which is in memory and
    counts against ``memory_mb``.  It can never gain a privilege.

    Attributes:
        image: Name and tag, or id.
        command: Arguments of the image's entry point; ``("serve",)`` as SageMaker does.
        env: Environment variables.
        mounts: Files and folders of this machine.
        memory_mb: Hard limit in MiB, swap included; beyond it the kernel kills a process.
        cpus: CPU limit in vCPUs, for example 0.58.
        cpuset: Cores of the host that it may run on, for example ``0-1``; None is all.
        port: Port that the server listens on in the container; None publishes no port.
        host_port: Port on 127.0.0.1; None takes a free one.  With ``network="host"`` it is
            ``port`` itself, because no port is translated.
        network: ``bridge`` publishes ``port``; ``host`` shares this machine's loopback, which
            starts some 130 ms sooner (see :attr:`Engine.fastest_network`); ``none`` has no network.
        read_only: Whether the root file system is read-only; if not, ``/tmp`` is part of it.
        drop_capabilities: Whether it has no capabilities; if not, it has the engine's default ones,
            which an image needs that starts as root and then changes to another user.
        labels: By which the container can be found again.
        name: The container's name; None lets the engine choose.
        user: ``uid`` or ``uid:gid``; None is the image's own.
        entrypoint: Replaces the image's entry point, for tests and diagnosis.
        pids: Limit of processes and threads.
        tmp_mb: Size of ``/tmp``, MiB.
    """

    image: str
    command: tuple[str, ...] = ("serve",)
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    memory_mb: int | None = None
    cpus: float | None = None
    cpuset: str | None = None
    port: int | None = 8080
    host_port: int | None = None
    network: Network = "bridge"
    read_only: bool = True
    drop_capabilities: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    user: str | None = None
    entrypoint: tuple[str, ...] | None = None
    pids: int = 1024
    tmp_mb: int = 512

    def __post_init__(self) -> None:
        """Refuse a container that no engine could run.

        Raises:
            InvalidInput: A limit is not positive, or host networking cannot move the port.
        """
        if self.memory_mb is not None and self.memory_mb < SMALLEST_MEMORY_MB:
            raise InvalidInput(
                f"A container needs at least {SMALLEST_MEMORY_MB} MB, not {self.memory_mb}",
                where="memory_mb",
            )
        if self.cpus is not None and self.cpus <= 0:
            raise InvalidInput(f"A container needs CPU time, not {self.cpus}", where="cpus")
        if self.network == "host" and self.host_port not in {None, self.port}:
            raise InvalidInput(
                "With host networking the server's own port is the one on this machine",
                where="host_port",
                remedy="Let the server listen on that port and give it as `port`",
            )

    def host_config(self, host_port: int | None) -> dict[str, Any]:
        """Return the Docker API's ``HostConfig`` as keyword arguments of the SDK."""
        is_published = self.network == "bridge" and self.port is not None
        tmp = f"rw,nosuid,nodev,size={self.tmp_mb}m,mode=1777"
        return {
            "binds": [
                f"{mount.source.resolve()}:{mount.target}:{'ro' if mount.read_only else 'rw'}"
                for mount in self.mounts
            ],
            "cap_drop": ["ALL"] if self.drop_capabilities else None,
            "cpuset_cpus": self.cpuset,
            "mem_limit": None if self.memory_mb is None else self.memory_mb * MIB,
            # This limit counts memory and swap together: equal limits leave no swap.
            "memswap_limit": None if self.memory_mb is None else self.memory_mb * MIB,
            "nano_cpus": None if self.cpus is None else round(self.cpus * NANO),
            "network_mode": self.network,
            "pids_limit": self.pids,
            "port_bindings": {self.port: (LOOPBACK, host_port)} if is_published else None,
            "read_only": self.read_only,
            "security_opt": ["no-new-privileges"],
            "tmpfs": {"/tmp": tmp} if self.read_only else None,  # noqa: S108  the container's own
        }

"""The description of a container to run: its image, limits, mounts and network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.errors import InvalidInput
from drdeploy.hosting.container_engine.ports import LOOPBACK
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BRIDGE = "bridge"
"""The default network of the engine, on which containers reach one another and other hosts."""
NO_NETWORK = "none"
"""No network: the container has only a loopback interface of its own."""

OWN_NETWORK = re.compile(r"drdeploy-[\w.-]+")
NANO = 1_000_000_000
SMALLEST_MEMORY_MB = 6
"""The smallest memory limit that Docker accepts."""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine (``source``) that appears in the container at ``target``."""

    source: Path
    target: str
    read_only: bool = True

    def make_bind(self) -> dict[str, Any]:
        """Return the mount in the form that the list ``Mounts`` of Docker's API takes."""
        return {
            "Type": "bind",
            "Source": str(self.source.resolve()),
            "Target": self.target,
            "ReadOnly": self.read_only,
        }

    def make_labelled_bind(self) -> str:
        """Return the mount as text for ``Binds`` of Docker's API, with a shared SELinux label."""
        return f"{self.source.resolve()}:{self.target}:{'ro' if self.read_only else 'rw'},z"


@dataclass(frozen=True)
class ContainerSpec:
    """A container to run, by default under more restrictions than on a SageMaker host.

    By default, the container has no capabilities and cannot gain privileges. The container can
    write only to ``/tmp``, which is in memory and counts towards ``memory_mb``.

    Attributes:
        image: The image's name and tag, or its id.
        command: The arguments with which the image's entry point is called; SageMaker passes
            ``("serve",)``.
        env: The environment variables of the container.
        mounts: The files and folders of this machine that are mounted in the container.
        memory_mb: The hard memory limit in MiB, including swap. Above the limit, the kernel kills a
            process of the container.
        cpus: The CPU limit in vCPUs, for example 0.58.
        cpuset: The cores of the host that the container may use, for example ``0-1``; None means
            all.
        port: The port that the server listens on in the container. With None, no port is published.
        host_port: The port of this machine that leads to ``port``. If the engine runs on another
            machine, it is a port of that machine. None takes a free port.
        network: The network of the container. With ``bridge``, or with the name of a network that
            :meth:`ContainerEngine.create_network` made, ``port`` is published. With ``none``, only
            :meth:`RunningContainer.connect` reaches the container. The host's network is not
            allowed, because on it a container reaches every service of this machine.
        read_only: Whether the root file system is read-only. If it is writable, ``/tmp`` is an
            ordinary folder on it, and not in memory.
        drop_capabilities: Whether the container has no capabilities. If this is false, it has the
            engine's default capabilities. An image that starts as root and then changes to another
            user needs them.
        may_gain_privileges: Whether a program of the container may gain privileges, for example
            with ``sudo``.
        labels: The labels that the engine stores with the container, so that it can be found again.
        name: The container's name; None lets the engine choose a name.
        user: The user as ``uid`` or ``uid:gid``; None is the user that the image names.
        entrypoint: The program that replaces the image's entry point, for tests and diagnosis.
        pids: The largest number of processes and threads that the container may have.
        tmp_mb: The size of ``/tmp``, MiB.
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
    network: str = BRIDGE
    read_only: bool = True
    drop_capabilities: bool = True
    may_gain_privileges: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    user: str | None = None
    entrypoint: tuple[str, ...] | None = None
    pids: int = 1024
    tmp_mb: int = 512

    def __post_init__(self) -> None:
        """Refuse limits that are too small, and networks that a container may not join.

        Raises:
            InvalidInput: A limit is too small, or the network is not allowed.
        """
        if self.memory_mb is not None and self.memory_mb < SMALLEST_MEMORY_MB:
            raise InvalidInput(
                f"A container needs at least {SMALLEST_MEMORY_MB} MB, not {self.memory_mb}",
                where="memory_mb",
            )
        if self.cpus is not None and self.cpus <= 0:
            raise InvalidInput(f"The CPU limit must be above 0, not {self.cpus}", where="cpus")
        is_own = OWN_NETWORK.fullmatch(self.network)
        if self.network not in {BRIDGE, NO_NETWORK} and not is_own:
            raise InvalidInput(
                "The container may not join this network",
                where=f"network={self.network!r}",
                remedy="Use `bridge`, `none`, or a network made by `create_network`",
            )

    def make_host_config(
        self,
        host_port: int | None,
        *,
        address: str = LOOPBACK,
        volumes: Mapping[str, str] | None = None,
        relabels: bool = False,
    ) -> dict[str, Any]:
        """Return the arguments from which the Docker SDK makes the container's ``HostConfig``.

        Args:
            host_port: The port on which :attr:`port` is published.
            address: The address of the engine's machine on which the port is published.
            volumes: The volumes that hold copies of folders. The key is the folder's place in the
                container (:attr:`Mount.target`), and the value is the volume's name.
            relabels: Whether to mount folders with the option ``z``, which gives their files an
                SELinux label for containers. If SELinux confines containers, a container can read
                only files with such a label.
        """
        is_published = self.network != NO_NETWORK and self.port is not None
        tmp = f"rw,nosuid,nodev,size={self.tmp_mb}m,mode=1777"
        copies = volumes or {}
        mounted = [mount for mount in self.mounts if mount.target not in copies]
        return {
            # Docker's API accepts an SELinux label only in `binds`.
            "binds": [mount.make_labelled_bind() for mount in mounted] if relabels else None,
            # `binds` is used only for labels, because a colon in a path would split its text
            # wrongly.
            "mounts": [
                *([] if relabels else [mount.make_bind() for mount in mounted]),
                *(
                    {
                        "Type": "volume",
                        "Source": copies[mount.target],
                        "Target": mount.target,
                        "ReadOnly": mount.read_only,
                    }
                    for mount in self.mounts
                    if mount.target in copies
                ),
            ],
            "cap_drop": ["ALL"] if self.drop_capabilities else None,
            "cpuset_cpus": self.cpuset,
            "mem_limit": None if self.memory_mb is None else self.memory_mb * MIB,
            # This limit is for memory and swap together, so equal limits leave no swap.
            "memswap_limit": None if self.memory_mb is None else self.memory_mb * MIB,
            "nano_cpus": None if self.cpus is None else round(self.cpus * NANO),
            "network_mode": self.network,
            "pids_limit": self.pids,
            "port_bindings": {self.port: (address, host_port)} if is_published else None,
            "read_only": self.read_only,
            "security_opt": None if self.may_gain_privileges else ["no-new-privileges"],
            "tmpfs": {"/tmp": tmp} if self.read_only else None,  # noqa: S108  the container's own
        }

"""Control groups that hold a process to its memory and CPU, version 1 or 2.

A group is a folder below the service's own.  A process enters it by writing its id into
``cgroup.procs`` before it becomes the server (:attr:`ControlGroup.entrances`).  Formats: Linux
kernel documentation, admin-guide/cgroup-v1/memory, scheduler/sched-bwc, admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from drdeploy.hosting.local.instances.cgroups.v1 import find_v1
from drdeploy.hosting.local.instances.cgroups.v2 import find_v2

if TYPE_CHECKING:
    from collections.abc import Iterator


class ControlGroup(Protocol):
    """One group with its limits."""

    @property
    def entrances(self) -> tuple[Path, ...]:
        """Files into which a process writes its id to be held."""
        ...

    def oom_kills(self) -> int:
        """How often the kernel killed in it for want of memory."""
        ...

    def memory_bytes(self) -> int:
        """Memory in use, page cache that can be dropped left out."""
        ...

    def remove(self) -> None:
        """Kill what is in it, then remove it."""
        ...


class ControlGroups(Protocol):
    """Where groups can be made."""

    @property
    def version(self) -> Literal["v1", "v2"]:
        """Of the kernel's interface."""
        ...

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> ControlGroup:
        """Make a group.

        Raises:
            OSError: The kernel refuses.
        """
        ...

    def remove(self) -> None:
        """Remove every group made here, and the folder that held them."""
        ...


def find_control_groups(name: str, root: Path = Path("/")) -> ControlGroups | None:
    """Where this process may make groups under ``name``; None where it may not at all.

    Args:
        name: Folder for the groups, unique to this service.
        root: Where ``/proc`` and ``/sys`` are; tests lay out a tree of their own.
    """
    return next((groups for groups in _candidates(name, root) if _can_create(groups)), None)


def _candidates(name: str, root: Path) -> Iterator[ControlGroups]:
    v1 = find_v1(name, root)
    if v1 is not None:
        yield v1
    yield from find_v2(name, root)


def _can_create(groups: ControlGroups) -> bool:
    try:
        groups.create("probe", memory_mb=64, cpus=0.5).remove()
    except OSError:
        with contextlib.suppress(OSError):
            groups.remove()
        return False
    return True

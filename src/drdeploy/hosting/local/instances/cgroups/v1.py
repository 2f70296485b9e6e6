"""Version 1: a hierarchy for each controller."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.hosting.local.instances.cgroups.files import (
    PERIOD_US,
    empty_and_remove,
    fields,
    number,
    own_groups,
    remove_tree,
    write,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class GroupV1:
    """A folder in each of the two hierarchies."""

    cpu: Path
    memory: Path

    @property
    def entrances(self) -> tuple[Path, ...]:
        """See :class:`ControlGroup`."""
        return self.cpu / "cgroup.procs", self.memory / "cgroup.procs"

    def oom_kills(self) -> int:
        """See :class:`ControlGroup`."""
        return fields(self.memory / "memory.oom_control").get("oom_kill", 0)

    def memory_bytes(self) -> int:
        """See :class:`ControlGroup`."""
        used = number(self.memory / "memory.usage_in_bytes")
        return max(0, used - fields(self.memory / "memory.stat").get("total_inactive_file", 0))

    def remove(self) -> None:
        """See :class:`ControlGroup`."""
        for folder in (self.cpu, self.memory):
            empty_and_remove(folder)


@dataclass(frozen=True)
class GroupsV1:
    """Groups of version 1, of the ``cpu`` and ``memory`` controllers."""

    cpu: Path
    memory: Path
    version: Literal["v1"] = "v1"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> GroupV1:
        """See :class:`ControlGroups`."""
        group = GroupV1(self.cpu / name, self.memory / name)
        group.cpu.mkdir(parents=True, exist_ok=True)
        group.memory.mkdir(parents=True, exist_ok=True)
        write(group.memory / "memory.limit_in_bytes", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            write(group.memory / "memory.memsw.limit_in_bytes", memory_mb * MIB)
        if cpus is not None:
            write(group.cpu / "cpu.cfs_period_us", PERIOD_US)
            write(group.cpu / "cpu.cfs_quota_us", round(cpus * PERIOD_US))
        return group

    def remove(self) -> None:
        """See :class:`ControlGroups`."""
        for folder in (self.cpu, self.memory):
            remove_tree(folder)


def find_v1(name: str, root: Path) -> GroupsV1 | None:
    """Folders below this process's own groups; None where a controller is not mounted."""
    own = own_groups(root)
    folders = {}
    for controller in ("cpu", "memory"):
        base = root / "sys/fs/cgroup" / controller
        if controller not in own or not (base / "cgroup.procs").exists():
            return None
        # Inside a container the path may be the host's, which is not mounted here.
        below = base / str(own[controller]).lstrip("/")
        folders[controller] = (below if below.is_dir() else base) / name
    return GroupsV1(folders["cpu"], folders["memory"])

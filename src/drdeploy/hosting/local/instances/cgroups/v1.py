"""Control groups of version 1, which has a tree of folders for each controller."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from drdeploy.hosting.local.instances.cgroups.control_files import (
    PERIOD_US,
    find_own_control_groups,
    remove_group_with_subgroups,
    write_control_value,
)
from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class GroupsV1:
    """Two folders in which control groups are made, one for ``cpu`` and one for ``memory``."""

    cpu: Path
    memory: Path
    isolation: ClassVar[Literal["process+cgroup-v1"]] = "process+cgroup-v1"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> ControlGroup:
        """Make a control group with limits.

        Args:
            name: The name of the group's folder.
            memory_mb: The hard memory limit, MiB. The group also gets no swap, if the kernel can
                limit swap.
            cpus: The CPU limit, in seconds of CPU time per second, or None.

        Raises:
            OSError: The kernel refuses the group or a limit.
        """
        cpu, memory = self.cpu / name, self.memory / name
        cpu.mkdir(parents=True, exist_ok=True)
        memory.mkdir(parents=True, exist_ok=True)
        write_control_value(memory / "memory.limit_in_bytes", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            # This file limits memory and swap together. With the same limit as for memory, there is
            # no swap.
            write_control_value(memory / "memory.memsw.limit_in_bytes", memory_mb * MIB)
        if cpus is not None:
            write_control_value(cpu / "cpu.cfs_period_us", PERIOD_US)
            write_control_value(cpu / "cpu.cfs_quota_us", round(cpus * PERIOD_US))
        return ControlGroup(
            (cpu, memory),
            kills_file=memory / "memory.oom_control",
            usage_file=memory / "memory.usage_in_bytes",
            cache_field="total_inactive_file",
        )

    def remove(self) -> None:
        """Remove all control groups that this object made, and their parent folders."""
        for folder in (self.cpu, self.memory):
            remove_group_with_subgroups(folder)


def find_group_folders_of_version_1(name: str, root: Path) -> Iterator[GroupsV1]:
    """Yield the folders for control groups of version 1, or nothing if they cannot be made.

    The folders are below this process's own groups. They can be made only if both controllers,
    ``cpu`` and ``memory``, have a tree.
    """
    own = find_own_control_groups(root)
    folders = {}
    for controller in ("cpu", "memory"):
        mount = root / "sys/fs/cgroup" / controller
        if controller not in own or not (mount / "cgroup.procs").exists():
            return
        # In a container, /proc may show the host's path of the group, while only the group itself
        # is mounted.
        below = mount / str(own[controller]).lstrip("/")
        folders[controller] = (below if below.is_dir() else mount) / name
    yield GroupsV1(folders["cpu"], folders["memory"])

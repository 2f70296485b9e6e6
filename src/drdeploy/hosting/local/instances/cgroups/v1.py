"""Control groups of version 1: a tree of folders for each controller."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from drdeploy.hosting.local.instances.cgroups.control_files import (
    PERIOD_US,
    own_groups,
    remove_tree,
    write,
)
from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class GroupsV1:
    """A folder for groups in the tree of the ``cpu`` and in that of the ``memory`` controller."""

    cpu: Path
    memory: Path
    isolation: ClassVar[Literal["process+cgroup-v1"]] = "process+cgroup-v1"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> ControlGroup:
        """Make a group.

        Args:
            name: Name of its folder.
            memory_mb: Hard memory limit, MiB; swap is not available beyond it.
            cpus: CPU time per wall-clock time; None is no limit.

        Raises:
            OSError: The kernel refuses.
        """
        cpu, memory = self.cpu / name, self.memory / name
        cpu.mkdir(parents=True, exist_ok=True)
        memory.mkdir(parents=True, exist_ok=True)
        write(memory / "memory.limit_in_bytes", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            # Memory and swap together: at the same value, there is no swap.
            write(memory / "memory.memsw.limit_in_bytes", memory_mb * MIB)
        if cpus is not None:
            write(cpu / "cpu.cfs_period_us", PERIOD_US)
            write(cpu / "cpu.cfs_quota_us", round(cpus * PERIOD_US))
        return ControlGroup(
            (cpu, memory),
            kills_file=memory / "memory.oom_control",
            usage_file=memory / "memory.usage_in_bytes",
            cache_field="total_inactive_file",
        )

    def remove(self) -> None:
        """Remove every group made here, and the folders that held them."""
        for folder in (self.cpu, self.memory):
            remove_tree(folder)


def find_v1(name: str, root: Path) -> Iterator[GroupsV1]:
    """Yield a place below this process's own groups; nothing where a controller is not mounted."""
    own = own_groups(root)
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

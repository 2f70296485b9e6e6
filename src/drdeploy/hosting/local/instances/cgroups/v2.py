"""Control groups of version 2: one tree, in which parents enable the controllers of children."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from drdeploy.hosting.local.instances.cgroups.control_files import (
    PERIOD_US,
    own_groups,
    remove_tree,
    words,
    write,
)
from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTROLLERS = {"cpu", "memory"}


@dataclass(frozen=True)
class GroupsV2:
    """A folder for groups, below one that enables the controllers ``cpu`` and ``memory``."""

    folder: Path
    isolation: ClassVar[Literal["process+cgroup-v2"]] = "process+cgroup-v2"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> ControlGroup:
        """Make a group; its arguments are those of :meth:`GroupsV1.create`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _enable_controllers(self.folder)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        write(folder / "memory.max", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            write(folder / "memory.swap.max", 0)
        if cpus is not None:
            write(folder / "cpu.max", f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        return ControlGroup(
            (folder,),
            kills_file=folder / "memory.events",
            usage_file=folder / "memory.current",
            cache_field="inactive_file",
        )

    def remove(self) -> None:
        """Remove every group made here, and the folder that held them."""
        remove_tree(self.folder)


def find_v2(name: str, root: Path) -> Iterator[GroupsV2]:
    """Yield places for groups: below the root of the tree, then below this process's own group.

    The first is for root.  The second is for a user to whom systemd has delegated a group.
    """
    mount = root / "sys/fs/cgroup"
    own = own_groups(root).get("")
    if own is None or not words(mount / "cgroup.controllers") >= CONTROLLERS:
        return
    with contextlib.suppress(OSError):
        if not words(mount / "cgroup.subtree_control") >= CONTROLLERS:
            _enable_controllers(mount)
        yield GroupsV2(mount / name)
    own_folder = mount / str(own).lstrip("/")
    if words(own_folder / "cgroup.controllers") >= CONTROLLERS:
        with contextlib.suppress(OSError):
            # A group may enable controllers for its children only while it holds no process itself,
            # so this process moves into a child first ("no internal process constraint").
            leaf = own_folder / f"{name}-service"
            leaf.mkdir(exist_ok=True)
            write(leaf / "cgroup.procs", os.getpid())
            _enable_controllers(own_folder)
            yield GroupsV2(own_folder / name)


def _enable_controllers(folder: Path) -> None:
    write(folder / "cgroup.subtree_control", "+cpu +memory")

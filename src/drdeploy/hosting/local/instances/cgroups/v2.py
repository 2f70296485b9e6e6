"""Control groups of version 2: one tree, in which parents enable the controllers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from drdeploy.hosting.local.instances.cgroups.control_files import (
    PERIOD_US,
    find_own_control_groups,
    read_words,
    remove_group_with_subgroups,
    write_control_value,
)
from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTROLLERS = {"cpu", "memory"}


@dataclass(frozen=True)
class GroupsV2:
    """A folder for control groups, which enables ``cpu`` and ``memory`` for the groups in it."""

    folder: Path
    isolation: ClassVar[Literal["process+cgroup-v2"]] = "process+cgroup-v2"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> ControlGroup:
        """Make a control group with limits; :meth:`GroupsV1.create` explains the arguments."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _enable_controllers(self.folder)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        write_control_value(folder / "memory.max", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            write_control_value(folder / "memory.swap.max", 0)
        if cpus is not None:
            write_control_value(folder / "cpu.max", f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        return ControlGroup(
            (folder,),
            kills_file=folder / "memory.events",
            usage_file=folder / "memory.current",
            cache_field="inactive_file",
        )

    def remove(self) -> None:
        """Remove all control groups that this object made, and their parent folder."""
        remove_group_with_subgroups(self.folder)


def find_group_folders_of_version_2(name: str, root: Path) -> Iterator[GroupsV2]:
    """Yield up to two folders in which control groups of version 2 may be made.

    The first folder is below the root of the tree, so only the user root can use it. The second
    folder is below this process's own group. Users other than root can use it only if systemd has
    delegated the group to them.
    """
    mount = root / "sys/fs/cgroup"
    own = find_own_control_groups(root).get("")
    if own is None or not read_words(mount / "cgroup.controllers") >= CONTROLLERS:
        return
    with contextlib.suppress(OSError):
        if not read_words(mount / "cgroup.subtree_control") >= CONTROLLERS:
            _enable_controllers(mount)
        yield GroupsV2(mount / name)
    own_folder = mount / str(own).lstrip("/")
    if read_words(own_folder / "cgroup.controllers") >= CONTROLLERS:
        with contextlib.suppress(OSError):
            # A group may enable controllers for its children only while it holds no process itself,
            # so this process moves into a child first ("no internal process constraint").
            leaf = own_folder / f"{name}-service"
            leaf.mkdir(exist_ok=True)
            write_control_value(leaf / "cgroup.procs", os.getpid())
            _enable_controllers(own_folder)
            yield GroupsV2(own_folder / name)


def _enable_controllers(folder: Path) -> None:
    write_control_value(folder / "cgroup.subtree_control", "+cpu +memory")

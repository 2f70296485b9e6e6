"""Version 2: one hierarchy, controllers handed down from parent to child."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.hosting.local.instances.cgroups.files import (
    PERIOD_US,
    empty_and_remove,
    fields,
    number,
    own_groups,
    remove_tree,
    words,
    write,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class GroupV2:
    """One folder of the unified hierarchy."""

    folder: Path

    @property
    def entrances(self) -> tuple[Path, ...]:
        """See :class:`ControlGroup`."""
        return (self.folder / "cgroup.procs",)

    def oom_kills(self) -> int:
        """See :class:`ControlGroup`."""
        return fields(self.folder / "memory.events").get("oom_kill", 0)

    def memory_bytes(self) -> int:
        """See :class:`ControlGroup`."""
        used = number(self.folder / "memory.current")
        return max(0, used - fields(self.folder / "memory.stat").get("inactive_file", 0))

    def remove(self) -> None:
        """See :class:`ControlGroup`."""
        empty_and_remove(self.folder)


@dataclass(frozen=True)
class GroupsV2:
    """Groups of version 2 below a folder that hands down ``cpu`` and ``memory``."""

    folder: Path
    version: Literal["v2"] = "v2"

    def create(self, name: str, *, memory_mb: int, cpus: float | None) -> GroupV2:
        """See :class:`ControlGroups`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _hand_down(self.folder)
        group = GroupV2(self.folder / name)
        group.folder.mkdir(exist_ok=True)
        write(group.folder / "memory.max", memory_mb * MIB)
        with contextlib.suppress(OSError):  # a kernel without swap accounting has no such file
            write(group.folder / "memory.swap.max", 0)
        if cpus is not None:
            write(group.folder / "cpu.max", f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        return group

    def remove(self) -> None:
        """See :class:`ControlGroups`."""
        remove_tree(self.folder)


def find_v2(name: str, root: Path) -> Iterator[GroupsV2]:
    """Below the root of the hierarchy, then below this process's own group."""
    mount = root / "sys/fs/cgroup"
    own = own_groups(root).get("")
    controllers = words(mount / "cgroup.controllers")
    if own is None or not {"cpu", "memory"} <= controllers:
        return
    if _hands_down(mount) or _try_hand_down(mount):
        yield GroupsV2(mount / name)
    delegated = _delegated(mount / str(own).lstrip("/"), name)
    if delegated is not None:
        yield delegated


def _delegated(own: Path, name: str) -> GroupsV2 | None:
    """Below the service's own group, as systemd delegates it to a user.

    A group that hands controllers down may hold no process itself, so the service first moves
    into a leaf of its own.
    """
    if not {"cpu", "memory"} <= words(own / "cgroup.controllers"):
        return None
    try:
        leaf = own / f"{name}-service"
        leaf.mkdir(exist_ok=True)
        write(leaf / "cgroup.procs", os.getpid())
        _hand_down(own)
    except OSError:
        return None
    return GroupsV2(own / name)


def _hands_down(folder: Path) -> bool:
    return {"cpu", "memory"} <= words(folder / "cgroup.subtree_control")


def _try_hand_down(folder: Path) -> bool:
    try:
        _hand_down(folder)
    except OSError:
        return False
    return True


def _hand_down(folder: Path) -> None:
    write(folder / "cgroup.subtree_control", "+cpu +memory")

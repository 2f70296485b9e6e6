"""Find the control groups of this process, through which Linux limits a container.

Control groups form a tree. The limit of a group also applies to all groups below it. The limit of a
process is therefore the smallest limit on the path from its group up to the root of the tree.
Version 1 of control groups has one tree for each controller, such as CPU or memory. Version 2 has a
single tree for all controllers. A hybrid host has both versions, so both are read (Linux kernel
documentation: admin-guide/cgroup-v2).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def iterate_folders_of_own_control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders that hold this process's limits, from the outermost group to its own.

    Args:
        controller: ``cpu`` or ``memory``.
        root: Folder that contains ``/proc`` and ``/sys``; tests use a folder of their own.
    """
    groups = _parse_own_control_groups(read_text_or_empty(root / "proc/self/cgroup"), controller)
    for mount in _parse_control_group_mounts(
        read_text_or_empty(root / "proc/self/mountinfo"), controller
    ):
        path = groups.get(mount.controller)
        if path is not None:
            yield from mount.iterate_folders_of_group(path, root)


def read_text_or_empty(path: Path) -> str:
    """Return the text of a file; empty if the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


@dataclass(frozen=True)
class _ControlGroupMount:
    """The folder on which a tree of control groups is mounted.

    Attributes:
        controller: Name of the controller in version 1; empty in version 2.
        group_root: The group that appears as the mounted folder itself; in a container, this is
            often the container's own group.
        point: The folder on which the tree is mounted.
    """

    controller: str
    group_root: PurePosixPath
    point: PurePosixPath

    def iterate_folders_of_group(self, group: PurePosixPath, root: Path) -> Iterator[Path]:
        """Yield the folders of a control group's parents, then the folder of the group itself."""
        is_below = group.is_relative_to(self.group_root) and ".." not in group.parts
        inside = group.relative_to(self.group_root) if is_below else PurePosixPath()
        base = root / self.point.relative_to("/")
        for depth in range(len(inside.parts) + 1):
            yield base.joinpath(*inside.parts[:depth])


def _parse_own_control_groups(proc_cgroup: str, controller: str) -> dict[str, PurePosixPath]:
    """Return this process's control group for each controller; version 2 has the key ""."""
    groups = {}
    for line in proc_cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            groups[controller] = PurePosixPath(path)
        elif number == "0" and not controllers:
            groups[""] = PurePosixPath(path)
    return groups


def _parse_control_group_mounts(mountinfo: str, controller: str) -> list[_ControlGroupMount]:
    """Return the mounts that may hold a limit (format: ``man 5 proc_pid_mountinfo``)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, point = PurePosixPath(fields[3]), PurePosixPath(fields[4])
        if kind[0] == "cgroup2":
            mounts.append(_ControlGroupMount("", root, point))
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            mounts.append(_ControlGroupMount(controller, root, point))
    return mounts

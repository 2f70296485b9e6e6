"""Linux control groups, of version 1 or 2, that limit the memory and CPU of a process.

The kernel shows each group as a folder, and the limits of the group as files in it. A process that
is about to become the model server writes its id into ``cgroup.procs`` to enter a group. The part
of the kernel that enforces the limits of one resource is called a controller, for example ``cpu``
or ``memory``. Version 1 has a tree of folders for each controller, and a process enters one folder
in each tree. Version 2 has one tree for all controllers. A folder of this tree must enable the
controllers for the folders in it, and it can do so only if it contains no processes.

The Linux kernel documentation describes the formats: admin-guide/cgroup-v1/memory,
scheduler/sched-bwc (CPU quota) and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.hosting.local.instances.cgroups.v1 import GroupsV1, find_group_folders_of_version_1
from drdeploy.hosting.local.instances.cgroups.v2 import GroupsV2, find_group_folders_of_version_2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ControlGroup", "ControlGroups", "find_control_groups"]


ControlGroups = GroupsV1 | GroupsV2
"""A place where control groups of version 1 or 2 can be made."""


def find_control_groups(name: str, root: Path = Path("/")) -> ControlGroups | None:
    """Return the folders in which this process may create control groups, or None.

    Permission to create groups depends on the user, the container, and systemd's delegation. No
    file states this permission reliably, so a group is created and removed to find out.

    Args:
        name: The name of the folder that holds the groups, which is unique to this service.
        root: The folder that contains ``proc`` and ``sys``, normally ``/``. Tests use a folder of
            their own.
    """
    places: Iterator[ControlGroups] = itertools.chain(
        find_group_folders_of_version_1(name, root), find_group_folders_of_version_2(name, root)
    )
    for groups in places:
        try:
            groups.create("probe", memory_mb=64, cpus=0.5).remove()
        except OSError:
            with contextlib.suppress(OSError):
                groups.remove()
        else:
            return groups
    return None

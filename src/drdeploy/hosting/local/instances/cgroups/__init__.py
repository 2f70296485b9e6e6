"""Linux control groups that hold a process to its memory and CPU, of version 1 or version 2.

A group is a folder that the kernel shows; its limits are files in it.  A process enters a group by
writing its id into ``cgroup.procs`` before it becomes the server.  The two versions differ in more
than file names: version 1 has a tree for each controller, and a process enters one folder in each;
version 2 has one tree, in which each folder must enable the controllers of its children, and only
folders without processes may.

Formats: Linux kernel documentation, admin-guide/cgroup-v1/memory, scheduler/sched-bwc (CPU quota)
and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups.group import ControlGroup
from drdeploy.hosting.local.instances.cgroups.v1 import GroupsV1, find_v1
from drdeploy.hosting.local.instances.cgroups.v2 import GroupsV2, find_v2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ControlGroup", "ControlGroups", "find_control_groups"]


ControlGroups = GroupsV1 | GroupsV2
"""A place where groups can be made, in either version."""


def find_control_groups(name: str, root: Path = Path("/")) -> ControlGroups | None:
    """Return where this process may make groups; None where it may not at all.

    Whether it may depends on the user, the container it runs in, and systemd's delegation.  No
    file says so reliably, so a group is made and removed to find out.

    Args:
        name: Name of the folder that holds the groups, unique to this service.
        root: Where ``/proc`` and ``/sys`` are; tests make a tree of their own.
    """
    places: Iterator[ControlGroups] = itertools.chain(find_v1(name, root), find_v2(name, root))
    for groups in places:
        try:
            groups.create("probe", memory_mb=64, cpus=0.5).remove()
        except OSError:
            with contextlib.suppress(OSError):
                groups.remove()
        else:
            return groups
    return None

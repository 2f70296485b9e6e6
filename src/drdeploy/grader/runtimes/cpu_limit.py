"""How much CPU this process may use: the container's limit, not the host's cores.

A container engine limits CPU by a quota of microseconds per period on a control group.  What holds
is the smallest quota between the process's own group and the root of the hierarchy.  Version 1 of
control groups keeps it in ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``, version 2 in
``cpu.max``.  A hybrid host has both hierarchies, with the CPU controller in one of them, so both
are read (Linux kernel documentation: admin-guide/cgroup-v2, scheduler/sched-bwc).

``os.cpu_count`` would answer with the host's cores.  A model that starts a thread for each of them
in a container of half a CPU spends most of its quota on threads that wait for each other.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = math.inf


def available_cpus(root: Path = Path("/"), affinity: int | None = None) -> float:
    """Return how many CPUs this process may keep busy, for example 0.58.

    Args:
        root: Where ``/proc`` and ``/sys`` are; tests make a tree of their own.
        affinity: Cores that the scheduler may use; the operating system's answer if None.
    """
    if affinity is None:
        # macOS does not restrict a process to some of its cores.
        has_affinity = hasattr(os, "sched_getaffinity")
        affinity = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(float(affinity), quota_cpus(root))


def thread_count(root: Path = Path("/"), affinity: int | None = None) -> int:
    """Return how many threads make the best use of the CPU limit: rounded up, at least one.

    Up, because a quota is granted for each period (usually 100 ms): two threads on 1.16 CPUs end
    a short prediction sooner than one thread does, and a long one no later.
    """
    return max(1, math.ceil(round(available_cpus(root, affinity), 2)))


def quota_cpus(root: Path = Path("/")) -> float:
    """Return the control groups' quota in CPUs; infinite if none is set or it cannot be read."""
    groups = _groups(_read(root / "proc/self/cgroup"))
    mounts = _mounts(_read(root / "proc/self/mountinfo"))
    quotas = [UNLIMITED]
    for mount in mounts:
        path = groups.get(mount.controller)
        if path is not None:
            quotas += [_quota(folder) for folder in mount.folders(path, root)]
    return min(quotas)


@dataclass(frozen=True)
class _Mount:
    """Where a hierarchy of control groups is mounted.

    Attributes:
        controller: ``cpu`` for version 1, empty for version 2.
        group_root: The group at the mount's root; in a container, often the container's own.
        point: The folder that it is mounted on.
    """

    controller: str
    group_root: PurePosixPath
    point: PurePosixPath

    def folders(self, group: PurePosixPath, root: Path) -> Iterator[Path]:
        """Yield the folders of a group's parents and of the group, as far as they are mounted."""
        is_below = group.is_relative_to(self.group_root) and ".." not in group.parts
        inside = group.relative_to(self.group_root) if is_below else PurePosixPath()
        base = root / self.point.relative_to("/")
        for depth in range(len(inside.parts) + 1):
            yield base.joinpath(*inside.parts[:depth])


def _groups(proc_cgroup: str) -> dict[str, PurePosixPath]:
    """Find this process's groups by controller: ``cpu`` for version 1, empty for version 2."""
    groups = {}
    for line in proc_cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "cpu" in controllers.split(","):
            groups["cpu"] = PurePosixPath(path)
        elif number == "0" and not controllers:
            groups[""] = PurePosixPath(path)
    return groups


def _mounts(mountinfo: str) -> list[_Mount]:
    """Find the mounts that may hold a CPU quota (format: ``man 5 proc_pid_mountinfo``)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, point = PurePosixPath(fields[3]), PurePosixPath(fields[4])
        if kind[0] == "cgroup2":
            mounts.append(_Mount("", root, point))
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            mounts.append(_Mount("cpu", root, point))
    return mounts


def _quota(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    if not (quota.isdecimal() and period.isdecimal()):
        return UNLIMITED  # "max" in version 2, -1 in version 1, or no such file
    return int(quota) / int(period) if int(quota) and int(period) else UNLIMITED


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""

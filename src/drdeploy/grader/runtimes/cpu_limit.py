"""Find how many CPUs this process may use: the container's limit, not the host's core count.

A container engine limits CPU time by a quota on a control group: a number of microseconds of CPU
time per period. Version 1 of control groups keeps the quota in ``cpu.cfs_quota_us`` and
``cpu.cfs_period_us``, and version 2 in ``cpu.max``. The formats are in the Linux kernel
documentation (admin-guide/cgroup-v2, scheduler/sched-bwc).

``os.cpu_count`` returns the number of the host's cores, even in a container that may use only half
a CPU. If a model in such a container used one thread per core of the host, the threads would mostly
wait for each other. Waiting threads use CPU time too, and would use up most of the quota.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from drdeploy.grader.runtimes.control_groups import (
    iterate_folders_of_own_control_groups,
    read_text_or_empty,
)

UNLIMITED = math.inf


def count_available_cpus(root: Path = Path("/"), affinity: int | None = None) -> float:
    """Return how many CPUs this process may keep busy, for example 0.58.

    Args:
        root: Folder that contains ``/proc`` and ``/sys``; tests use a folder of their own.
        affinity: Number of cores that the process may run on. With None, the function asks the
            operating system.
    """
    if affinity is None:
        # macOS does not restrict a process to some of its cores.
        has_affinity = hasattr(os, "sched_getaffinity")
        affinity = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(float(affinity), cpu_quota_of_control_groups(root))


def choose_thread_count(root: Path = Path("/"), affinity: int | None = None) -> int:
    """Return the best number of threads, which is the CPU limit rounded up and at least one.

    The limit is rounded up because Linux grants the quota for a whole period, usually of 100 ms. A
    limit of 1.16 CPUs is 116 ms of CPU time per period, which two threads may use up in 58 ms. Two
    threads therefore finish a short prediction sooner than one thread, and a long prediction no
    later.
    """
    return max(1, math.ceil(round(count_available_cpus(root, affinity), 2)))


def cpu_quota_of_control_groups(root: Path = Path("/")) -> float:
    """Return the CPU quota of the control groups, in CPUs; infinite if there is none to read."""
    quotas = (
        _read_cpu_quota_in_folder(folder)
        for folder in iterate_folders_of_own_control_groups("cpu", root)
    )
    return min(quotas, default=UNLIMITED)


def _read_cpu_quota_in_folder(folder: Path) -> float:
    quota, _, period = read_text_or_empty(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = read_text_or_empty(folder / "cpu.cfs_quota_us").strip()
        period = read_text_or_empty(folder / "cpu.cfs_period_us").strip()
    if not (quota.isdecimal() and period.isdecimal()):
        return UNLIMITED  # "max" in version 2, -1 in version 1, or no such file
    return int(quota) / int(period) if int(quota) and int(period) else UNLIMITED

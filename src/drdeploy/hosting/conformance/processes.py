"""How many processes and threads there are, and what becomes of the rest when one dies.

Whether a server follows its CPU limit is seen from their number.  The same image under the same
limit is started on what looks like a smaller machine: bound to as many cores as the limit needs,
with the kernel's list of cores replaced.  A server that follows its limit has the same number
there.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    judged,
    not_applicable,
)
from drdeploy.hosting.conformance.contract import PRACTICE
from drdeploy.hosting.conformance.hosting import Conditions
from drdeploy.hosting.conformance.requests import warm_up
from drdeploy.hosting.engine import Mount

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.hosting import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection

CORES_ONLINE = "/sys/devices/system/cpu/online"
"""Where the C library, and with it most runtimes, counts the machine's cores."""
REPLACED_WITHIN_S = 30.0
ASK_EVERY_S = 0.1
PROC = Path("/proc")


@dataclass(frozen=True)
class Processes:
    """What was seen of a container on a machine with fewer cores.

    Attributes:
        small_cores: Cores of that machine; None if this one has no more.
        small_tasks: Processes and threads there; None if it did not get ready.
        trouble: Why it did not.
        killed: The process that was killed; None if there was only one.
        recovered_s: Until a photograph was answered again; None if none was.
        unkillable: Why no process could be killed.
    """

    small_cores: int | None
    small_tasks: int | None
    trouble: str
    killed: str | None = None
    recovered_s: float | None = None
    unkillable: str = ""


def observe_processes(seen: ImageInspection) -> Processes:
    """Start the image on fewer cores, count, kill a process, and wait for the next answer."""
    seen.require_answers()
    cores = math.ceil(seen.host.cpus)
    is_smaller = cores < seen.host.engine.cores
    start = seen.try_out(_small_machine(seen, cores) if is_smaller else Conditions())
    if start.hosted is None or not start.is_serving:
        seen.discard(start)
        return Processes(cores if is_smaller else None, None, str(start), unkillable=str(start))
    _, tasks = warm_up(seen, start.hosted)
    killed, recovered_s, unkillable = _kill_one(seen, start.hosted)
    seen.discard(start)
    return Processes(cores if is_smaller else None, tasks, "", killed, recovered_s, unkillable)


def _small_machine(seen: ImageInspection, cores: int) -> Conditions:
    names = "0" if cores == 1 else f"0-{cores - 1}"
    online = seen.host.folder / "cores-online"
    online.write_text(f"{names}\n", encoding="ascii")
    return Conditions(cpuset=names, mounts=(Mount(online, CORES_ONLINE),))


def _kill_one(
    seen: ImageInspection, hosted: ContainerUnderTest
) -> tuple[str | None, float | None, str]:
    if not seen.host.engine.is_here:
        return None, None, "its processes are not on this machine"
    largest = _largest_leaf(hosted.container.main_pid())
    if largest is None:
        return None, None, ""
    name = (PROC / str(largest) / "comm").read_text(encoding="utf-8").strip()
    try:
        os.kill(largest, signal.SIGKILL)
    except PermissionError:
        return None, None, "this user may not kill its processes"
    began = time.monotonic()
    while time.monotonic() - began < REPLACED_WITHIN_S:
        if hosted.grade(seen.photograph).is_success:
            return name, time.monotonic() - began, ""
        if hosted.ended() is not None:
            break
        time.sleep(ASK_EVERY_S)
    return name, None, ""


def _largest_leaf(main_pid: int) -> int | None:
    """The process with the most memory of those that have no child; None if there is only one."""
    leaves = [pid for pid in _below(main_pid) if not _children(pid)]
    return max(leaves, key=_resident_pages, default=None)


def _below(pid: int) -> list[int]:
    children = _children(pid)
    return children + [one for child in children for one in _below(child)]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for file in (PROC / str(pid) / "task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def _resident_pages(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0


@clause(Severity.SHOULD, PRACTICE)
def cpu_limit(seen: ImageInspection) -> ConformanceVerdict:
    """The number of its processes and threads follows the CPU limit, not the machine's cores."""
    tasks, processes = seen.requests.tasks, seen.processes
    cores, limit = seen.host.engine.cores, f"{seen.host.cpus:g}"
    if processes.small_cores is None:
        raise Undetermined(f"a limit of {limit} CPU is no less than this machine's {cores} cores")
    if processes.small_tasks is None:
        raise Undetermined(
            f"bound to {processes.small_cores} of {cores} cores: {processes.trouble}"
        )
    return judged(
        tasks <= processes.small_tasks,
        f"limited to {limit} CPU: {tasks} processes and threads on {cores} cores, "
        f"{processes.small_tasks} on {processes.small_cores}",
    )


@clause(Severity.OPTIONAL, PRACTICE)
def replaces_killed_worker(seen: ImageInspection) -> ConformanceVerdict:
    """If one of its processes is killed, another one takes its place."""
    processes = seen.processes
    if processes.unkillable:
        raise Undetermined(processes.unkillable)
    if processes.killed is None:
        return not_applicable("it is one process: the container ends with it")
    if processes.recovered_s is None:
        return judged(False, f"after `{processes.killed}` was killed it answers nothing any more")
    return judged(
        True, f"`{processes.killed}` killed; answered again {processes.recovered_s:.2f} s later"
    )

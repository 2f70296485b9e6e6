"""How many processes and threads there are, and what happens when one is killed.

Whether a server follows its CPU limit shows in that number.  The same image is started with the
same limit on what looks like a smaller machine: bound to as many cores as the limit needs, with the
kernel's list of cores replaced.  A server that follows its limit has the same number there.
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
    clause,
    failed,
    not_applicable,
    passed,
    passed_if,
)
from drdeploy.hosting.conformance.containers import Conditions
from drdeploy.hosting.conformance.contract import PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_requests, warm_up
from drdeploy.hosting.engine import Mount

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.containers import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection

CORES_ONLINE = "/sys/devices/system/cpu/online"
"""Where the C library, and with it most runtimes, counts the machine's cores."""
REPLACED_WITHIN_S = 30.0
"""A new worker has to import its runtime and load the model: with TensorFlow some ten seconds."""
ASK_EVERY_S = 0.1
PROC = Path("/proc")


@dataclass(frozen=True)
class Kill:
    """What followed when one of a container's processes was killed.

    Attributes:
        killed: Name of that process; None if the container has only one.
        recovered_s: Seconds until a photograph was answered again; None if none was.
        trouble: Why no process could be killed.
    """

    killed: str | None = None
    recovered_s: float | None = None
    trouble: str = ""


@dataclass(frozen=True)
class SmallMachine:
    """A container on a machine with fewer cores.

    Attributes:
        cores: Cores of that machine; None if this one has no more.
        tasks: Processes and threads there; None if the container did not get ready.
        trouble: Why it did not.
        kill: What followed when a process was killed there.
    """

    cores: int | None
    tasks: int | None
    trouble: str
    kill: Kill


def observe_processes(inspection: ImageInspection) -> SmallMachine:
    """Start the image on fewer cores, count, kill a process, and wait for the next answer."""
    inspection.require_answers()
    needed = math.ceil(inspection.host.cpus)
    cores = needed if needed < inspection.host.engine.cores else None
    conditions = Conditions()
    if cores:
        cpuset = "0" if cores == 1 else f"0-{cores - 1}"
        online = inspection.host.folder / "cores-online"
        online.write_text(f"{cpuset}\n", encoding="ascii")
        conditions = Conditions(cpuset=cpuset, mounts=(Mount(online, CORES_ONLINE),))
    start = inspection.start_and_wait(conditions)
    if start.container is None or not start.is_serving:
        inspection.discard(start)
        return SmallMachine(cores, None, str(start), Kill(trouble=str(start)))
    _, tasks = warm_up(inspection, start.container)
    kill = _kill_one(inspection, start.container)
    inspection.discard(start)
    return SmallMachine(cores, tasks, "", kill)


def _kill_one(inspection: ImageInspection, container: ContainerUnderTest) -> Kill:
    if not inspection.host.engine.is_local:
        return Kill(trouble="its processes are not on this machine")
    # A process without a child that has the most memory is most likely a worker.
    leaves = [pid for pid in _descendants(container.running.main_pid()) if not _children(pid)]
    largest = max(leaves, key=_resident_pages, default=None)
    if largest is None:
        return Kill()
    name = (PROC / str(largest) / "comm").read_text(encoding="utf-8").strip()
    try:
        os.kill(largest, signal.SIGKILL)
    except PermissionError:
        return Kill(trouble="this user may not kill its processes")
    began = time.monotonic()
    while time.monotonic() - began < REPLACED_WITHIN_S:
        if container.grade(inspection.photograph).is_success:
            return Kill(name, time.monotonic() - began)
        if container.exit_state() is not None:
            break
        time.sleep(ASK_EVERY_S)
    return Kill(name)


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return children + [one for child in children for one in _descendants(child)]


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
def cpu_limit(inspection: ImageInspection) -> ConformanceVerdict:
    """The number of its processes and threads follows the CPU limit, not the machine's cores."""
    tasks = inspection.observe(observe_requests).tasks
    small = inspection.observe(observe_processes)
    cores, limit = inspection.host.engine.cores, f"{inspection.host.cpus:g}"
    if small.cores is None:
        raise Undetermined(f"a limit of {limit} CPU is no less than this machine's {cores} cores")
    if small.tasks is None:
        raise Undetermined(f"bound to {small.cores} of {cores} cores: {small.trouble}")
    return passed_if(
        tasks <= small.tasks,
        f"limited to {limit} CPU: {tasks} processes and threads on {cores} cores, "
        f"{small.tasks} on {small.cores}",
    )


@clause(Severity.OPTIONAL, PRACTICE)
def replaces_killed_worker(inspection: ImageInspection) -> ConformanceVerdict:
    """If one of its processes is killed, another takes its place."""
    kill = inspection.observe(observe_processes).kill
    if kill.trouble:
        raise Undetermined(kill.trouble)
    if kill.killed is None:
        return not_applicable("it is a single process: the container ends with it")
    if kill.recovered_s is None:
        return failed(f"after `{kill.killed}` was killed, it answers nothing any more")
    return passed(f"`{kill.killed}` killed; answered again {kill.recovered_s:.2f} s later")

"""Count the processes and threads of a container, and see what happens when a process is killed.

The number of threads shows whether a server follows its CPU limit or the machine's number of cores.
A second container has the same CPU limit, but can use and see only a few cores: the CPU limit,
rounded up. A server that follows its CPU limit has the same number of threads in both containers.
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
    define_clause,
    make_failed_verdict,
    make_not_applicable_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.containers import Conditions
from drdeploy.hosting.conformance.contract import PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.requests import observe_single_requests, warm_up_and_count_tasks
from drdeploy.hosting.container_engine import Mount

if TYPE_CHECKING:
    from drdeploy.hosting.conformance.containers import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection

CORES_ONLINE = "/sys/devices/system/cpu/online"
"""The file that tells the C library, and so most runtimes, how many cores the machine has."""
REPLACED_WITHIN_S = 30.0
"""Seconds within which a killed worker must be replaced. A new worker has to import its runtime and
load the model, which takes about ten seconds with TensorFlow.
"""
ASK_EVERY_S = 0.1
PROC = Path("/proc")


@dataclass(frozen=True)
class Kill:
    """How a container reacted when one of its processes was killed.

    Attributes:
        killed: The name of the killed process; None if the container has only one process, or if no
            process could be killed.
        recovered_s: Seconds until a photograph was answered again; None if no photograph was
            answered.
        trouble: Why no process could be killed; empty if one was killed.
    """

    killed: str | None = None
    recovered_s: float | None = None
    trouble: str = ""


@dataclass(frozen=True)
class SmallMachine:
    """A container that is bound to fewer cores than the machine has.

    Attributes:
        cores: How many cores the container may use. None means all of them. This happens if the
            machine has no more cores than the CPU limit needs.
        tasks: How many processes and threads the container has, or None if it did not become ready.
        trouble: Why the container did not become ready; empty if it did.
        kill: How the container reacted when one of its processes was killed.
    """

    cores: int | None
    tasks: int | None
    trouble: str
    kill: Kill


def observe_container_on_fewer_cores(inspection: ImageInspection) -> SmallMachine:
    """Start the image on fewer cores, count processes and threads, and kill a process."""
    inspection.require_answered_photograph()
    needed = math.ceil(inspection.host.cpus)
    cores = needed if needed < inspection.host.engine.cpu_count else None
    conditions = Conditions()
    if cores:
        cpuset = "0" if cores == 1 else f"0-{cores - 1}"
        online = inspection.host.folder / "cores-online"
        online.write_text(f"{cpuset}\n", encoding="ascii")
        conditions = Conditions(cpuset=cpuset, mounts=(Mount(online, CORES_ONLINE),))
    start = inspection.start_container_and_wait(conditions)
    if start.container is None or not start.is_serving:
        inspection.remove_started_container(start)
        return SmallMachine(cores, None, str(start), Kill(trouble=str(start)))
    _, tasks = warm_up_and_count_tasks(inspection, start.container)
    kill = _kill_largest_process(inspection, start.container)
    inspection.remove_started_container(start)
    return SmallMachine(cores, tasks, "", kill)


def _kill_largest_process(inspection: ImageInspection, container: ContainerUnderTest) -> Kill:
    if not inspection.host.engine.is_local:
        return Kill(trouble="the processes of the container are not on this machine")
    # Of the processes without children, the one with the most memory is most likely a worker.
    leaves = [
        pid
        for pid in _list_descendant_pids(container.running.read_main_pid())
        if not _list_child_pids(pid)
    ]
    largest = max(leaves, key=_read_resident_memory_pages, default=None)
    if largest is None:
        return Kill()
    name = (PROC / str(largest) / "comm").read_text(encoding="utf-8").strip()
    try:
        os.kill(largest, signal.SIGKILL)
    except PermissionError:
        return Kill(trouble="this user may not kill the processes of the container")
    began = time.monotonic()
    while time.monotonic() - began < REPLACED_WITHIN_S:
        if container.post_photograph(inspection.photograph).is_success:
            return Kill(name, time.monotonic() - began)
        if container.exit_state() is not None:
            break
        time.sleep(ASK_EVERY_S)
    return Kill(name)


def _list_descendant_pids(pid: int) -> list[int]:
    children = _list_child_pids(pid)
    return children + [one for child in children for one in _list_descendant_pids(child)]


def _list_child_pids(pid: int) -> list[int]:
    found: list[int] = []
    for file in (PROC / str(pid) / "task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def _read_resident_memory_pages(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0


@define_clause("cpu-limit", Severity.SHOULD, PRACTICE)
def check_thread_count_under_cpu_limit(inspection: ImageInspection) -> ConformanceVerdict:
    """The number of processes and threads follows the CPU limit, not the machine's cores."""
    tasks = inspection.observe_once(observe_single_requests).tasks
    small = inspection.observe_once(observe_container_on_fewer_cores)
    cores, limit = inspection.host.engine.cpu_count, f"{inspection.host.cpus:g}"
    if small.cores is None:
        raise Undetermined(
            f"the limit of {limit} CPU is not below the {cores} CPU cores of this machine"
        )
    if small.tasks is None:
        raise Undetermined(
            f"with {small.cores} of {cores} cores the container failed: {small.trouble}"
        )
    return make_passed_or_failed_verdict(
        tasks <= small.tasks,
        f"limited to {limit} CPU: {tasks} processes and threads on {cores} cores, "
        f"{small.tasks} on {small.cores}",
    )


@define_clause("replaces-killed-worker", Severity.OPTIONAL, PRACTICE)
def check_replacement_of_killed_worker(inspection: ImageInspection) -> ConformanceVerdict:
    """If one of the server's processes is killed, another process replaces it."""
    kill = inspection.observe_once(observe_container_on_fewer_cores).kill
    if kill.trouble:
        raise Undetermined(kill.trouble)
    if kill.killed is None:
        return make_not_applicable_verdict(
            "the server is a single process, and the container ends with it"
        )
    if kill.recovered_s is None:
        return make_failed_verdict(f"after `{kill.killed}` was killed, the server answers nothing")
    return make_passed_verdict(
        f"`{kill.killed}` killed; answered again {kill.recovered_s:.2f} s later"
    )

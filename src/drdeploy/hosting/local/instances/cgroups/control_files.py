"""The files of a control group: read, write, and remove the folder that holds them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path, PurePosixPath

PERIOD_US = 100_000
"""Period in which a CPU quota is granted: the kernel's default, and what container engines use."""
REMOVAL_S = 2.0


def own_groups(root: Path) -> dict[str, PurePosixPath]:
    """Return this process's control group by controller; the key "" stands for version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    groups = {}
    for line in lines:
        # For example "4:cpu,cpuacct:/user.slice" (version 1) or "0::/user.slice" (version 2).
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = PurePosixPath(path)
    return groups


def write(path: Path, value: object) -> None:
    """Write a value into a file that exists.

    Opened with "r+", because "w" would make an absent file: on a tree that is not the kernel's, a
    limit would then seem to be set.

    Raises:
        OSError: There is no such file, or the kernel refuses the value.
    """
    with path.open("r+", encoding="ascii") as file:
        file.write(str(value))


def fields(path: Path) -> dict[str, int]:
    """Read a file of ``name number`` lines; empty where it cannot be read."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def number(path: Path) -> int:
    """Read a file of one number; 0 where it cannot be read."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def words(path: Path) -> set[str]:
    """Read a file of words; empty where it cannot be read."""
    return set(_text(path).split())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def remove_tree(folder: Path) -> None:
    """Remove a group with the groups in it, killing their processes."""
    if folder.is_dir():
        for group in folder.iterdir():
            if group.is_dir():
                remove_group(group)
    remove_group(folder)


def remove_group(folder: Path) -> None:
    """Kill the processes in a group, and remove it.

    The kernel refuses to remove a group until its last process is gone, a moment after it was
    killed; hence the repetition.
    """
    deadline = time.monotonic() + REMOVAL_S
    while folder.is_dir():
        for process in words(folder / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(process), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.01)

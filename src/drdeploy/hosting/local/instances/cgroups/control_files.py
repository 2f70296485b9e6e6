"""Read and write the files of a control group, and remove its folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path, PurePosixPath

PERIOD_US = 100_000
"""The period of a CPU quota in microseconds, which is the default of the kernel and of engines."""
REMOVAL_S = 2.0


def find_own_control_groups(root: Path) -> dict[str, PurePosixPath]:
    """Return this process's control groups by controller; the key "" stands for version 2."""
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


def write_control_value(path: Path, value: object) -> None:
    """Write a value into an existing file.

    The file is opened with the mode "r+". The mode "w" would create a missing file, and a limit
    would seem to be set.

    Raises:
        OSError: The file does not exist, or the kernel refuses the value.
    """
    with path.open("r+", encoding="ascii") as file:
        file.write(str(value))


def read_number_fields(path: Path) -> dict[str, int]:
    """Return the numbers in a file of ``name number`` lines; empty if the file cannot be read."""
    pairs = (line.split() for line in _read_text_or_nothing(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def read_number(path: Path) -> int:
    """Return the number in a file; 0 if the file cannot be read."""
    text = _read_text_or_nothing(path).strip()
    return int(text) if text.isdecimal() else 0


def read_words(path: Path) -> set[str]:
    """Return the words in a file; empty if the file cannot be read."""
    return set(_read_text_or_nothing(path).split())


def _read_text_or_nothing(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def remove_group_with_subgroups(folder: Path) -> None:
    """Kill the processes in a group and its subgroups, and remove all of these groups."""
    if folder.is_dir():
        for group in folder.iterdir():
            if group.is_dir():
                remove_group(group)
    remove_group(folder)


def remove_group(folder: Path) -> None:
    """Kill the processes in a group, and remove the group.

    The kernel removes a group only after the group's last process has ended, which takes a moment.
    The removal is repeated until it succeeds, for at most ``REMOVAL_S`` seconds.
    """
    deadline = time.monotonic() + REMOVAL_S
    while folder.is_dir():
        for process in read_words(folder / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(process), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.01)

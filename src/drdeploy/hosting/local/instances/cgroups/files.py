"""The files of a control group: read, write, and remove the folder they are in."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERIOD_US = 100_000
"""The kernel's default, and what container engines use."""
REMOVAL_S = 2.0


def own_groups(root: Path) -> dict[str, PurePosixPath]:
    """This process's group for each controller; under "" that of version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    groups = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = PurePosixPath(path)
    return groups


def write(path: Path, value: object) -> None:
    """Set a limit, or enter a process id.  An absent file is an OSError: nothing is created."""
    with path.open("r+", encoding="ascii") as file:
        file.write(str(value))


def fields(path: Path) -> dict[str, int]:
    """A file of ``name number`` lines; empty where it cannot be read."""
    try:
        pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except OSError:
        return {}


def number(path: Path) -> int:
    """A file of one number; 0 where it cannot be read."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def words(path: Path) -> set[str]:
    """A file of words; empty where it cannot be read."""
    try:
        return set(path.read_text(encoding="ascii").split())
    except OSError:
        return set()


def remove_tree(folder: Path) -> None:
    """Remove a group and the groups right below it."""
    for group in _children(folder):
        empty_and_remove(group)
    empty_and_remove(folder)


def _children(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (child for child in folder.iterdir() if child.is_dir())


def empty_and_remove(
    folder: Path,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Kill what is in the group; the kernel lets go of it a moment after the last one is dead."""
    deadline = clock() + REMOVAL_S
    while folder.is_dir():
        for process in words(folder / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(process), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:
            if clock() >= deadline:
                return
            sleep(0.01)

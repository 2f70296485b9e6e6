"""Run a process with a CPU limit, as a container engine does."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups import find_control_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.local.instances.cgroups import ControlGroups

MEMORY_MB = 6144
"""A memory limit that no process reaches, so that only the CPU limit has an effect."""

ENTER_GROUPS = 'for file in $1; do echo $$ > "$file" || exit 125; done; shift; exec "$@"'
"""A shell script that enters control groups, and then replaces itself by a given command."""


@contextmanager
def control_groups() -> Iterator[ControlGroups | None]:
    """Yield control groups in which this process may set limits, or None if there are none."""
    groups = find_control_groups(f"drdeploy-benchmark-{os.getpid()}")
    try:
        yield groups
    finally:
        if groups is not None:
            groups.remove()


def limited(
    command: Sequence[str], groups: ControlGroups | None, cpus: float | None, name: str
) -> list[str]:
    """Return a command that runs the given command with a CPU limit.

    The command then runs in a control group of its own. If no limit or no control groups are given,
    the command is returned unchanged.
    """
    if groups is None or cpus is None:
        return list(command)
    group = groups.create(name, memory_mb=MEMORY_MB, cpus=cpus)
    entry_files = " ".join(str(path) for path in group.entry_files)
    return ["/bin/sh", "-c", ENTER_GROUPS, "enter", entry_files, *command]

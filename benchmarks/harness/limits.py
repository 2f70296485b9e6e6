"""A process under a CPU limit, as a container engine sets it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups import find_control_groups
from drdeploy.hosting.local.instances.processes import ENTER_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.local.instances.cgroups import ControlGroups

MEMORY_MB = 6144
"""Not what is measured here: enough for each of them."""


@contextmanager
def control_groups() -> Iterator[ControlGroups | None]:
    """Where limits can be set; None where this process may not set any."""
    groups = find_control_groups(f"drdeploy-benchmark-{os.getpid()}")
    try:
        yield groups
    finally:
        if groups is not None:
            groups.remove()


def limited(
    command: Sequence[str], groups: ControlGroups | None, cpus: float | None, name: str
) -> list[str]:
    """The command, entering a group of its own first; as it is where no limit is asked for."""
    if groups is None or cpus is None:
        return list(command)
    group = groups.create(name, memory_mb=MEMORY_MB, cpus=cpus)
    entry_files = " ".join(str(path) for path in group.entry_files)
    return ["/bin/sh", "-c", ENTER_GROUPS, "enter", entry_files, *command]

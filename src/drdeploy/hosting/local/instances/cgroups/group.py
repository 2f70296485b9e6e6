"""A control group of version 1 or 2, which can be entered, read and removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups.control_files import (
    read_number,
    read_number_fields,
    remove_group,
)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ControlGroup:
    """A control group with its limits.

    Attributes:
        folders: The folders of the group. Version 1 has a folder in the tree of each controller,
            and version 2 has one folder.
        kills_file: The file whose field ``oom_kill`` counts the processes killed for lack of
            memory.
        usage_file: The file with the memory in use, in bytes.
        cache_field: The field of ``memory.stat`` with the bytes of page cache that the kernel could
            free.
    """

    folders: tuple[Path, ...]
    kills_file: Path
    usage_file: Path
    cache_field: str

    @property
    def entry_files(self) -> tuple[Path, ...]:
        """The files into which a process writes its id to enter the group."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def count_oom_kills(self) -> int:
        """Return how many processes of the group the kernel killed for lack of memory."""
        return read_number_fields(self.kills_file).get("oom_kill", 0)

    def read_memory_bytes(self) -> int:
        """Return the memory in use, without the page cache that the kernel could free."""
        cached = read_number_fields(self.usage_file.with_name("memory.stat")).get(
            self.cache_field, 0
        )
        return max(0, read_number(self.usage_file) - cached)

    def remove(self) -> None:
        """Kill the processes in the group, and remove the group."""
        for folder in self.folders:
            remove_group(folder)

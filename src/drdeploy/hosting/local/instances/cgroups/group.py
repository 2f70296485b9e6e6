"""A control group of either version: enter it, read it, remove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.local.instances.cgroups.control_files import fields, number, remove_group

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class ControlGroup:
    """A control group with its limits.

    Attributes:
        folders: Its folder; in version 1, its folder in the tree of each controller.
        kills_file: File whose field ``oom_kill`` counts processes killed for want of memory.
        usage_file: File with the memory in use, in bytes.
        cache_field: Field of ``memory.stat`` with the page cache that could be dropped, in bytes.
    """

    folders: tuple[Path, ...]
    kills_file: Path
    usage_file: Path
    cache_field: str

    @property
    def entry_files(self) -> tuple[Path, ...]:
        """The files into which a process writes its id to enter the group."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def oom_kills(self) -> int:
        """Return how many processes of the group the kernel killed for want of memory."""
        return fields(self.kills_file).get("oom_kill", 0)

    def memory_bytes(self) -> int:
        """Return memory in use, without the page cache that the kernel would drop if needed."""
        cached = fields(self.usage_file.with_name("memory.stat")).get(self.cache_field, 0)
        return max(0, number(self.usage_file) - cached)

    def remove(self) -> None:
        """Kill the processes in the group, and remove it."""
        for folder in self.folders:
            remove_group(folder)

"""Finds out-of-memory kills in the kernel's log.

Podman before 5 misses most of them on cgroup v1, because its monitor reads the counter before the
kernel has raised it.  The kernel's log always names the container, but not every user may read it.
"""

from __future__ import annotations

import os
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
RECORD_BYTES = 8192
"""Longest record that a read of ``/dev/kmsg`` returns."""


def has_oom_kill(container_id: str, log: Path = KERNEL_LOG) -> bool:
    """Return whether the kernel killed a process of that container for lack of memory."""
    return any(
        record.startswith("oom-kill:") and container_id in record for record in _records(log)
    )


def _records(log: Path) -> list[str]:
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    records: list[str] = []
    try:
        while True:
            try:
                raw = os.read(handle, RECORD_BYTES)
            except BrokenPipeError:
                continue  # the record was overwritten; the next read goes on with the one after it
            except OSError:  # BlockingIOError: there is no further record yet
                return records
            if not raw:
                return records
            records.append(raw.decode(errors="replace").partition(";")[2])
    finally:
        os.close(handle)

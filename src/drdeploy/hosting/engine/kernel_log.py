"""What the kernel's own log says of a container's end.

Podman before 5 misses most out-of-memory kills on cgroup v1: its monitor looks at the counter
before the kernel has raised it.  The kernel's log names the container in any case, where this
process may read it.
"""

from __future__ import annotations

import os
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
RECORD_BYTES = 8192
"""Longest record that the kernel hands out at once."""


def tells_of_oom_kill(container_id: str, log: Path = KERNEL_LOG) -> bool:
    """Whether the log says that the kernel killed in that container for want of memory."""
    return any(
        record.startswith("oom-kill:") and container_id in record for record in _records(log)
    )


def _records(log: Path) -> list[str]:
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        return _read_all(handle)
    finally:
        os.close(handle)


def _read_all(handle: int) -> list[str]:
    records: list[str] = []
    while True:
        try:
            raw = os.read(handle, RECORD_BYTES)
        except BlockingIOError:
            return records
        except BrokenPipeError:
            continue  # overwritten while being read; the next read goes on after it
        except OSError:
            return records
        if not raw:
            return records
        records.append(raw.decode(errors="replace").partition(";")[2])

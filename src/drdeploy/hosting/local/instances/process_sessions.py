"""Kill a server and everything that it started, found by their session.

A server starts others: NGINX, Gunicorn and its workers.  When it is killed, they live on with
another parent, and some are in process groups of their own, so neither the parent nor the process
group finds them all.  The session does: every process inherits it, and only ``setsid`` leaves it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILL_WAIT_S = 5.0
"""How long killed processes may take to disappear."""
REPEAT_S = 0.01


def kill_session(session: int, folder: Path) -> None:
    """Kill every process of a session, and wait until they are dead.

    Args:
        session: Process id of the session's leader, which may be dead already.
        folder: Working directory of all its processes.  Process ids are reused: it distinguishes
            this session from a later one with the same number.
    """
    deadline = time.monotonic() + KILL_WAIT_S
    # Again and again: a process may fork between being listed and being killed.
    while (members := list(_members(session, folder))) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(REPEAT_S)


def _members(session: int, folder: Path) -> Iterator[int]:
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) != session:
                continue
            process = psutil.Process(pid)
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            if not is_dead and process.cwd() == str(folder.resolve()):
                yield pid

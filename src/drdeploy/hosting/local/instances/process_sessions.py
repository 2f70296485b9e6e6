"""Kill a server and all processes that it started; the processes are found by their session.

A server starts other processes: NGINX, Gunicorn and Gunicorn's workers. When a server is killed,
the processes that it started continue with another parent, and some have their own process groups.
They can therefore be found neither by their parent nor by their process group. However, all of them
inherit the server's session. A process leaves its session only by calling ``setsid``.
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
"""Seconds that killed processes may take to disappear."""
REPEAT_S = 0.01


def kill_session(session: int, folder: Path) -> None:
    """Kill every process of a session, and wait at most ``KILL_WAIT_S`` until they are dead.

    Args:
        session: The process id of the session's leader, which may have ended already.
        folder: The working directory of the session's processes. The folder distinguishes the
            session from a later session with the same id, because process ids are reused.
    """
    deadline = time.monotonic() + KILL_WAIT_S
    # Repeated, because a process may fork between being listed and being killed.
    while (
        members := list(_find_processes_of_session(session, folder))
    ) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(REPEAT_S)


def _find_processes_of_session(session: int, folder: Path) -> Iterator[int]:
    import psutil

    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) != session:
                continue
            process = psutil.Process(pid)
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            if not is_dead and process.cwd() == str(folder.resolve()):
                yield pid

"""A server and all that it started, found by their session."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLED_WAIT_S = 5.0
LOOK_AGAIN_S = 0.01


def kill_session(
    session: int,
    folder: Path,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Kill every process of a session, also those in process groups of their own.

    Args:
        session: The process id of its leader, which may be dead already.
        folder: Where all of them run: it tells them from a later session with the same number.
        clock: For the wait until they are dead.
        sleep: Likewise.
    """
    deadline = clock() + KILLED_WAIT_S
    while (members := list(_members(session, folder))) and clock() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        sleep(LOOK_AGAIN_S)


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

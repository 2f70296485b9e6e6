"""Temporary folders and child processes that do not outlive this process.

If a process calls ``os._exit``, no ``finally`` block and no finalizer runs. Before a process calls
``os._exit``, it therefore calls :func:`remove_everything_temporary`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ATTEMPTS = 10

# The lock is reentrant, because a finalizer that deletes a folder may run at any time, even in a
# `with` block below.
_changing = threading.RLock()
os.register_at_fork(  # otherwise a thread that is not forked may hold the lock
    before=_changing.acquire,
    after_in_parent=_changing.release,
    after_in_child=_changing.release,
)
_folders: set[Path] = set()
_children: set[subprocess.Popen[bytes]] = set()


def make_temporary_folder(prefix: str) -> Path:
    """Make a temporary folder.

    If the folder still exists, :func:`remove_everything_temporary` deletes it.
    """
    with _changing:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        _folders.add(folder)
    return folder


def remove_temporary_folder(folder: Path) -> None:
    """Delete a folder that :func:`make_temporary_folder` made."""
    with _changing:
        shutil.rmtree(folder, ignore_errors=True)
        _folders.discard(folder)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Return a temporary folder, which is deleted at the end of the block."""
    folder = make_temporary_folder(prefix)
    try:
        yield folder
    finally:
        remove_temporary_folder(folder)


def run_child(command: Sequence[str | Path], *, timeout_s: float) -> int:
    """Run a command without input, discard its output, and return its exit status.

    Raises:
        subprocess.TimeoutExpired: The command took too long, and was killed.
    """
    nothing = subprocess.DEVNULL
    with _changing:
        child = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)
        _children.add(child)
    try:
        return child.wait(timeout_s)
    finally:
        with _changing:  # waits forever if the process is ending
            child.kill()
            child.wait()
            _children.discard(child)


def remove_everything_temporary() -> None:
    """Kill the children and delete the folders; call this only just before ``os._exit``.

    After the call, every other thread that uses this module waits forever. The wait is intended.
    Otherwise, a thread whose child process was killed while decoding a photograph would report that
    the photograph is damaged.
    """
    _changing.acquire()
    for child in list(_children):
        child.kill()
        child.wait()
    for folder in list(_folders):
        for _ in range(_ATTEMPTS):  # a thread may be writing into the folder
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break

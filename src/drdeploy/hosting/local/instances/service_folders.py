"""Where a service keeps its files, and how the next one clears away what a killed one left.

Each service has a folder below ``DRDEPLOY_LOCAL_HOME`` (by default ``drdeploy-local-UID`` in the
temporary folder) with ``service.json``: its port, process id, and when that process began, which
tells it from a later one with the same id.  Instances note their own ids in folders below it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local.instances.process_sessions import kill_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE_FILE = "service.json"
PROCESS_FILE = "pid"
LABEL = "drdeploy.local.service"
"""Of containers; its value is the service's name."""
PASSABLE = 0o711
"""Nobody else may look around, but NGINX, which gives up root, must get to its socket."""


@dataclass(frozen=True)
class ServiceRecord:
    """A service, running or not.

    Attributes:
        name: Unique; names its control groups and labels its containers.
        port: Where it answers.
        pid: Its process.
        began: When that process began, in seconds since 1970.
    """

    name: str
    port: int
    pid: int
    began: float

    def is_running(self) -> bool:
        """Whether that very process is still there."""
        return _began(self.pid) == self.began


def services_folder() -> Path:
    """The folder of all services of this user.

    Raises:
        InvalidInput: Somebody else owns it.
    """
    default = Path(tempfile.gettempdir()) / f"drdeploy-local-{os.getuid()}"
    folder = Path(os.environ.get("DRDEPLOY_LOCAL_HOME") or default)
    folder.mkdir(mode=PASSABLE, parents=True, exist_ok=True)
    # Of a link, its maker counts: in a shared temporary folder anybody may lay one.
    if folder.lstat().st_uid != os.getuid():
        raise InvalidInput(
            "The folder belongs to another user",
            where=str(folder),
            remedy="Set DRDEPLOY_LOCAL_HOME to a folder of your own",
        )
    return folder


def create_service_folder(port: int) -> tuple[ServiceRecord, Path]:
    """Make this process's folder and note."""
    pid = os.getpid()
    note = ServiceRecord(f"drdeploy-{uuid.uuid4().hex[:8]}", port, pid, _began(pid) or 0.0)
    folder = services_folder() / note.name
    folder.mkdir(mode=PASSABLE)
    (folder / SERVICE_FILE).write_text(json.dumps(asdict(note)), encoding="utf-8")
    return note, folder


def find_service(port: int) -> ServiceRecord | None:
    """The running service on that port."""
    return next((note for note, _ in _notes() if note.port == port and note.is_running()), None)


def remove_stale_services(clear: Callable[[str], None]) -> tuple[str, ...]:
    """Clear away what killed services left: processes, then whatever ``clear`` does, files.

    Args:
        clear: Called with the name of each service that is gone.

    Returns:
        Those names.
    """
    gone = [(note, folder) for note, folder in _notes() if not note.is_running()]
    for note, folder in gone:
        _kill_noted_processes(folder)
        clear(note.name)
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(note.name for note, _ in gone)


def note_process(folder: Path, pid: int) -> None:
    """Remember an instance's process in its folder, for the sweep."""
    (folder / PROCESS_FILE).write_text(str(pid), encoding="ascii")


def _notes() -> Iterator[tuple[ServiceRecord, Path]]:
    for file in sorted(services_folder().glob(f"*/{SERVICE_FILE}")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            yield ServiceRecord(**json.loads(file.read_text(encoding="utf-8"))), file.parent


def _kill_noted_processes(folder: Path) -> None:
    for file in folder.glob(f"*/{PROCESS_FILE}"):
        with contextlib.suppress(OSError, ValueError):
            kill_session(int(file.read_text(encoding="ascii")), file.parent)


def _began(pid: int) -> float | None:
    """When a process began; None where it is gone, or dead and only not fetched yet."""
    import psutil

    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return None if is_dead else float(process.create_time())
    except psutil.Error:
        return None

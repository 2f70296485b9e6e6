"""Each service's folder on disk, and cleaning up after services that were killed.

A service that is stopped removes everything it made.  One that is killed (SIGKILL, power failure)
leaves processes, containers, control groups and files behind, and the next service that starts
removes them.  For that, each service has a folder below ``DRDEPLOY_LOCAL_HOME`` (by default
``drdeploy-local-UID`` in the temporary folder) with ``service.json``: its port, its process id, and
when that process began, because a process id may be reused.  Every instance that is a process
writes its id into a folder of its own below that.
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
"""Label of a service's containers; its value is the service's name."""
FOLDER_MODE = 0o711
"""Others may not list the folder.  They may pass through: NGINX gives up root, and must still reach
its socket."""


@dataclass(frozen=True)
class ServiceRecord:
    """A service that was started, running or not.

    Attributes:
        name: Unique; also names its control groups and labels its containers.
        port: The port it answers on.
        pid: Its process id.
        began: When that process began, in seconds since 1970.
    """

    name: str
    port: int
    pid: int
    began: float

    def is_running(self) -> bool:
        """Return whether its process, and not a later one with the same id, is running."""
        return _began(self.pid) == self.began


def services_folder() -> Path:
    """Return the folder that holds the folders of all this user's services; it is made if absent.

    Raises:
        InvalidInput: Somebody else owns it.
    """
    default = Path(tempfile.gettempdir()) / f"drdeploy-local-{os.getuid()}"
    folder = Path(os.environ.get("DRDEPLOY_LOCAL_HOME") or default)
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    # lstat: anybody may put a link of this name into a shared temporary folder, and a link to a
    # folder of ours would pass for our own.
    if folder.lstat().st_uid != os.getuid():
        raise InvalidInput(
            "The folder belongs to another user",
            where=str(folder),
            remedy="Set DRDEPLOY_LOCAL_HOME to a folder of your own",
        )
    return folder


def create_service_folder(port: int) -> tuple[ServiceRecord, Path]:
    """Make the folder of the service in this process, with its record."""
    pid = os.getpid()
    record = ServiceRecord(f"drdeploy-{uuid.uuid4().hex[:8]}", port, pid, _began(pid) or 0.0)
    folder = services_folder() / record.name
    folder.mkdir(mode=FOLDER_MODE)
    (folder / SERVICE_FILE).write_text(json.dumps(asdict(record)), encoding="utf-8")
    return record, folder


def find_service(port: int) -> ServiceRecord | None:
    """Return the record of the running service on a port, if there is one."""
    return next(
        (record for record, _ in _records() if record.port == port and record.is_running()), None
    )


def remove_stale_services(clear: Callable[[str], None]) -> tuple[str, ...]:
    """Remove what services that no longer run have left: processes, whatever else, files.

    Args:
        clear: Removes everything else that a service of this name may have left.

    Returns:
        The names of those services.
    """
    stale = [(record, folder) for record, folder in _records() if not record.is_running()]
    for record, folder in stale:
        for file in folder.glob(f"*/{PROCESS_FILE}"):
            with contextlib.suppress(OSError, ValueError):
                kill_session(int(file.read_text(encoding="ascii")), file.parent)
        clear(record.name)
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(record.name for record, _ in stale)


def record_process(folder: Path, pid: int) -> None:
    """Write an instance's process id into its folder, for :func:`remove_stale_services`."""
    (folder / PROCESS_FILE).write_text(str(pid), encoding="ascii")


def _records() -> Iterator[tuple[ServiceRecord, Path]]:
    for file in sorted(services_folder().glob(f"*/{SERVICE_FILE}")):
        # Another service may be writing this file, or removing it.
        with contextlib.suppress(OSError, ValueError, TypeError):
            yield ServiceRecord(**json.loads(file.read_text(encoding="utf-8"))), file.parent


def _began(pid: int) -> float | None:
    """Return when a process began; None where it is gone, or dead and not yet reaped."""
    import psutil

    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return None if is_dead else float(process.create_time())
    except psutil.Error:
        return None

"""Make the folder of each local service, and clean up after services that were killed.

A service that stops removes everything that it made, except for asynchronous requests that wait for
a later service. A killed service (SIGKILL, power failure) leaves processes, containers, control
groups and files behind, which the next service removes. Each
service has a folder below ``DRDEPLOY_LOCAL_HOME``, by default ``drdeploy-local-UID`` in the
temporary folder. The file ``service.json`` in the folder of a service holds the port, the process
id and the start time of the process. The start time is needed because a process id may be reused.
If instances are processes, each has a subfolder. The process writes its id there before it becomes
the server, so that the next service can find it and end it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import InvalidInput
from drdeploy.files import parse_json
from drdeploy.hosting.local.access_key import AccessKey
from drdeploy.hosting.local.instances.process_sessions import kill_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE_FILE = "service.json"
PROCESS_FILE = "pid"
SERVICE_FOLDERS = f"drdeploy-{'[0-9a-f]' * 8}"
"""The pattern of the names of services' folders; their parent folder may hold other files."""
LABEL = "drdeploy.local.service"
"""The label of a service's containers; the value of the label is the name of the service."""
KEY_FILE = "access-key.json"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
"""The access rights of files: only the user may read them, because they hold keys, models and
logs.
"""


@dataclass(frozen=True)
class ServiceRecord:
    """The record of a started service, which may have ended.

    Attributes:
        name: The unique name of the service, which is also part of its control groups' and
            containers' names.
        port: The port on which the service answers.
        pid: The id of the service's process.
        began: When the process began: the id of the machine's boot, and the number of clock ticks
            since then. A time of day would not do, because it changes when the machine's clock is
            set.
    """

    name: str
    port: int
    pid: int
    began: str

    def is_running(self) -> bool:
        """Return whether the service's process is still running."""
        return _read_process_start_time(self.pid) == self.began


def make_services_folder() -> Path:
    """Create the parent folder of all services of the user, if it is missing, and return it.

    Raises:
        InvalidInput: The folder belongs to another user, another user may write to it, or its path
            has characters that cannot be printed.
    """
    default = Path(tempfile.gettempdir()) / f"drdeploy-local-{os.getuid()}"
    named = os.environ.get("DRDEPLOY_LOCAL_HOME")
    folder = Path(named or default).absolute()
    # The path is written into configuration files, where quotes do not help against a line break.
    problem = (
        ""
        if str(folder).isprintable()
        else "The folder's path has characters that cannot be printed"
    )
    if not problem:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        problem = _describe_owner_problem(folder)
    if problem:
        raise InvalidInput(
            problem,
            where=str(folder),
            remedy="Set DRDEPLOY_LOCAL_HOME to a folder that only you may write to",
        )
    if not named:
        folder.chmod(FOLDER_MODE)  # earlier versions let other users pass through
    return folder


def _describe_owner_problem(folder: Path) -> str:
    # lstat does not follow links. Anybody may put a link with this name into a shared temporary
    # folder, and a link to another folder of this user would otherwise be accepted.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return "The folder belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "Other users may write to the folder"
    return ""


def create_service_folder(port: int, key: AccessKey | None = None) -> tuple[ServiceRecord, Path]:
    """Make the folder of a new service; write the service's record and its access key, if any."""
    pid = os.getpid()
    record = ServiceRecord(
        f"drdeploy-{uuid.uuid4().hex[:8]}", port, pid, _read_process_start_time(pid) or ""
    )
    folder = make_services_folder() / record.name
    # The folder gets its final name only when the record is in it. A folder without a record
    # therefore belongs to a dead service.
    draft = folder.with_name(f".{record.name}.{pid}")
    try:
        draft.mkdir(mode=FOLDER_MODE)
        if key is not None:
            _write_private_json(draft / KEY_FILE, asdict(key))
        _write_private_json(draft / SERVICE_FILE, asdict(record))
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return record, folder


def _write_private_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file that other users can never read, because it is created as private."""
    path.touch(FILE_MODE, exist_ok=False)
    path.write_text(json.dumps(document), encoding="utf-8")


def read_access_key(record: ServiceRecord) -> AccessKey | None:
    """Return the access key of this user's service, or None if the service needs no key."""
    path = make_services_folder() / record.name / KEY_FILE
    return AccessKey(**parse_json(path.read_text(encoding="utf-8"))) if path.exists() else None


def find_service(port: int) -> ServiceRecord | None:
    """Return the record of the running service on a port, or None if there is none."""
    return next(
        (
            record
            for record, _ in _read_records_of_services()
            if record.port == port and record.is_running()
        ),
        None,
    )


def remove_stale_services(clear: Callable[[str], None]) -> tuple[str, ...]:
    """Remove what killed services have left behind: processes, containers, networks and files.

    Args:
        clear: A function that takes the name of a killed service, and removes its control groups,
            containers and networks.

    Returns:
        The names of the killed services.
    """
    stale = [
        (record, folder)
        for record, folder in _read_records_of_services()
        if not record.is_running()
    ]
    for record, folder in stale:
        for file in folder.glob(f"*/{PROCESS_FILE}"):
            with contextlib.suppress(OSError, ValueError):
                kill_session(int(file.read_text(encoding="ascii")), file.parent)
        clear(record.name)
        shutil.rmtree(folder, ignore_errors=True)
    for draft in make_services_folder().glob(f".{SERVICE_FOLDERS}.*"):
        if _read_process_start_time(int(draft.suffix.lstrip("."))) is None:
            shutil.rmtree(draft, ignore_errors=True)
    return tuple(record.name for record, _ in stale)


def _read_records_of_services() -> Iterator[tuple[ServiceRecord, Path]]:
    for folder in sorted(make_services_folder().glob(SERVICE_FOLDERS)):
        try:
            facts = parse_json((folder / SERVICE_FILE).read_text(encoding="utf-8"))
            yield ServiceRecord(**facts), folder
        except (OSError, ValueError, TypeError):
            # The service is stopping and is removing the folder, or the removal was interrupted.
            yield ServiceRecord(folder.name, 0, 0, ""), folder


def _read_process_start_time(pid: int) -> str | None:
    """Return the start time of a process; None if the process has ended."""
    try:
        # proc(5): the name, in parentheses, may contain any character; the state and numbers
        # follow.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in {"Z", "X"} else f"{boot}/{ticks}"

"""Start instances as processes, for machines without a container engine.

Every process runs the model server of this installation, and not the one in the container image.
The image only determines which of the server's two profiles runs, lean or classic. A control group
limits the memory and CPU of each process, if the kernel lets the user create groups. A process
without a control group has no limits, so its latencies do not show how fast a container with
limited memory and CPU would be. :attr:`ProcessBackend.isolation` says whether there are limits.

A process has the rights of the service's user, so a process must not run a stranger's code. A model
may therefore set only the environment variables that ``process_environment`` lists. The server
needs no network: it listens on a Unix socket, in a folder that only the service's user can open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    LogLine,
    ModelRefused,
    PinnedImage,
    PlatformFailed,
    ResourceUse,
    read_disk_share,
)
from drdeploy.hosting.local.instances.process_environment import explain_refused_variables
from drdeploy.hosting.local.instances.process_sessions import KILL_WAIT_S, kill_session
from drdeploy.hosting.local.instances.service_folders import FOLDER_MODE, PROCESS_FILE
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.registry.server_profiles import PROFILE_VARIABLE, find_profile_of_tag
from drdeploy.hosting.serving.settings import UNIX_PREFIX
from drdeploy.units import MIB, MICROSECONDS_PER_S, MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from drdeploy.hosting.local.instances.cgroups import ControlGroup, ControlGroups

log = logging.getLogger(__name__)

LOG_TAIL_BYTES = 2000
LOG_BYTES = MIB
SOCKET_FILE, STATE_FOLDER = "http.sock", "s"
"""The names of the server's socket and of the server's state folder, in the folder of an
instance."""
NO_MODEL_FOLDER = "model"
"""The name of the model folder for an instance whose model has no archive.

This folder does not exist.
"""
NO_NETWORK = "none"

SERVER_COMMAND = (sys.executable, "-m", "drdeploy.hosting.serving")

INHERITED_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
"""The environment variables that a server inherits from the service; none holds credentials."""

IMAGE_VARIABLES = {
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    "OPENBLAS_NUM_THREADS": "1",
}
"""The variables that this project's images set for speed; the images ``baseline`` and ``two-step``
do not set them. Processes get the same variables, so that the latencies of processes and containers
can be compared.
"""

ENTER = f"""
echo $$ > {PROCESS_FILE} || exit 125
count=$1; shift
while [ "$count" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; count=$((count - 1)); done
exec "$@"
"""
"""A shell script that writes its process id to a file, enters control groups, and becomes the
server. The arguments of the script are the number of control group files, the files themselves, and
the command of the server.

The process id is on disk before the server runs. Even if the service is killed, the next service
therefore finds all servers. Python's ``preexec_fn`` could do the work of the script, but can
deadlock in a process with threads. A Python interpreter instead of the shell would add 20 ms to
every start; the shell adds 1 ms."""


@cache
def find_unshare_command() -> tuple[str, ...]:
    """Return the words to put before a command so that it runs without a network.

    The result is empty if this user cannot run a command without a network.

    Root may use ``unshare``. Users other than root may use it if the kernel lets them make user
    namespaces, which some distributions forbid.
    """
    program = shutil.which("unshare")
    for options in (("--net",), ("--net", "--map-current-user")):
        command = (program or "unshare", *options, "--")
        with contextlib.suppress(OSError):
            if not subprocess.run((*command, "true"), capture_output=True, check=False).returncode:
                return command
    return ()


class ProcessBackend:
    """Starts instances as processes.

    Args:
        folder: The folder for the instances' logs and temporary files.
        groups: The place where control groups are made. With None, the processes have no limits.
        command: The command of the server, whose settings are environment variables.
        profile_of: A function that takes the name of a repository in the local registry, and a tag
            or digest. It returns the profile of the image's server (``lean`` or ``classic``), or
            None if the image is not of this project.
    """

    def __init__(
        self,
        folder: Path,
        groups: ControlGroups | None,
        command: Sequence[str] = SERVER_COMMAND,
        *,
        profile_of: Callable[[str, str], str | None] = lambda _name, _reference: None,
    ) -> None:
        # Whether control groups limit the processes, and the version of the control groups.
        self.isolation: Isolation = "process" if groups is None else groups.isolation
        self._profile_of = profile_of
        self._folder = folder
        self._groups = groups
        self._command = tuple(command)

    def check_model(self, environment: Mapping[str, str], *, isolated: bool) -> None:
        """Refuse a model that sets forbidden variables, or needs isolation that is impossible."""
        reason = explain_refused_variables(environment)
        if reason is not None:
            raise ModelRefused(reason)
        if isolated and not find_unshare_command():
            raise ModelRefused(
                "EnableNetworkIsolation is not possible here. Instances run as processes, and "
                "this user may not run a process without a network"
            )

    def check_image(self, image: str) -> None:
        """Check that an image is one of this project's; only these can run as processes."""
        self.pin_image_and_network(image, isolated=False)

    def find_image_variables(self, image: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """Return an empty mapping: a process has no container image that could set variables."""
        return {}

    def pin_image_and_network(self, image: str, *, isolated: bool) -> PinnedImage:
        """Return the name of this project's image that decides which server the process runs.

        The name of an image in the local registry is replaced by ``drdeploy:PROFILE``.
        """
        network = NO_NETWORK if isolated else ""
        uri = EcrUri.parse(image)
        profile = self._profile_of(uri.name, uri.reference) if uri else None
        if profile is not None:
            return PinnedImage(f"drdeploy:{profile}", network)
        if find_profile_of_tag(image) is None:
            raise ImageUnavailable(
                f"The image {image} cannot run without a container engine",
                remedy="Choose drdeploy:lean or drdeploy:reduced, or start a container engine",
            )
        return PinnedImage(image, network)

    def release_network(self, image: PinnedImage) -> None:
        """Do nothing, because processes have no network of their own."""

    def start_instance(self, spec: InstanceSpec) -> ProcessInstance:
        """Start a process, and return without waiting for its server."""
        # The name is short, because Unix sockets are in the folder, and the path of a socket may
        # have at most 107 bytes.
        scratch = self._folder / spec.name.rpartition("-")[2]
        group = None
        try:
            scratch.mkdir(FOLDER_MODE, parents=True)
            if self._groups is not None:
                group = self._groups.create(spec.name, memory_mb=spec.memory_mb, cpus=spec.cpus)
            process = self._spawn_server_process(spec, scratch, group)
        except OSError as err:
            shutil.rmtree(scratch, ignore_errors=True)
            if group is not None:
                group.remove()
            raise PlatformFailed(f"The process cannot be started: {err}", where=spec.name) from err
        return ProcessInstance(spec.name, process, spec.memory_mb, scratch, group)

    def close(self) -> None:
        """Remove the control groups."""
        if self._groups is not None:
            self._groups.remove()

    def _spawn_server_process(
        self, spec: InstanceSpec, scratch: Path, group: ControlGroup | None
    ) -> subprocess.Popen[bytes]:
        isolation = find_unshare_command() if spec.image.network == NO_NETWORK else ()
        # The process enters the group before it becomes the server, because memory stays charged to
        # the group in which it was allocated.
        files = [str(path) for path in group.entry_files] if group else []
        enter = ("/bin/sh", "-c", ENTER, "enter", str(len(files)), *files)
        command = (*enter, *isolation, *self._command)
        profile = find_profile_of_tag(spec.image.name) or "lean"
        inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        with (scratch / "log").open("wb") as log_file:
            return subprocess.Popen(
                command,
                env={
                    **inherited,
                    **IMAGE_VARIABLES,
                    PROFILE_VARIABLE: profile,
                    "DRDEPLOY_CONTAINER_ID": spec.name,
                    **spec.environment,
                    "TMPDIR": str(scratch),
                    # The path is relative to the working directory, because the whole path may
                    # exceed 107 bytes.
                    "DRDEPLOY_BIND_HOST": f"{UNIX_PREFIX}{SOCKET_FILE}",
                    "DRDEPLOY_MODEL_DIR": str(spec.model_dir or scratch / NO_MODEL_FOLDER),
                    "DRDEPLOY_STATE_DIR": str(scratch / STATE_FOLDER),
                },
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                start_new_session=True,  # to find all its processes; see process_sessions
            )


@dataclass(eq=False)
class ProcessInstance:
    """A server process in its own session and, if possible, in its own control group.

    Attributes:
        name: The name that the specification gives to the instance.
        process: The main process of the server.
        memory_mb: The memory limit that the specification states, MiB.
        scratch: The folder with the instance's socket, log and temporary files.
        group: The control group that limits the process, or None if it has no limits.
    """

    name: str
    process: subprocess.Popen[bytes]
    memory_mb: int
    scratch: Path
    group: ControlGroup | None
    _stopping: Any = field(default_factory=threading.Lock, repr=False)
    _is_stopped: bool = field(default=False, repr=False)
    _reading: Any = field(default_factory=threading.Lock, repr=False)
    _read_bytes: int = field(default=0, repr=False)
    _unread_lines: list[LogLine] = field(default_factory=list, repr=False)
    has_line_times: ClassVar[bool] = False

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection to the server's Unix socket."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # With Python's own timeout, connect() would fail at once if the server's backlog is
            # full. With SO_SNDTIMEO, it waits for a place.
            seconds, fraction = divmod(timeout_s, 1)
            timeval = struct.pack("@ll", int(seconds), int(fraction * MICROSECONDS_PER_S))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
            # The path goes through a handle on the folder, because the whole path may exceed 107
            # bytes.
            folder = os.open(self.scratch, os.O_PATH | os.O_DIRECTORY)
            try:
                connection.connect(f"/proc/self/fd/{folder}/{SOCKET_FILE}")
            finally:
                os.close(folder)
            connection.settimeout(timeout_s)
        except BlockingIOError as err:
            connection.close()
            raise TimeoutError("the server's backlog is full") from err
        except OSError as err:
            connection.close()
            raise ConnectionRefusedError("the server does not listen") from err
        return connection

    def is_alive(self) -> bool:
        """Return whether the server's main process runs."""
        return self.process.poll() is None

    def forget_cached_state(self) -> None:
        """Do nothing, because a process has no cached state."""

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed a process of the control group for lack of memory."""
        return self.group is not None and self.group.count_oom_kills() > 0

    def read_memory_share(self) -> float | None:
        """Return the memory in use as a share of the limit, or None if unreadable."""
        import psutil

        if self.group is not None:
            used = self.group.read_memory_bytes()
        else:
            try:
                parent = psutil.Process(self.process.pid)
                processes = [parent, *parent.children(recursive=True)]
                used = sum(process.memory_info().rss for process in processes)
            except psutil.Error:
                used = 0
        return used / (self.memory_mb * MIB) if used else None

    def read_resource_use(self) -> ResourceUse | None:
        """Return the CPU time and memory of the process and its children; None if it has ended."""
        import psutil

        try:
            parent = psutil.Process(self.process.pid)
            age_s = time.time() - parent.create_time()
            times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
        except psutil.Error:
            return None
        cpu_s = sum(one.user + one.system for one in times)
        return ResourceUse(age_s, cpu_s, self.read_memory_share(), read_disk_share(self.scratch))

    def read_log_tail(self) -> str:
        """Return the last lines of the process's log."""
        return self._read_end_of_log(LOG_TAIL_BYTES).strip()

    def read_log(self) -> str:
        """Return the process's log, or its last MiB."""
        return self._read_end_of_log(LOG_BYTES)

    def _read_end_of_log(self, most_bytes: int) -> str:
        try:
            with (self.scratch / "log").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most_bytes))
                return file.read(most_bytes).decode(errors="replace")
        except OSError:
            return ""

    def read_new_lines(self) -> list[LogLine]:
        """Return the lines written since the last call, with the time of the call."""
        with self._reading:
            if not self._is_stopped:
                self._read_log_file()
            lines, self._unread_lines = self._unread_lines, []
        return lines

    def _read_log_file(self, *, is_last: bool = False) -> None:
        try:
            if os.stat(self.scratch / "log").st_size == self._read_bytes and not is_last:  # noqa: PTH116  four times as fast, every second
                return
            with (self.scratch / "log").open("rb") as file:
                file.seek(self._read_bytes)
                data = file.read()
        except OSError:
            return
        end = len(data) if is_last else data.rfind(b"\n") + 1
        self._read_bytes += end
        now_ms = int(time.time() * MILLISECONDS_PER_S)
        self._unread_lines += [
            LogLine(now_ms, line) for line in data[:end].decode(errors="replace").splitlines()
        ]

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop the server and all processes that it started; a second call does nothing."""
        with self._stopping:
            if self._is_stopped:
                return  # its process id may be another process's by now
            self._is_stopped = True
            if grace_s > 0 and self.is_alive():
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(grace_s)
            kill_session(self.process.pid, self.scratch)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(KILL_WAIT_S)
            if self.group is not None:
                self.group.remove()
            with self._reading:
                self._read_log_file(is_last=True)
            shutil.rmtree(self.scratch, ignore_errors=True)

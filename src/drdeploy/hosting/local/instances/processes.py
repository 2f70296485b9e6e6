"""Instances as processes, for machines without a container engine.

What runs is this checkout's own model server; of an image only its profile matters.  A control
group holds each process to its memory and CPU where the kernel lets this user make one.  Elsewhere
nothing does, and :attr:`ProcessBackend.isolation` says so: latencies measured without limits say
nothing of a memory size.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.engine.ports import LOOPBACK, free_port
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    PlatformFailed,
)
from drdeploy.hosting.local.instances.process_sessions import KILL_WAIT_S, kill_session
from drdeploy.hosting.local.instances.service_folders import record_process
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.registry.server_profiles import PROFILE_VARIABLE, profile_of_tag
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from drdeploy.hosting.local.instances.cgroups import ControlGroup, ControlGroups

log = logging.getLogger(__name__)

LOG_TAIL_BYTES = 2000

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
"""What a server needs of this process's environment.  Credentials are not among it."""

IMAGE_VARIABLES = {
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What ``containers/*.Dockerfile`` set for speed: with these, processes and containers compare."""

ENTER_GROUPS = 'for file in $1; do echo $$ > "$file" || exit 125; done; shift; exec "$@"'
"""A shell script that enters control groups and then becomes the server.

``preexec_fn`` would do the same in Python, but it can deadlock in a process with threads.  An
interpreter in between would add 20 ms to every start; a shell adds 1 ms."""


class ProcessBackend:
    """Starts instances as processes.

    Args:
        folder: For the instances' logs and temporary files.
        groups: Makes control groups; None leaves the processes without limits.
        command: The server's command; its settings are in the environment.
        profile_of: Returns the profile of an image in the local registry, by name and reference.
    """

    def __init__(
        self,
        folder: Path,
        groups: ControlGroups | None,
        command: Sequence[str] = SERVER_COMMAND,
        *,
        profile_of: Callable[[str, str], str | None] = lambda _name, _reference: None,
    ) -> None:
        # Whether control groups limit the processes, and of which version.
        self.isolation: Isolation = "process" if groups is None else groups.isolation
        self._profile_of = profile_of
        self._folder = folder
        self._groups = groups
        self._command = tuple(command)

    def pin(self, image: str) -> str:
        """Return the image's name; for one in the local registry, its profile as a name."""
        uri = EcrUri.parse(image)
        profile = self._profile_of(uri.name, uri.reference) if uri else None
        if profile is not None:
            return f"drdeploy:{profile}"
        if profile_of_tag(image) is None:
            raise ImageUnavailable(
                f"The image {image} cannot run here without a container engine",
                remedy="Name drdeploy:lean or drdeploy:reduced, or start a container engine",
            )
        return image

    def start(self, spec: InstanceSpec) -> ProcessInstance:
        """Start a process; returns without waiting for its server."""
        # A short name: NGINX puts a Unix socket below it, whose path may have 107 bytes.
        scratch = self._folder / spec.name.rpartition("-")[2]
        group = None
        try:
            scratch.mkdir(parents=True)
            if self._groups is not None:
                group = self._groups.create(spec.name, memory_mb=spec.memory_mb, cpus=spec.cpus)
            port = free_port()
            process = self._spawn(spec, port, scratch, group)
        except OSError as err:
            shutil.rmtree(scratch, ignore_errors=True)
            if group is not None:
                group.remove()
            raise PlatformFailed(f"The process cannot be started: {err}", where=spec.name) from err
        record_process(scratch, process.pid)
        return ProcessInstance(spec.name, port, process, spec.memory_mb, scratch, group)

    def close(self) -> None:
        """Remove the control groups."""
        if self._groups is not None:
            self._groups.remove()

    def _spawn(
        self, spec: InstanceSpec, port: int, scratch: Path, group: ControlGroup | None
    ) -> subprocess.Popen[bytes]:
        command = self._command
        if group is not None:
            # It enters the group before it becomes the server: memory that a process has already
            # allocated stays charged to the group where it was allocated.
            entry_files = " ".join(str(path) for path in group.entry_files)
            command = ("/bin/sh", "-c", ENTER_GROUPS, "enter", entry_files, *command)
        inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        with (scratch / "log").open("wb") as log_file:
            return subprocess.Popen(
                command,
                env={
                    **inherited,
                    **IMAGE_VARIABLES,
                    **spec.environment,
                    "TMPDIR": str(scratch),
                    "SAGEMAKER_BIND_TO_PORT": str(port),
                    "DRDEPLOY_BIND_HOST": LOOPBACK,
                    "DRDEPLOY_MODEL_DIR": str(spec.model_dir),
                    PROFILE_VARIABLE: profile_of_tag(spec.image) or "lean",
                    "DRDEPLOY_CONTAINER_ID": spec.name,
                },
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                start_new_session=True,  # to find all that it starts; see process_sessions
            )


@dataclass(eq=False)
class ProcessInstance:
    """A server in a session of its own and, where possible, in a control group of its own."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    memory_mb: int
    scratch: Path
    group: ControlGroup | None
    _stopping: Any = field(default_factory=threading.Lock, repr=False)
    _is_stopped: bool = field(default=False, repr=False)

    def is_alive(self) -> bool:
        """Return whether the server's main process runs."""
        return self.process.poll() is None

    def refresh(self) -> None:
        """Do nothing: no answer is remembered here."""

    def ran_out_of_memory(self) -> bool:
        """Return whether the kernel killed a process of the group for want of memory."""
        return self.group is not None and self.group.oom_kills() > 0

    def memory_share(self) -> float | None:
        """Return memory in use over its limit; None where it cannot be read."""
        import psutil

        if self.group is not None:
            used = self.group.memory_bytes()
        else:
            try:
                parent = psutil.Process(self.process.pid)
                processes = [parent, *parent.children(recursive=True)]
                used = sum(process.memory_info().rss for process in processes)
            except psutil.Error:
                used = 0
        return used / (self.memory_mb * MIB) if used else None

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        try:
            data = (self.scratch / "log").read_bytes()[-LOG_TAIL_BYTES:]
        except OSError:
            return ""
        return data.decode(errors="replace").strip()

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop the server and everything that it started; does nothing the second time."""
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
            shutil.rmtree(self.scratch, ignore_errors=True)

"""The model server as a process of this machine, where there is no container engine.

The image's tag picks the server's profile: ``…drdeploy:lean`` the lean one, ``…drdeploy:reduced``
the classic one.  Each process is held in a control group of its own where one can be made, and
unconstrained otherwise; :attr:`ProcessBackend.isolation` says which.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from drdeploy.hosting.engine.ports import LOOPBACK, free_port
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    PlatformFailed,
)
from drdeploy.hosting.local.instances.process_sessions import KILLED_WAIT_S, kill_session
from drdeploy.hosting.local.instances.service_folders import note_process
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from drdeploy.hosting.local.instances.cgroups import ControlGroup, ControlGroups
    from drdeploy.hosting.serving.settings import ProfileName

log = logging.getLogger(__name__)

LOG_TAIL_BYTES = 2000

_OWN_IMAGE = re.compile(
    r"(?:^|/)drdeploy[\w.-]*:"
    r"(?:(?P<lean>lean|minimal)|(?P<classic>classic|baseline|two-step|reduced))\b"
)

SERVER_COMMAND = (sys.executable, "-m", "drdeploy.hosting.serving")

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
"""What a server needs of this service's environment; credentials stay here."""

OF_THE_IMAGES = {
    "MALLOC_TOP_PAD_": "16777216",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What ``containers/*.Dockerfile`` set for speed, so that both kinds of isolation compare."""

ENTER_GROUPS = 'for file in $1; do echo $$ > "$file" || exit 125; done; shift; exec "$@"'
"""Run by ``sh``: a millisecond, against 20 for an interpreter, and safe among threads."""


class ProcessBackend:
    """Starts servers as processes.

    Args:
        folder: For logs and scratch files.
        groups: Where control groups can be made; None leaves the processes unconstrained.
        command: The server; its settings are in the environment.
        profile_of: Tells the profile of an image in the registry, by name and reference.
    """

    def __init__(
        self,
        folder: Path,
        groups: ControlGroups | None,
        command: Sequence[str] = SERVER_COMMAND,
        *,
        profile_of: Callable[[str, str], str | None] = lambda _name, _reference: None,
    ) -> None:
        self._profile_of = profile_of
        self._folder = folder
        self._groups = groups
        self._command = tuple(command)

    @property
    def isolation(self) -> Isolation:
        """See :class:`Backend`."""
        if self._groups is None:
            return "process"
        return "process+cgroup-v1" if self._groups.version == "v1" else "process+cgroup-v2"

    def pin(self, image: str) -> str:
        """See :class:`Backend`.  Of an image in the registry the profile is all that runs here."""
        stored = EcrUri.parse(image)
        profile = self._profile_of(stored.name, stored.reference) if stored else None
        if profile is not None:
            return f"drdeploy:{profile}"
        if profile_of_image(image) is None:
            raise ImageUnavailable(
                f"The image {image} cannot run here without a container engine",
                remedy="Name drdeploy:lean or drdeploy:reduced, or start a container engine",
            )
        return image

    def start(self, spec: InstanceSpec) -> ProcessInstance:
        """See :class:`Backend`."""
        # Short: the path of a socket below it may have 107 bytes.
        scratch = self._folder / spec.name.rpartition("-")[2]
        group = None
        try:
            scratch.mkdir(parents=True)
            group = self._group_for(spec)
            port = free_port()
            process = self._spawn(spec, port, scratch, group)
        except OSError as err:
            shutil.rmtree(scratch, ignore_errors=True)
            if group is not None:
                group.remove()
            raise PlatformFailed(f"The process cannot be started: {err}", where=spec.name) from err
        note_process(scratch, process.pid)
        return ProcessInstance(spec.name, port, process, spec.memory_mb, scratch, group)

    def close(self) -> None:
        """See :class:`Backend`."""
        if self._groups is not None:
            self._groups.remove()

    def _group_for(self, spec: InstanceSpec) -> ControlGroup | None:
        if self._groups is None:
            return None
        return self._groups.create(spec.name, memory_mb=spec.memory_mb, cpus=spec.cpus)

    def _spawn(
        self, spec: InstanceSpec, port: int, scratch: Path, group: ControlGroup | None
    ) -> subprocess.Popen[bytes]:
        command = self._command
        if group is not None:
            entrances = " ".join(str(path) for path in group.entrances)
            command = ("/bin/sh", "-c", ENTER_GROUPS, "enter", entrances, *command)
        with (scratch / "log").open("wb") as log_file:
            return subprocess.Popen(
                command,
                env=_environment(spec, port, scratch),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                start_new_session=True,
            )


def profile_of_image(image: str) -> ProfileName | None:
    """The profile that an image of the ladder serves with, by its tag; None: not of the ladder."""
    own = _OWN_IMAGE.search(image)
    return cast("ProfileName | None", own and own.lastgroup)


def _environment(spec: InstanceSpec, port: int, scratch: Path) -> Mapping[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {
        **inherited,
        **OF_THE_IMAGES,
        **spec.environment,
        "TMPDIR": str(scratch),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "DRDEPLOY_BIND_HOST": LOOPBACK,
        "DRDEPLOY_MODEL_DIR": str(spec.model_dir),
        "DRDEPLOY_PROFILE": profile_of_image(spec.image) or "lean",
        "DRDEPLOY_CONTAINER_ID": spec.name,
    }


@dataclass(eq=False)
class ProcessInstance:
    """A server in a session, and where possible a control group, of its own."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    memory_mb: int
    scratch: Path
    group: ControlGroup | None
    _stopping: Any = field(default_factory=threading.Lock, repr=False)
    _is_stopped: bool = field(default=False, repr=False)

    def is_alive(self) -> bool:
        """See :class:`Instance`."""
        return self.process.poll() is None

    def look_again(self) -> None:
        """Nothing is remembered here."""

    def ran_out_of_memory(self) -> bool:
        """See :class:`Instance`."""
        return self.group is not None and self.group.oom_kills() > 0

    def memory_share(self) -> float | None:
        """See :class:`Instance`."""
        used = self._resident_bytes() if self.group is None else self.group.memory_bytes()
        return used / (self.memory_mb * MIB) if used else None

    def log_tail(self) -> str:
        """See :class:`Instance`."""
        try:
            data = (self.scratch / "log").read_bytes()[-LOG_TAIL_BYTES:]
        except OSError:
            return ""
        return data.decode(errors="replace").strip()

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """See :class:`Instance`."""
        with self._stopping:
            if self._is_stopped:
                return  # its process id may be another's by now
            self._is_stopped = True
            if grace_s > 0 and self.is_alive():
                self.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(grace_s)
            self._kill_session()
            if self.group is not None:
                self.group.remove()
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _kill_session(self) -> None:
        """Also what the server started and left behind."""
        kill_session(self.process.pid, self.scratch)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(KILLED_WAIT_S)

    def _resident_bytes(self) -> int:
        import psutil

        try:
            parent = psutil.Process(self.process.pid)
            family = [parent, *parent.children(recursive=True)]
            return sum(member.memory_info().rss for member in family)
        except psutil.Error:
            return 0

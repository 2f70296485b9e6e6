"""Where one run happens: folders, small disks, clocks, and the processes that belong to it.

Everything lies below one folder with a short name, because NGINX and Terraform put Unix sockets
below it, whose paths may have 107 bytes.  The folder is on the ``PYTHONPATH`` of everything that is
started, and so in the environment of its children and theirs: that is how they are found.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FAKETIME = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
DRDEPLOY = (sys.executable, "-m", "drdeploy")
DISK_BYTES = 24 * 1024 * 1024
FILLER = ".filler"


def clock_library() -> Path | None:
    """Return the library that lies about the time, if it is installed (Debian: faketime)."""
    return next((path for path in FAKETIME if path.exists()), None)


@dataclass(frozen=True)
class Found:
    """A process of a run."""

    pid: int
    parent: int
    role: str
    words: str


@dataclass
class Started:
    """A command that was started, and what it prints."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def output(self) -> str:
        return self.out.read_text("utf-8", errors="replace")

    @property
    def errors(self) -> str:
        return self.err.read_text("utf-8", errors="replace")


@dataclass
class Place:
    """The folder of one run.

    Attributes:
        hooks: On the ``PYTHONPATH``: what strikes a process from within.
        home: ``DRDEPLOY_LOCAL_HOME``.
        tmp: ``TMPDIR``.
        work: The working directory, with results and deployments.
        services: Names of the local services that were seen.
    """

    folder: Path
    services: set[str] = field(default_factory=set)
    _commands: int = 0
    _mounts: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hooks, self.home, self.tmp, self.work = (
            self.folder / name for name in ("hooks", "home", "tmp", "work")
        )
        for path in (self.home, self.tmp, self.work):
            path.mkdir(parents=True)
        shutil.copytree(HERE / "hooks", self.hooks, ignore=shutil.ignore_patterns("__pycache__"))

    def environment(self) -> dict[str, str]:
        """The environment of all that is started here."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "DRDEPLOY_", "TF_", "FAKETIME"))
        }
        path = [str(self.hooks), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "DRDEPLOY_LOCAL_HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "CHECKPOINT_DISABLE": "1",
        }

    def start(self, *words: str, **more: str) -> Started:
        """Start a ``drdeploy`` command, with further variables in its environment."""
        self._commands += 1
        out, err = (self.folder / f"{kind}-{self._commands}" for kind in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*DRDEPLOY, *words],
                cwd=self.work,
                env={**self.environment(), **more},
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        return Started(process, out, err)

    # -- faults ------------------------------------------------------------------------

    def order(self, **fault: Any) -> None:
        """Tell the hook what to strike; see ``hooks/sitecustomize.py``."""
        (self.hooks / "fault.json").write_text(json.dumps(fault))

    def withdraw(self) -> None:
        """Strike nothing in the processes that are started from now on."""
        (self.hooks / "fault.json").unlink(missing_ok=True)

    @property
    def struck(self) -> str:
        """What the hook says that it has struck."""
        path = self.hooks / "struck"
        return path.read_text().strip() if path.exists() else ""

    def clock_variables(self) -> dict[str, str]:
        """Variables under which a process reads its clock from a file of this folder."""
        self.set_clock(0)
        return {
            "LD_PRELOAD": str(clock_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, offset_s: float) -> None:
        """Set the clocks of those processes so much ahead; less than zero is behind."""
        draft = self.folder / "clock.new"
        draft.write_text(f"{offset_s:+.0f}\n")
        draft.replace(self.folder / "clock")

    def small_disk(self, folder: Path) -> None:
        """Put a disk of a few megabytes below a folder that is empty yet."""
        size = f"size={DISK_BYTES},mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
        self._mounts.append(folder)

    def remount(self, folder: Path, how: str) -> bool:
        """Remount a small disk ``ro`` or ``rw``; return whether the kernel did it."""
        command = ["mount", "-o", f"remount,{how}", str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def fill(self, folder: Path, left_bytes: int) -> None:
        """Fill a small disk up to so many bytes."""
        with (folder / FILLER).open("wb") as file:
            free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
            if free > left_bytes:
                os.posix_fallocate(file.fileno(), 0, free - left_bytes)

    def make_room(self, folder: Path) -> None:
        """Take back what :meth:`fill` did."""
        (folder / FILLER).unlink(missing_ok=True)

    # -- processes ---------------------------------------------------------------------

    def processes(self) -> list[Found]:
        """Return what runs of this place, whoever started it."""
        marker = str(self.folder).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError, IndexError):
                if marker not in (entry / "environ").read_bytes():
                    continue
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if state[0] != "Z":
                    found.append(Found(int(entry.name), int(state[1]), _role(words), words[:150]))
        servers = {one.pid for one in found if one.role == "server"}
        return [
            Found(one.pid, one.parent, "worker", one.words)
            if one.role == "server" and one.parent in servers
            else one
            for one in found
        ]

    @staticmethod
    def role_of(started: Started) -> str:
        """Return the role of a command that serves."""
        words = started.process.args
        return "server" if isinstance(words, list) and words[-1] == "serve" else "service"

    def pids(self, role: str) -> list[int]:
        """Return the processes in a role, the oldest first."""
        return sorted(one.pid for one in self.processes() if one.role == role)

    def look(self) -> None:
        """Note the services whose folders lie in the home."""
        self.services |= {path.name for path in self.home.glob("drdeploy-*")}

    def resume_stopped(self) -> None:
        """Continue what was stopped."""
        for one in self.processes():
            with contextlib.suppress(OSError):
                os.kill(one.pid, signal.SIGCONT)

    def kill_all(self) -> list[Found]:
        """Kill what is left; return it."""
        left = self.processes()
        for one in left:
            with contextlib.suppress(OSError):
                os.kill(one.pid, signal.SIGKILL)
        return left

    def leftovers(self) -> Iterator[str]:
        """Yield what services of this place have left outside their processes."""
        for group in control_groups() & self.services:
            yield f"control group {group}"
        if self.services:
            yield from _containers(self.services)
        for line in Path("/proc/mounts").read_text().splitlines():
            folder = Path(line.split()[1])
            if self.folder in folder.parents and folder not in self._mounts:
                yield f"mount {folder}"
        for path in self.home.iterdir():
            if path.name != FILLER:
                yield f"in the home: {path.name}"

    def close(self) -> None:
        """Kill what still runs, and remove everything."""
        self.kill_all()
        deadline = time.monotonic() + 5.0
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        for folder in self._mounts:
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        for name in control_groups() & self.services:
            _remove_group(name)
        shutil.rmtree(self.folder, ignore_errors=True)


def control_groups() -> set[str]:
    """Return the names of all groups of local services on this machine."""
    return {path.name for path in _groups()}


def _groups() -> Iterator[Path]:
    for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        for pattern in ("drdeploy-*", "*/drdeploy-*", "*/*/drdeploy-*"):
            with contextlib.suppress(OSError):
                yield from root.glob(pattern)


def _remove_group(name: str) -> None:
    for path in _groups():
        if path.name == name:
            for folder in (*path.iterdir(), path):
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _containers(services: set[str]) -> Iterator[str]:
    if not os.environ.get("DOCKER_HOST"):
        return
    listed = subprocess.run(
        ["docker", "ps", "-a", "--format", '{{.Names}} {{.Label "drdeploy.local.service"}}'],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    for line in listed.stdout.splitlines():
        name, _, service = line.partition(" ")
        if service.strip() in services or name.rpartition("-")[0] in services:
            yield f"container {name}"


def _role(words: str) -> str:
    if "drdeploy.hosting.serving" in words or words.rstrip().endswith(" serve"):
        return "server"
    if " local up" in words:
        return "service"
    if words.startswith("terraform") or "/terraform" in words.split(" ", 1)[0]:
        return "terraform"
    return "command" if " study " in words or " endpoint " in words else "other"

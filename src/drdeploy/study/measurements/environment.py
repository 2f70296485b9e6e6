"""Record the facts that measurements depend on: machine, software and study, for each run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import StudyError
from drdeploy.files import write_json
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PACKAGES = (
    *("boto3", "fastapi", "gunicorn", "httptools", "moto", "msgspec", "numpy", "onnxruntime"),
    *("openvino", "pillow", "simplejpeg", "tensorflow-cpu", "tensorflow", "uvicorn"),
)
"""Packages whose versions a latency depends on."""

HOST_FACTS = ("cpu_model", "cpu_count", "platform", "isolation")
"""Rows in one results folder agree in these; latencies of two machines are not comparable."""

BUSY_PERCENT = 20.0
"""Above this, other work on the machine shows in the latencies."""


def cpu_busy_percent(over_s: float = 0.5) -> float:
    """Return how busy all CPUs together are, over so many seconds."""
    import psutil

    return float(psutil.cpu_percent(over_s))


def host_facts() -> dict[str, Any]:
    """Return the facts about this machine, its packages and this checkout."""
    cpu = _cpu_info()
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    commit = _git_output("rev-parse", "HEAD")
    has_changes = bool(commit and _git_output("status", "--porcelain"))
    return {
        "cpu_model": cpu.get("model name", platform.processor() or platform.machine()),
        "cpu_flags": cpu.get("flags", cpu.get("Features", "")).split(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "machine": platform.machine(),
        "operating_system": _operating_system(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "drdeploy": VERSION,
        "packages": versions,
        "git": {"commit": commit, "has_changes": has_changes} if commit else {},
    }


class EnvironmentFile:
    """The file ``environment.json``, which holds facts for each ``run_id``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each run.

        Raises:
            StudyError: The file is not a JSON object.
        """
        if not self.path.exists():
            return {}
        try:
            runs = json.loads(self.path.read_text("utf-8"))
        except ValueError as err:
            raise StudyError(f"The file is not JSON: {err}", where=str(self.path)) from err
        if not isinstance(runs, dict):
            raise StudyError("The file is not an object of runs", where=str(self.path))
        return runs

    def record(self, run_id: str, facts: Mapping[str, Any]) -> None:
        """Add a run, or add facts to one."""
        runs = self.read()
        runs[run_id] = {**runs.get(run_id, {}), **facts}
        write_json(self.path, runs)

    def refuse_other_conditions(
        self, facts: Mapping[str, Any], run_ids_by_trial: Mapping[str, Collection[str]]
    ) -> None:
        """Refuse to add rows to a trial that was measured under other conditions.

        What decides whether rows may be mixed is the machine, the seed, and each trial's
        fingerprints: of its definition in the study, and of its artifact.

        Args:
            facts: About the run that is about to begin, as far as they are known.
            run_ids_by_trial: The runs that measured each trial so far.

        Raises:
            StudyError: One of these differs.
        """
        runs = self.read()
        for trial, run_ids in run_ids_by_trial.items():
            for run_id in sorted(run_ids):
                difference = _difference(runs.get(run_id, {}), facts, trial)
                if difference:
                    raise StudyError(
                        f"Run {run_id} measured {trial} with another {difference}",
                        where=str(self.path.parent),
                        remedy="Start anew with --fresh (the old rows are kept aside), "
                        "or name another folder with --out",
                    )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], trial: str) -> str:
    # What one side does not know cannot differ: older versions recorded fewer facts, and before
    # the artifacts are built a run knows only its definitions.
    for name in (*HOST_FACTS, "seed"):
        if name in before and name in now and before[name] != now[name]:
            return f"{name.replace('_', ' ')}: {before[name]}, and now {now[name]}"
    earlier, later = before.get("trials", {}).get(trial, {}), now["trials"].get(trial, {})
    for name in earlier.keys() & later.keys():
        if earlier[name] != later[name]:
            return f"{name}: {earlier[name]}, and now {later[name]}"
    return ""


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    # One paragraph for each CPU; platform.processor() is empty on most Linux distributions.
    first = path.read_text("utf-8", errors="replace").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _git_output(*arguments: str) -> str:
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, or a package that was installed without its checkout
    return answer.stdout.strip()

"""Record for each run the facts on which measurements depend: machine, software and study."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import StudyError
from drdeploy.files import parse_json, write_json_file
from drdeploy.photograph_names import KEY_VARIABLE, OWN_NAMES
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PACKAGES = (
    *("boto3", "fastapi", "gunicorn", "httptools", "moto", "msgspec", "numpy", "onnxruntime"),
    *("openvino", "pillow", "simplejpeg", "tensorflow-cpu", "tensorflow", "uvicorn"),
)
"""The packages whose versions may affect a latency."""

HOST_FACTS = ("cpu_model", "cpu_count", "platform", "isolation")
"""The facts that must be equal for all rows in one results folder.

Latencies that were measured on different machines are not comparable."""

_OTHER_FOLDER = "Choose another results folder with --out"
BUSY_PERCENT = 20.0
"""If the CPUs are busier than this before a run, other programs affect the latencies."""


def measure_cpu_busy_percent(over_s: float = 0.5) -> float:
    """Measure for ``over_s`` seconds how busy all CPUs together are, in per cent."""
    import psutil

    return float(psutil.cpu_percent(over_s))


def collect_host_facts() -> dict[str, Any]:
    """Return facts about this machine, the installed packages, and the checkout of drdeploy."""
    cpu = _read_cpu_info()
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    commit = _run_git_command("rev-parse", "HEAD")
    has_changes = bool(commit and _run_git_command("status", "--porcelain"))
    return {
        "cpu_model": cpu.get("model name", platform.processor() or platform.machine()),
        "cpu_flags": cpu.get("flags", cpu.get("Features", "")).split(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "machine": platform.machine(),
        "operating_system": _read_operating_system_name(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "drdeploy": VERSION,
        "packages": versions,
        "git": {"commit": commit, "has_changes": has_changes} if commit else {},
    }


class EnvironmentFile:
    """The file ``environment.json``, which holds the facts of each run by the run's id."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_facts_by_run(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each run, by the run's id.

        Raises:
            StudyError: The file is not a JSON object.
        """
        if not self.path.exists():
            return {}
        try:
            runs = parse_json(self.path.read_text("utf-8"))
        except ValueError as err:
            raise StudyError(
                f"The file is not JSON: {err}", where=str(self.path), remedy=_OTHER_FOLDER
            ) from err
        if not isinstance(runs, dict):
            raise StudyError(
                "The file is not a JSON object with one entry per run",
                where=str(self.path),
                remedy=_OTHER_FOLDER,
            )
        return runs

    def record_facts_of_run(self, run_id: str, facts: Mapping[str, Any]) -> None:
        """Add facts of a run to the file, and keep the facts that the file already holds."""
        runs = self.read_facts_by_run()
        runs[run_id] = {**runs.get(run_id, {}), **facts}
        write_json_file(self.path, runs)

    def refuse_rows_under_other_conditions(
        self, facts: Mapping[str, Any], run_ids_by_trial: Mapping[str, Collection[str]]
    ) -> None:
        """Refuse to add rows to a trial that was measured under other conditions.

        A trial may contain rows of two runs only if four things are the same in both: the machine,
        the seed, the trial's definition and its model artifact.

        Args:
            facts: The known facts of the run that is about to begin.
            run_ids_by_trial: The ids of the runs that measured each trial so far.

        Raises:
            StudyError: The machine, the seed, or a trial's definition or artifact differs.
        """
        runs = self.read_facts_by_run()
        for trial, run_ids in run_ids_by_trial.items():
            for run_id in sorted(run_ids):
                difference = _describe_first_difference_of_conditions(
                    runs.get(run_id, {}), facts, trial
                )
                if difference:
                    raise StudyError(
                        f"Run '{run_id}' measured the trial '{trial}' under different conditions: "
                        f"{difference}",
                        where=str(self.path.parent),
                        remedy="Start over with --fresh, which moves the old rows aside, "
                        "or choose another folder with --out",
                    )

    def refuse_other_photograph_names(self, are: str, run_ids: Collection[str]) -> None:
        """Refuse to add rows that name photographs differently from the existing rows.

        If one photograph had two names, new rows could not be paired with existing rows.

        Args:
            are: The way in which this run names photographs, as words for the error message. It
                comes from :attr:`PhotographNames.description_of_photograph_names`.
            run_ids: The ids of the runs that measured the existing rows.

        Raises:
            StudyError: An earlier run named photographs in another way.
        """
        runs = self.read_facts_by_run()
        for run_id in sorted(runs.keys() & set(run_ids)):
            # Older versions did not record how photographs were named. They used the file names.
            were = runs[run_id].get("photograph_names", OWN_NAMES.description_of_photograph_names)
            if were == are:
                continue
            remedy = f"Set {KEY_VARIABLE} to the path of that run's key file"
            if were == OWN_NAMES.description_of_photograph_names:
                remedy = "Continue with --names"
            elif are == OWN_NAMES.description_of_photograph_names:
                remedy = "Continue without --names"
            raise StudyError(
                f"Run {run_id} named photographs by {were}, but this run would use {are}",
                where=str(self.path.parent),
                remedy=f"{remedy}, or start over with --fresh, which moves the old rows aside",
            )


def _describe_first_difference_of_conditions(
    before: Mapping[str, Any], now: Mapping[str, Any], trial: str
) -> str:
    # Only facts that both runs know are compared. Older versions recorded fewer facts, and a run
    # does not know its artifacts before they are built.
    for name in (*HOST_FACTS, "seed"):
        if name in before and name in now and before[name] != now[name]:
            return f"{name.replace('_', ' ')} was {before[name]}, and is {now[name]} now"
    earlier, later = before.get("trials", {}).get(trial, {}), now["trials"].get(trial, {})
    for name in earlier.keys() & later.keys():
        if earlier[name] != later[name]:
            return f"{name} was {earlier[name]}, and is {later[name]} now"
    return ""


def _read_cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    # One paragraph for each CPU; platform.processor() is empty on most Linux distributions.
    first = path.read_text("utf-8", errors="replace").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _read_operating_system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _run_git_command(*arguments: str) -> str:
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

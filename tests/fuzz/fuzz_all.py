"""Fuzz every target in turn, for as long as you say: ``make fuzz MINUTES=60``.

What is found lies in ``build/fuzz/found/TARGET``; a run that is stopped goes on from the inputs
that it had collected.  ``--store`` puts the shortest inputs that reach other branches than the
seeds into the corpus of the project.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import corpus  # noqa: E402 - its folder is no package
import targets  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=sorted(targets.TARGETS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--slice-s", type=int, default=60, help="for one target before the next")
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--store", action="store_true", help="keep what was found in the project")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    seed = int(time.time())
    while (left_s := end - time.monotonic()) > 0:
        share_s = max(min(options.slice_s, int(left_s)), 5)
        name = options.targets[seed % len(options.targets)]
        print(fuzz(name, seconds=share_s, seed=seed, work=options.work), flush=True)
        seed += 1
    findings = sorted(options.work.glob("found/*/*"))
    for path in findings:
        print(f"finding: {path}")
    if options.store:
        for name in options.targets:
            collected = [path.read_bytes() for path in options.work.glob(f"*/{name}/*")]
            corpus.store(name, corpus.chosen(name, collected))
    return 1 if findings else 0


def fuzz(name: str, *, seconds: int, seed: int, work: Path) -> str:
    """Fuzz a target in a process of its own; return what happened on one line."""
    command = [sys.executable, str(HERE / "fuzz_one.py"), name]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--work", str(work)]
    before = _cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    log = done.stdout + done.stderr
    folder = work / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    if done.returncode:
        (folder / f"{name}-{seed}.log").write_text(log)
    runs = re.findall(r"number_of_executed_units:\s*(\d+)", log) or ["0"]
    coverage = re.findall(r"cov: (\d+)", log) or ["0"]
    return (
        f"{time.strftime('%H:%M:%S')} {name:15} {runs[-1]:>9} inputs, {coverage[-1]:>5} branches, "
        f"{_cpu_s() - before:6.1f} s of CPU, {'FOUND' if done.returncode else 'nothing found'}"
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())

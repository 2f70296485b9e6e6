"""Run the tests in two processes, and repeat failed tests that a busy machine may have disturbed.

    python scripts/run_tests.py [arguments of pytest]

Many tests start servers, containers, browsers and databases and wait for them, while other tests
keep all processors busy. If a test fails under load but passes alone, the cause is the load and not
a fault in the code. One such failure would hide the results of thousands of other tests. To
distinguish load from faults, the failed tests are run a second time, one after another, while no
other test runs. This happens only if at most five tests failed, all of them in
``TESTS_OF_OTHER_PROGRAMS``. A test that has found a fault fails again. If a test passes the second
time, the script names it at the end as unsteady. An unsteady test must be fixed, too: it fails on a
busy machine because it does not wait for the right event.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

TESTS_OF_OTHER_PROGRAMS = tuple(
    PurePosixPath("tests", name)
    for name in (
        *("benchmarks", "cli", "clinic", "faults", "hosting", "pages", "study/running"),
        *("test_library.py", "test_wheel.py"),
    )
)
"""Folders and files of tests that wait for programs which the tests start."""
AT_MOST = 5
"""The largest number of failed tests that are repeated.

Load usually disturbs one or two tests. If more tests fail than this number, the code is at fault.
"""


def main(arguments: list[str]) -> int:
    """Run the tests with the arguments of pytest, and return the exit status."""
    status = _run_pytest("-n", "2", *arguments)
    if status != pytest.ExitCode.TESTS_FAILED:
        return status
    failed = _read_failed_tests()
    if not failed or not may_be_disturbed(failed):
        return status
    _say(f"again, alone: {', '.join(failed)}")
    status = _run_pytest("--last-failed", "--last-failed-no-failures=none", *arguments)
    if status == pytest.ExitCode.OK:
        _say(f"unsteady, passed alone: {', '.join(failed)}")
    return status


def may_be_disturbed(failed: list[str]) -> bool:
    """Return whether tests may have failed only because other tests kept the machine busy.

    Args:
        failed: The node ids of the tests, such as ``tests/cli/test_main.py::test_version``.
    """
    files = {PurePosixPath(name.partition("::")[0]) for name in failed}
    return len(failed) <= AT_MOST and all(
        any(file.is_relative_to(one) for one in TESTS_OF_OTHER_PROGRAMS) for file in files
    )


def _run_pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


def _say(text: str) -> None:
    sys.stdout.write(f"\nrun_tests: {text}\n")
    sys.stdout.flush()  # before what pytest writes next


def _read_failed_tests() -> list[str]:
    """Return the node ids of the tests that failed in pytest's last run."""
    kept = Path(".pytest_cache/v/cache/lastfailed")
    return sorted(json.loads(kept.read_text())) if kept.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What CI runs before any test: the operating system's packages and a container engine.

The scripts are real; programs that would change this machine are replaced on ``PATH``.
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def programs(tmp_path):
    """A folder first on ``PATH``, and how a shell script is put there."""
    folder = tmp_path / "programs"
    folder.mkdir()

    def put(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    put.folder = folder
    return put


def run_script(script: Path, *arguments, programs, **settings):
    return subprocess.run(
        [script, *arguments],
        env={**os.environ, "PATH": f"{programs.folder}:{os.environ['PATH']}", **settings},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.fixture
def checkout(tmp_path, programs):
    """A checkout of the scripts alone, on a machine whose Docker does not answer."""
    installed = ("make", "nginx", "chromium", "dcmdump", "npm", "curl", "faketime", "python3.11")
    for name in installed:
        programs(name, f'echo "{name} $*" >> {tmp_path}/called')
    programs("docker", "exit 1")
    shutil.copytree(ROOT / ".ci", tmp_path / "checkout/.ci")
    (tmp_path / "checkout/scripts").mkdir()
    return tmp_path / "checkout"


def write_start_engine(checkout: Path, script: str) -> None:
    path = checkout / "scripts/start-engine.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_ci_stops_with_the_reason_where_no_engine_starts(checkout, programs, tmp_path):
    write_start_engine(checkout, 'echo "Podman does not answer" >&2; exit 1')
    done = run_script(checkout / ".ci/run", programs=programs)
    assert done.returncode != 0
    assert "Podman does not answer" in done.stderr
    assert "no test was run" in done.stderr
    assert not (tmp_path / "called").exists()


def test_ci_hands_the_engine_that_it_started_to_the_tests(checkout, programs, tmp_path):
    write_start_engine(checkout, 'echo "$1" >> ../started; echo "export DOCKER_HOST=unix:///here"')
    programs("make", f'echo "$DOCKER_HOST $*" >> {tmp_path}/called')
    done = run_script(checkout / ".ci/run", programs=programs)
    assert done.returncode == 0, done.stderr
    assert "unix:///here test" in (tmp_path / "called").read_text().splitlines()
    assert (tmp_path / "started").read_text().split() == ["stop"]  # and ends it


def test_what_a_failed_engine_leaves_to_eval_fails_too(programs):
    programs("id", "echo 1000")  # not root
    done = subprocess.run(
        ["bash", "-c", f'eval "$({ROOT}/scripts/start-engine.sh)" && echo went on'],
        env={
            "PATH": f"{programs.folder}:{os.environ['PATH']}",
            "DRDEPLOY_ENGINE_DIR": str(programs.folder / "nothing"),
            "DOCKER_HOST": "",
        },
        capture_output=True,
        check=False,
        text=True,
    )
    if "answers at" in done.stderr:
        pytest.skip("Docker itself answers on this machine, so nothing is to be started")
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert "needs root" in done.stderr


@pytest.fixture
def package_manager(programs, tmp_path):
    """An apt-get that finds its lock held as often as the file ``held`` has lines."""
    programs("dpkg-query", "exit 1")
    programs("id", "echo 0")
    programs(
        "apt-get",
        f"""echo "$*" >> {tmp_path}/called
if [ -s {tmp_path}/held ]; then
  sed -i 1d {tmp_path}/held
  echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1" >&2
  exit 100
fi""",
    )
    return tmp_path


INSTALL = ROOT / "scripts/install-debian-packages.sh"


def test_an_installation_waits_for_the_package_managers_lock(package_manager, programs):
    (package_manager / "held").write_text("once\n")
    done = run_script(INSTALL, "podman", programs=programs)
    assert done.returncode == 0, done.stderr
    assert "waiting for it" in done.stderr
    update, again, install = (package_manager / "called").read_text().splitlines()
    assert update == again
    assert update.endswith(" update")
    assert install.endswith(" podman")
    assert "DPkg::Lock::Timeout=600" in install


def test_an_installation_gives_up_on_a_lock_that_is_never_released(package_manager, programs):
    (package_manager / "held").write_text("held\n" * 99)
    done = run_script(INSTALL, "podman", programs=programs, DRDEPLOY_APT_WAIT_S="1")
    assert done.returncode != 0
    assert "has held the lock for 1 s" in done.stderr


def test_an_installation_that_fails_otherwise_is_not_tried_again(package_manager, programs):
    programs("apt-get", f"echo called >> {package_manager}/called; echo No such host >&2; exit 100")
    done = run_script(INSTALL, "podman", programs=programs)
    assert done.returncode != 0
    assert "No such host" in done.stderr
    assert len((package_manager / "called").read_text().splitlines()) == 1


def test_the_fast_tests_of_the_other_pythons_exist():
    script = (ROOT / "scripts/test-pythons.sh").read_text()
    array = script[script.index("readonly FAST_TESTS=(") :].partition("\n)")[0] + "\n)"
    names = subprocess.run(
        ["bash", "-c", f'{array}; printf "%s\\n" "${{FAST_TESTS[@]}}"'],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert len(names) > 20
    assert [name for name in names if not (ROOT / name).exists()] == []


UNSTEADY = """
from pathlib import Path

def test_it():
    seen = Path(__file__).with_suffix(".seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
FAULT = "def test_it():\n    assert False\n"


def run_tests(folder: Path, tests: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, content in tests.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return subprocess.run(
        [sys.executable, ROOT / "scripts/run_tests.py", "-q", "-p", "no:warnings"],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )


def test_a_test_of_other_programs_that_passes_alone_is_named_and_does_not_fail_the_run(tmp_path):
    done = run_tests(tmp_path, {"tests/cli/test_a.py": UNSTEADY, "tests/cli/test_b.py": "x = 1"})
    assert done.returncode == 0, done.stdout
    assert "unsteady, passed alone: tests/cli/test_a.py::test_it" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "tests",
    [
        {"tests/cli/test_a.py": FAULT},
        {"tests/grader/test_a.py": UNSTEADY},
        {"tests/cli/test_a.py": UNSTEADY, "tests/grader/test_b.py": FAULT},
        {f"tests/cli/test_{letter}.py": UNSTEADY for letter in "abcdef"},
    ],
    ids=["it fails again", "it computes alone", "beside a fault", "too many"],
)
def test_other_failures_fail_the_run(tmp_path, tests):
    done = run_tests(tmp_path, tests)
    assert done.returncode == 1, done.stdout
    assert "unsteady" not in done.stdout


def test_every_folder_of_tests_that_is_named_elsewhere_exists():
    """A folder that was renamed would run beside others, or not at all."""
    listing = 'eval "$(sed -n "/^readonly FAST_TESTS/,/^)/p" "$1")"; echo ${FAST_TESTS[*]}'
    fast = subprocess.run(
        ["bash", "-c", listing, "-", ROOT / "scripts" / "test-pythons.sh"],
        capture_output=True, check=True, text=True,
    ).stdout.split()  # fmt: skip
    conftest = runpy.run_path(str(ROOT / "tests" / "conftest.py"))
    script = runpy.run_path(str(ROOT / "scripts" / "run_tests.py"))
    named = [*fast, *conftest["ONE_AFTER_THE_OTHER"], *script["TESTS_OF_OTHER_PROGRAMS"]]
    assert len(fast) > 30
    assert not [name for name in named if not (ROOT / name).exists()]

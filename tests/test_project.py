"""The project's frame: what a newcomer and the next engineer rely on."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import drdeploy

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_conda_environment_pins_what_the_lock_pins():
    written = runpy.run_path(str(ROOT / "scripts/write_environment.py"))["environment"]()
    assert (ROOT / "environment.yml").read_text() == written, "run scripts/write_environment.py"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock):
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    packages = re.split(r"\n(?=[a-z0-9])", text.strip())
    unpinned = [item.splitlines()[0] for item in packages if "--hash=sha256:" not in item]
    assert unpinned == []


def test_every_lock_agrees_with_the_test_environment():
    def versions(lock: Path) -> set[str]:
        return {
            line.split(";")[0].removesuffix("\\").strip()
            for line in lock.read_text().splitlines()
            if re.match(r"[a-z0-9]", line)
        }

    tested = versions(ROOT / "requirements/dev.txt")
    for lock in LOCKS:
        # Environments of their own: nothing of ours is installed there.
        is_apart = lock.name.startswith("clients-")
        is_apart |= lock.name in {"checkov.txt", "vgg16-weights.txt"}
        if not is_apart and lock.name not in {"dev.txt", "installer.txt"}:
            untested = versions(lock) - tested
            if lock.name == "cuda.txt":
                # These need a GPU, and onnxruntime-gpu has the files of onnxruntime.
                gpu = ("nvidia-", "onnxruntime-gpu==")
                untested = {one for one in untested if not one.startswith(gpu)}
            assert untested == set(), f"{lock.name} is untested: run make lock"


def test_no_tracked_file_names_a_path_of_one_machine_or_a_registry_host():
    suspicious = re.compile(
        rf"({re.escape(str(ROOT))}/|/(home|Users)/[a-z]+/"
        r"|://[\w.-]*\b(pypi|pythonhosted|npmjs|debian)\b)"
    )
    offenders = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path != Path(__file__).resolve()
        and path.suffix not in {".png", ".jpg", ".gz", ".onnx"}
        and suspicious.search(path.read_text(errors="ignore"))
    ]
    assert offenders == []


def test_no_lock_file_of_a_tool_is_tracked():
    names = {path.name for path in tracked_files()}
    assert names.isdisjoint({"uv.lock", "poetry.lock", "pylock.toml"})


def test_the_version_command_prints_the_package_version():
    answer = subprocess.run(
        [sys.executable, "-c", "from drdeploy.cli import main; main()", "--version"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert answer.stdout.strip() == f"drdeploy {drdeploy.__version__}"


def test_every_noun_of_the_command_line_explains_itself():
    from typer.testing import CliRunner

    from drdeploy.cli.app import COMMANDS, NOUNS, build_app

    app = build_app()
    for name in [*NOUNS, *COMMANDS]:
        answer = CliRunner().invoke(app, [name, "--help"])
        assert answer.exit_code == 0, f"{name}: {answer.output}"
        assert "Usage" in answer.output


def test_the_readme_promises_only_commands_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    promised = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text()))
    assert promised <= targets


@pytest.mark.parametrize(("version", "is_fit"), [((3, 10), 0), ((3, 13), 1), ((3, 14), 0)])
def test_make_says_which_pythons_it_takes(version, is_fit, tmp_path):
    python = tmp_path / "python"
    claims = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    python.write_text(
        "#!/bin/sh\n"
        "case $2 in *ensurepip*) exit 0;; venv) exit 3;; esac\n"
        f'exec {sys.executable} -c "{claims}" "$2"\n'
    )
    python.chmod(0o755)
    venv = tmp_path / "venv"
    done = subprocess.run(
        ["make", f"VENV={venv}", f"PYTHON={python}", f"{venv}/bin/python"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode != 0
    assert ("TensorFlow has no package for 3.14 yet" in done.stdout) is not bool(is_fit)


def test_extras_are_those_that_users_were_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = {
        "archive",
        "serve",
        "tensorflow",
        "tensorflow-full",
        "openvino",
        "clinic",
        "cloud",
        "train",
        "study",
        "dev",
    }
    assert set(project["optional-dependencies"]) == promised


def test_the_lean_image_holds_the_modules_whose_imports_are_checked():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (lean,) = [each for each in settings["contracts"] if "lean image" in each["name"]]
    sent = re.findall(r"^!src/(drdeploy/.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    modules = {
        name.removesuffix(".py").replace("/", ".")
        for name in sent
        if not name.endswith(("__init__.py", ".jpg"))
    }
    assert modules == set(lean["source_modules"])

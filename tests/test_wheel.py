"""The wheel is what users get: built, installed where nothing else is, and used.

Nothing of this checkout is on the path of what runs here.
"""

import json
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from required import require

from drdeploy.cli.extras import EXTRAS
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.hosting.images import build_image
from drdeploy.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPH = ROOT / "examples" / "photographs" / "IDRiD_001_grade4.jpg"

EVERY_COMMAND = """
import sys, typer
from drdeploy.cli.app import build_app
from drdeploy.cli.extras import check_extras_and_system_of_command
from drdeploy.errors import MissingExtra

for noun, command in typer.main.get_command(build_app()).commands.items():
    for words in [[noun, verb] for verb in getattr(command, "commands", ())] or [[noun]]:
        try:
            check_extras_and_system_of_command(words, {})
            print(" ".join(words), "needs nothing", sep="\\t")
        except MissingExtra as error:
            print(" ".join(words), error, sep="\\t")
"""

PLAIN_COMMANDS = {
    "artifact inspect": ["ARCHIVE"],
    "artifact pack": ["MODEL", "--out", "OUT"],
    "artifact set-prevalence": ["ARCHIVE", "--prevalence", "0.1", "--out", "OUT"],
    "artifact verify": ["ARCHIVE"],
    "dataset inspect": ["PHOTOGRAPHS"],
    "grade": ["PHOTOGRAPH"],
    "model list": [],
    "names": ["PHOTOGRAPH"],
}
"""The commands that need no extra, with arguments for each."""


class Environment:
    """A virtual environment and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self._home = folder / "home"
        self._home.mkdir()

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.bin / program, *arguments],
            cwd=self._home,
            env={**kept, "HOME": str(self._home), "COLUMNS": "200"},
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def install(wheel, tmp_path_factory):
    """Make an environment of the wheel and a lock, from the package index or uv's cache."""

    def make(lock: str) -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        python = str(folder / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        uv = Path(sys.executable).parent / "uv"
        installer = [uv, "pip", "install", "--python", python] if uv.exists() else None
        installer = installer or [python, "-m", "pip", "install"]
        for what in (["--require-hashes", "-r", f"requirements/{lock}"], ["--no-deps", str(wheel)]):
            done = subprocess.run(
                [*installer, "--quiet", *what],
                cwd=ROOT,
                capture_output=True,
                check=False,
                text=True,
            )
            require(done.returncode == 0, f"the packages of requirements/{lock}: {done.stderr}")
        return Environment(folder)

    return make


@pytest.fixture(scope="session")
def plain(install):
    """What ``pip install drdeploy`` gives."""
    return install("plain.txt")


@pytest.fixture(scope="session")
def with_study(install):
    """What ``pip install 'drdeploy[study]'`` gives."""
    return install("study.txt")


def test_the_wheel_holds_the_package_and_what_commands_name_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    metadata, shipped = f"drdeploy-{VERSION}.dist-info/", "drdeploy/shipped/"
    assert {name.split("/")[0] for name in names} == {"drdeploy", metadata.rstrip("/")}
    folders = {"containers", "examples", "infrastructure", "requirements", "studies"}
    found = {name.removeprefix(shipped).split("/")[0] for name in names if name.startswith(shipped)}
    assert found == folders | {".dockerignore", "LICENSE"}
    assert not [name for name in names if "aws_provider" in name or "__pycache__" in name]


def test_the_wheel_carries_the_bill_of_materials_of_this_state(wheel):
    place = f"drdeploy-{VERSION}.dist-info/sboms/drdeploy.cdx.json"
    held = json.loads(zipfile.ZipFile(wheel).read(place))
    written = runpy.run_path(str(ROOT / "scripts" / "write_wheel_sbom.py"))["wheel_sbom"]()
    assert held == written, "run python scripts/write_wheel_sbom.py"
    assert {"numpy", "onnxruntime", "pillow"} <= {part["name"] for part in held["components"]}


@pytest.mark.parametrize("command", [["drdeploy"], ["python", "-m", "drdeploy"]])
def test_the_plain_install_has_a_command(plain, command):
    done = plain.run(*command, "--version")
    assert done.stdout.strip() == f"drdeploy {VERSION}", done.stderr


def test_the_plain_install_grades_a_photograph(plain):
    done = plain.run("drdeploy", "grade", str(PHOTOGRAPH), "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["referable"]  # an eye with proliferative retinopathy


def test_the_library_is_named_in_the_plain_install(plain):
    names = "drdeploy.recommend; drdeploy.LocalService; drdeploy.open_artifact"
    done = plain.run("python", "-c", f"import drdeploy; {names}")
    assert done.returncode == 0, done.stderr


def test_every_other_command_of_the_plain_install_names_the_extra_to_install(plain):
    done = plain.run("python", "-c", EVERY_COMMAND)
    assert done.returncode == 0, done.stderr
    answers = dict(line.split("\t") for line in done.stdout.splitlines())
    works = {name for name, answer in answers.items() if answer == "needs nothing"}
    assert works == set(PLAIN_COMMANDS)
    for command, answer in answers.items():
        extras = EXTRAS.get(command) or EXTRAS.get(command.split()[0])
        if extras:
            assert f"pip install 'drdeploy[{','.join(extras)}]'" in answer, command
        else:
            assert command in works


@pytest.mark.parametrize("command", PLAIN_COMMANDS)
def test_a_command_that_needs_no_extra_works_in_the_plain_install(command, plain, tmp_path):
    model = tmp_path / "model"
    extract_archive(box_artifact(), model)
    places = {"PHOTOGRAPH": PHOTOGRAPH, "PHOTOGRAPHS": PHOTOGRAPH.parent, "ARCHIVE": box_artifact()}
    places |= {"MODEL": model / "model.onnx", "OUT": tmp_path / "model.tar.gz"}
    words = [str(places.get(word, word)) for word in PLAIN_COMMANDS[command]]
    has_json = "--json" in plain.run("drdeploy", *command.split(), "--help").stdout
    for more in [[], ["--json"]] if has_json else [[]]:
        done = plain.run("drdeploy", *command.split(), *words, *more)
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.parametrize(
    "command", ["study plan quick", "serve", "local up", "local status", "recommend x"]
)
def test_a_command_that_lacks_its_extra_ends_with_one_sentence(command, plain):
    done = plain.run("drdeploy", *command.split())
    assert done.returncode == 1
    assert "pip install 'drdeploy[" in done.stderr
    assert "Traceback" not in done.stderr


def test_studies_come_with_the_wheel(with_study):
    done = with_study.run("drdeploy", "study", "plan", "quick", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]


def test_the_2023_study_comes_with_the_wheel(with_study):
    asked = ("thesis-2023", "--requests", "50000", "--p95", "3")
    done = with_study.run("drdeploy", "recommend", *asked)
    assert done.returncode == 0, done.stderr


def test_photographs_and_infrastructure_come_with_the_wheel(with_study):
    names = ["examples/photographs/labels.csv", "infrastructure/environments/study/main.tf"]
    script = (
        "from drdeploy.files import path_of_shipped_file\n"
        f"for name in {names}: print(path_of_shipped_file(name))"
    )
    paths = with_study.run("python", "-c", script).stdout.splitlines()
    assert [Path(path).read_bytes() for path in paths] == [
        (ROOT / name).read_bytes() for name in names
    ]


def test_an_image_is_built_from_the_wheel_as_from_the_checkout(with_study, tmp_path):
    script = f"""
import shutil
from drdeploy.hosting.images.build import open_build_context
with open_build_context() as context:
    shutil.copytree(context, {str(tmp_path / "context")!r})
"""
    done = with_study.run("python", "-c", script)
    assert done.returncode == 0, done.stderr
    # What the Dockerfiles copy: the exceptions of .dockerignore.
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        assert contents(tmp_path / "context" / name) == contents(ROOT / name), name


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert files
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        if "__pycache__" not in file.parts
    }


@pytest.mark.engine
def test_the_engine_builds_the_same_image_from_the_wheel(with_study, engine):
    # Built anew: the engine's cache may have lost a layer since another test built the image.
    built = build_image(engine, "lean")
    done = with_study.run("drdeploy", "image", "build", "lean")
    assert done.returncode == 0, done.stderr
    assert engine.image_id(built.tag) == built.id

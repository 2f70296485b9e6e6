"""What a command needs beyond the plain install."""

import grimp
import pytest
from declared import is_installed, of_extra, owners_of

from drdeploy.cli import extras
from drdeploy.cli.app import COMMANDS, NOUNS
from drdeploy.errors import InvalidInput, MissingExtra

FILES = {
    "archive": "archive",
    "artifact push": "push",
    "capacity": "capacity",
    "clinic": "clinic",
    "endpoint": "endpoint",
    "image": "image_conform",
    "image cold-start": "image_cold_start",
    "image push": "push",
    "image sizes": "image_sizes",
    "local up": "local",
    "model compare": "model_compare",
    "model evaluate": "model_evaluate",
    "model list": "model_list",
    "model train": "model_train",
    "prices": "prices",
    "recommend": "recommend",
    "report": "report",
    "reproduce": "reproduce",
    "serve": "serve",
    "study": "study",
    "grade": "grade",
}
"""The file of ``drdeploy.cli`` that holds a command and nothing that needs another extra."""

DICOM = {"gdcm", "highdicom", "jpeg_ls", "openjpeg", "pydicom", "reportlab"}
SAID_WHERE_NEEDED = {"keras", "tensorflow", "tf2onnx", "sklearn", *DICOM}
"""A command that only sometimes needs TensorFlow or DICOM says so there (RuntimeUnavailable,
MissingExtra)."""

TEST_SUPPORT = {"aws_provider"}


@pytest.mark.parametrize("extra", extras.MODULES)
def test_an_extra_is_known_by_a_module_of_each_of_its_packages(extra):
    owners = {name: owners_of(name) for name in extras.MODULES[extra]}
    assert [name for name in owners if not owners[name] & of_extra(extra)] == []
    assert of_extra(extra) - set().union(*owners.values()) == set()


def test_every_entry_names_a_command_and_extras_that_exist():
    assert {entry.split()[0] for entry in extras.EXTRAS} <= {*NOUNS, *COMMANDS}
    assert {name for names in extras.EXTRAS.values() for name in names} <= set(extras.MODULES)


@pytest.fixture(scope="module")
def imports():
    """Every import of the package, those inside functions included."""
    return grimp.build_graph(
        "drdeploy",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )


@pytest.mark.parametrize("command", FILES)
def test_a_command_reaches_no_package_that_its_extras_do_not_bring(command, imports):
    plain = {"PIL", "msgspec", "numpy", "onnxruntime", "rich", "typer"}
    needed = extras.EXTRAS.get(command) or extras.EXTRAS.get(command.split()[0], ())
    brought = plain.union(*(extras.MODULES[extra] for extra in needed))
    # A graph of modules, not of functions: packages that hold several commands reach all of them.
    reached = {
        name.split(".")[0]
        for name in imports.find_upstream_modules(f"drdeploy.cli.{FILES[command]}")
    }
    third_party = {name for name in reached if is_installed(name)}
    assert third_party - brought - SAID_WHERE_NEEDED - TEST_SUPPORT - {"drdeploy"} == set()


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["study", "run", "quick"], "study"),
        (["local", "up"], "study"),
        (["image", "build", "lean"], "cloud"),
        (["image", "sizes"], "study"),
        (["model", "train", "photographs"], "train"),
        (["model", "compare", "photographs"], "study,train"),
        (["serve"], "serve"),
        (["archive", "grade", "photographs", "--out", "t.parquet"], "archive"),
    ],
)
def test_a_command_without_its_packages_names_the_extra_to_install(words, extra, nothing_installed):
    with pytest.raises(MissingExtra, match=rf"pip install -e '\.\[{extra}\]'"):
        extras.check_extras_and_system_of_command(words, {})


def test_a_classic_server_asks_for_the_extra_that_holds_it(nothing_installed):
    with pytest.raises(MissingExtra, match=r"\[tensorflow\]"):
        extras.check_extras_and_system_of_command(["serve"], {"DRDEPLOY_PROFILE": "classic"})


@pytest.mark.parametrize(
    "words", [[], ["--version"], ["grade", "."], ["study", "run", "--help"], ["model", "list"]]
)
def test_help_and_the_plain_commands_need_no_extra(words, nothing_installed):
    extras.check_extras_and_system_of_command(words, {})


def test_a_command_that_limits_processes_is_declined_on_macos(monkeypatch):
    monkeypatch.setattr(extras.sys, "platform", "darwin")
    with pytest.raises(InvalidInput, match="runs only on Linux, but this system is darwin"):
        extras.check_extras_and_system_of_command(["serve"], {})
    extras.check_extras_and_system_of_command(["grade", "."], {})

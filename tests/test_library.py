"""``import drdeploy`` is a library: light to import, typed, and clear where an extra is missing."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from declared import PROJECT

import drdeploy
from drdeploy.errors import (
    PARTS_OF_EXTRAS,
    DrdeployError,
    MissingExtra,
    turn_import_error_into_missing_extra,
)

PROMISED = {
    "Grade",
    "Hosting",
    "InferenceService",
    "LocalService",
    "Prediction",
    "PriceSheet",
    "Requirements",
    "Study",
    "Traffic",
    "check_conformance",
    "evaluate",
    "load_measurements",
    "open_artifact",
    "quantize",
    "recommend",
    "run_study",
}
PLAIN_INSTALL = """
import sys

class OnlyThePlainInstall:
    allowed = {"drdeploy", "msgspec", "numpy", "onnxruntime", "PIL", *sys.stdlib_module_names}
    # Newer releases of ONNX Runtime bring these.
    allowed |= {"pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
    allowed |= {"typing_inspection"}

    def find_spec(self, name, path=None, target=None):
        # The interpreter's own record of how it was built is not in the list of its modules.
        is_own = name.startswith("_sysconfigdata") or name.partition(".")[0] in self.allowed
        if not is_own:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyThePlainInstall())
import drdeploy
"""


WITHOUT_PYDANTIC = PLAIN_INSTALL.replace('"pydantic", ', "")


def run(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_public_name_is_there():
    assert set(drdeploy.__all__) >= PROMISED
    assert set(drdeploy.__all__) <= set(dir(drdeploy))
    for name in drdeploy.__all__:
        public = getattr(drdeploy, name)
        assert public.__name__ == name
        assert public.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'drdeploy' has no attribute 'grade'"):
        drdeploy.grade  # noqa: B018


def test_a_type_checker_sees_what_a_program_gets():
    tree = ast.parse(Path(drdeploy.__file__).read_text())
    [guarded] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {(node.module, alias.name) for node in guarded.body for alias in node.names}
    assert seen == {(home, name) for home, names in drdeploy._HOMES.items() for name in names}
    assert sorted(name for _, name in seen) == sorted(drdeploy.__all__)


def test_importing_the_library_imports_no_wing_and_no_package():
    loaded = run("import sys; before = set(sys.modules); import drdeploy; "
                 "print(*(set(sys.modules) - before))")  # fmt: skip
    ours = {name for name in loaded if name.startswith("drdeploy")}
    assert ours == {"drdeploy", "drdeploy.version"}
    assert {name.partition(".")[0] for name in loaded} - {"drdeploy"} <= sys.stdlib_module_names


def test_the_plain_install_has_the_functions_and_grades():
    assert run(
        PLAIN_INSTALL + "drdeploy.recommend; drdeploy.LocalService; drdeploy.open_artifact\n"
        "drdeploy.run_study; drdeploy.evaluate; drdeploy.check_conformance; drdeploy.Traffic\n"
        "print(drdeploy.open_artifact(drdeploy.box_artifact()).manifest.precision)"
    ) == ["fp32"]


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("recommend('results/quick', 50_000)", "study"),
        ("run_study('quick', 'results/quick')", "study"),
        ("load_measurements('results/quick')", "study"),
        ("LocalService(isolation='process')", "study"),
        ("Assumptions()", "study"),
        ("Measurements", "study"),
        ("Study.load('quick')", "study"),
        ("Hosting.connect()", "cloud"),
        ("RealTimeConfig(instance_type='ml.m5.large')", "cloud"),
        ("ServerlessConfig(memory_mb=2048)", "cloud"),
        ("check_conformance('image', drdeploy.box_artifact())", "cloud"),
    ],
)
@pytest.mark.parametrize("installed", [PLAIN_INSTALL, WITHOUT_PYDANTIC], ids=["", "no pydantic"])
def test_the_plain_install_says_which_extra_a_call_needs(call, extra, installed):
    script = f"""
try:
    drdeploy.{call}
except drdeploy.MissingExtra as error:
    print(error)
"""
    assert f"[{extra}]" in " ".join(run(installed + script))


def test_an_extra_takes_the_place_of_the_extra_that_is_a_part_of_it():
    with (
        pytest.raises(MissingExtra, match=r"The study needs the package nowhere.*\[study\]"),
        turn_import_error_into_missing_extra("study", "The study"),
        turn_import_error_into_missing_extra("cloud", "An endpoint"),
    ):
        import nowhere.at.all  # noqa: F401


def test_an_extra_does_not_take_the_place_of_another():
    with (
        pytest.raises(MissingExtra, match=r"A DICOM file needs the package nowhere.*\[clinic\]"),
        turn_import_error_into_missing_extra("study", "The study"),
        turn_import_error_into_missing_extra("clinic", "A DICOM file"),
    ):
        import nowhere.at.all  # noqa: F401


def test_the_parts_of_extras_are_those_of_the_project():
    declared = {
        extra: tuple(found[1].split(","))
        for extra, requirements in PROJECT["optional-dependencies"].items()
        for requirement in requirements
        if extra != "dev" and (found := re.fullmatch(r"drdeploy\[(.*)\]", requirement))
    }
    assert declared == PARTS_OF_EXTRAS


def test_a_missing_package_is_reported_with_the_extra_that_brings_it():
    reported = r"The report needs the package nowhere.*\[study\]"
    with (
        pytest.raises(MissingExtra, match=reported),
        turn_import_error_into_missing_extra("study", "The report"),
    ):
        import nowhere.at.all  # noqa: F401
    assert issubclass(MissingExtra, ImportError)
    assert issubclass(MissingExtra, DrdeployError)


def test_a_missing_module_of_our_own_is_not_blamed_on_an_extra():
    missing = r"drdeploy\.nowhere"
    with (
        pytest.raises(ModuleNotFoundError, match=missing),
        turn_import_error_into_missing_extra("study", "The report"),
    ):
        import drdeploy.nowhere  # noqa: F401
    assert find_spec("drdeploy.nowhere") is None

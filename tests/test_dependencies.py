"""What the package imports is declared, and what is declared is imported."""

import ast
import sys
from pathlib import Path

from declared import EXTRAS, of_extra, owners_of, plain

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

NEEDS = {
    "drdeploy": (),
    "drdeploy.cli.capacity": ("study",),
    "drdeploy.cli.endpoint_deploy": ("cloud",),
    "drdeploy.cli.local": ("study",),
    "drdeploy.cli.prices": ("cloud",),
    "drdeploy.clinic": ("clinic",),
    "drdeploy.clinic.archive_grading": ("archive",),
    "drdeploy.grader.datasets.folds": ("train",),
    "drdeploy.grader.datasets.pictures": ("study", "train"),
    "drdeploy.grader.dicom": ("clinic",),
    "drdeploy.grader.evaluation": ("study", "train"),
    "drdeploy.grader.importing.keras_files": ("train",),
    "drdeploy.grader.networks": ("train",),
    "drdeploy.grader.networks.vgg19_onnx": ("study",),
    "drdeploy.grader.quantization": ("study", "train"),
    "drdeploy.grader.recalibration": ("study", "train"),
    "drdeploy.grader.runtimes.openvino_runtime": ("openvino",),
    "drdeploy.grader.runtimes.tensorflow_runtime": ("tensorflow", "tensorflow-full", "train"),
    "drdeploy.grader.training": ("train",),
    "drdeploy.hosting": ("cloud",),
    "drdeploy.hosting.images.cold_start_figure": ("study",),
    "drdeploy.hosting.images.size_figure": ("study",),
    "drdeploy.hosting.local": ("study",),
    "drdeploy.hosting.serving": ("serve", "tensorflow", "tensorflow-full"),
    "drdeploy.hosting.serving.classic": ("tensorflow", "tensorflow-full"),
    "drdeploy.hosting.serving.lean": ("serve",),
    "drdeploy.pages": ("study", "train"),
    "drdeploy.statistics": ("study", "train"),
    "drdeploy.study": ("study",),
}
"""Which extras must each bring what a package or module imports; the longest name decides."""

NOT_IMPORTED = {
    "gunicorn": "a program",
    "httptools": "Uvicorn's parser",
    "flask": "moto's server",
    "flask-cors": "moto's server",
    "itsdangerous": "Starlette's sessions",
    "pg8000": "SQLAlchemy's way to PostgreSQL",
}
"""Declared and not imported, each with its reason."""

TEST_SUPPORT = {"aws_provider"}


def third_party(path: Path, *, for_types: bool) -> set[str]:
    """Top-level names that a file imports when it runs, or for the type checker alone."""
    tree = ast.parse(path.read_text())
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if (id(node) in typed) is not for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.split(".")[0] for name in names} - TEST_SUPPORT - {"drdeploy"}
    return tops - set(sys.stdlib_module_names)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_what_a_module_imports_is_declared_by_the_extras_that_it_belongs_to():
    undeclared = []
    for path in files():
        name = name_of(path)
        longest = max((key for key in NEEDS if f"{name}.".startswith(f"{key}.")), key=len)
        for extra in NEEDS[longest] or ("",):
            brought = plain() | (of_extra(extra) if extra else set())
            undeclared += [
                f"{name} imports {module}: declare it in {extra or 'dependencies'}"
                for module in third_party(path, for_types=False)
                if not owners_of(module) & brought
            ]
    assert undeclared == []


def test_what_the_type_checker_imports_is_declared_for_development():
    imported = {name for path in files() for name in third_party(path, for_types=True)}
    # Stubs are packages of their own: mypy_boto3_s3 comes with boto3-stubs[essential].
    imported -= {name for name in imported if name.startswith("mypy_boto3_")}
    declared = plain() | of_extra("dev")
    assert [name for name in imported if not owners_of(name) & declared] == []


def test_what_is_declared_is_imported_somewhere():
    imported = {
        owner
        for path in files()
        for module in third_party(path, for_types=False)
        for owner in owners_of(module)
    }
    declared = plain().union(*(of_extra(extra) for extra in EXTRAS if extra != "dev"))
    assert declared - imported == set(NOT_IMPORTED)

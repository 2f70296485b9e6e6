"""The check of the structure finds what it looks for."""

import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/drdeploy"
PACKAGES = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


@pytest.fixture(scope="module")
def check():
    return runpy.run_path(str(ROOT / "scripts/check_structure.py"))


def test_modules_that_import_each_other_are_a_cycle(check):
    imported = {"a": {"b", "numpy"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert check["cycles"](imported) == [["b", "c", "b"]]


def test_the_shortest_way_round_is_shown(check):
    imported = {"a": {"b"}, "b": {"c", "a"}, "c": {"a"}}
    assert check["cycles"](imported) == [["a", "b", "a"]]


def test_imports_that_only_point_down_are_no_cycle(check):
    assert check["cycles"]({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_packages_whose_modules_import_each_other_are_a_cycle(check):
    # No module imports itself by way of others, yet neither package can be read first.
    imported = {"top.a.one": {"top.b.one"}, "top.b.two": {"top.a.two"}}
    assert check["cycles"](imported) == []
    assert check["cycles"](check["between_parts"]("top", imported)) == [["top.a", "top.b", "top.a"]]


def test_a_public_class_name_that_is_used_twice_is_found(check, tmp_path):
    (tmp_path / "one.py").write_text("class Verdict: ...\nclass _Row: ...\n")
    (tmp_path / "two.py").write_text("class Verdict: ...\nclass _Row: ...\nclass Other: ...\n")
    assert check["repeated_type_names"](tmp_path) == [
        "the type Verdict is defined 2 times: one.py:1, two.py:1"
    ]


@pytest.mark.parametrize(
    "alias",
    [
        'Status = Literal["new", "old"]',
        "Status: TypeAlias = int",
        "Status: typing.TypeAlias = 'int'",
        "Status = list[int]",
        "Status = int | None",
        "if TYPE_CHECKING:\n    Status = list[int]",
        pytest.param(
            "type Status[T] = list[T]",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 added it"),
        ),
    ],
)
def test_a_type_alias_that_shares_its_name_is_found(check, tmp_path, alias):
    (tmp_path / "one.py").write_text(f"{alias}\n")
    (tmp_path / "two.py").write_text("class Status: ...\n")
    [found] = check["repeated_type_names"](tmp_path)
    assert found.startswith("the type Status is defined 2 times")


@pytest.mark.parametrize(
    "other",
    [
        "from one import Status",
        "Status = one.Status",
        "_Status = list[int]",
        "STATUS = names[0]",
        "def name():\n    Status = list[int]",
    ],
)
def test_a_name_that_is_imported_or_private_or_constant_is_no_second_type(check, tmp_path, other):
    (tmp_path / "one.py").write_text(
        'Status = Literal["new"]\n_Status = int | None\nSTATUS = a[0]\n'
    )
    (tmp_path / "two.py").write_text(f"{other}\n")
    assert check["repeated_type_names"](tmp_path) == []


def test_the_package_has_neither(check):
    assert check["import_cycles"]() == []
    assert check["repeated_type_names"](ROOT / "src" / "drdeploy") == []


def test_each_package_that_contains_packages_has_layers():
    wings = {f"drdeploy.{path.parent.parent.name}" for path in PACKAGE.glob("*/*/__init__.py")}
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = [c for c in tools["importlinter"]["contracts"] if c["type"] == "layers"]
    layered = {container for contract in contracts for container in contract["containers"]}
    assert wings
    assert wings <= layered
    assert all(contract["exhaustive"] for contract in contracts)


@pytest.mark.parametrize(
    ("page", "item"),
    [
        ("CONTRIBUTING.md", r"^\| (`\w+`(?:, `\w+`)*) \|"),
        ("src/drdeploy/__init__.py", r"(?:^- |\. )(``\w+``):"),
    ],
)
def test_maps_of_the_code_list_every_top_level_package(page, item):
    cells = re.findall(item, (ROOT / page).read_text(), flags=re.MULTILINE)
    listed = [name for cell in cells for name in re.findall(r"\w+", cell)]
    assert set(listed) >= PACKAGES
    assert len(listed) == len(set(listed))

"""The check of the structure finds what it looks for."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
    assert check["repeated_class_names"](tmp_path) == [
        "class Verdict is defined 2 times: one.py:1, two.py:1"
    ]


def test_the_package_has_neither(check):
    assert check["import_cycles"]() == []
    assert check["repeated_class_names"](ROOT / "src" / "drdeploy") == []

"""The smallest image carries the licences of what is in it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "containers/minimal_root.py"
START = """
import inspect, json, marshal, sys
from pathlib import Path
sys.path[:0] = [{folder!r}]
from prepared_start import PreparedModules
prepared = PreparedModules({folder!r})
for name in {later!r}:
    code = compile(Path({folder!r}, "numpy/lib", name + ".py").read_bytes(), name, "exec")
    prepared.modules["numpy.lib." + name] = False, marshal.dumps(code)
sys.meta_path.insert(0, prepared)
signature, inspect.signature = inspect.signature, None
import numpy as np
inspect.signature = signature
imported = sorted(sys.modules)
"""
"""Imports NumPy as the image does, and ends with an error if that asks for a signature."""
APACHE = "See /usr/share/common-licenses/Apache-2.0."


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("minimal_root", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def debian(script, tmp_path, monkeypatch):
    """A distribution of one package with one library."""
    library = written(tmp_path / "lib/libz.so.1", "")
    lists = written(tmp_path / "info/zlib1g:amd64.list", f"/.\n{library}\n").parent
    copyrights = written(tmp_path / "doc/zlib1g/copyright", f"zlib. {APACHE}").parents[1]
    monkeypatch.setattr(script, "PACKAGE_LISTS", lists)
    monkeypatch.setattr(script, "COPYRIGHT", copyrights)
    return library


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_each_distribution_has_a_folder_with_its_licences(script, tmp_path):
    metadata = tmp_path / "site/numpy-2.4.6.dist-info"
    written(metadata / "METADATA", "Name: numpy")
    written(metadata / "licenses/LICENSE.txt", "BSD")
    written(metadata / "licenses/vendored/COPYING", "MIT")
    written(tmp_path / "site/old-1.0.dist-info/NOTICE", "old")
    script._copy_licences(tmp_path / "site", [], tmp_path / "root")
    assert files_below(tmp_path / "root/usr/share/licenses") == {
        "numpy-2.4.6/LICENSE.txt",
        "numpy-2.4.6/vendored/COPYING",
        "old-1.0/NOTICE",
    }


def test_a_package_of_debian_has_its_copyright_and_what_that_refers_to(
    script, debian, tmp_path, monkeypatch
):
    copied = []
    monkeypatch.setattr(script, "_copy", lambda source, target: copied.append((source, target)))
    script._copy_licences(tmp_path / "site", [debian], tmp_path / "root")
    root = tmp_path / "root"
    assert copied == [
        (tmp_path / "doc/zlib1g/copyright", root / "usr/share/licenses/zlib1g/copyright"),
        (
            Path("/usr/share/common-licenses/Apache-2.0"),
            root / "usr/share/common-licenses/Apache-2.0",
        ),
    ]


def test_a_file_whose_licence_is_not_known_ends_the_build(script, debian, tmp_path):
    stray = written(tmp_path / "lib/stray.so", "")
    with pytest.raises(SystemExit, match="no package of Debian owns"):
        script._copy_licences(tmp_path / "site", [debian, stray], tmp_path / "root")


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def shortened_numpy(script, tmp_path):
    """Return what the image's NumPy answers to an expression, and what it had imported before."""
    installed = Path(np.__file__).parent

    def copy(source, target):
        (os.symlink if source.endswith(".so") else shutil.copy2)(source, target)

    shutil.copy2(SCRIPT.with_name("prepared_start.py"), tmp_path)
    shutil.copytree(installed, tmp_path / "numpy", copy_function=copy)
    libraries = installed.with_name("numpy.libs")
    if libraries.is_dir():
        (tmp_path / "numpy.libs").symlink_to(libraries)
    script._shorten_import_of_numpy(tmp_path / "numpy")

    def ask(expression):
        code = START.format(folder=str(tmp_path), later=script.NUMPY_LATER)
        code += f"print(json.dumps([{expression}, imported, np.__file__]))"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, text=True, check=True
        )
        answer, imported, file = json.loads(done.stdout)
        assert Path(file).is_relative_to(tmp_path)
        return answer, imported

    return ask


def test_the_numpy_of_the_image_has_every_name_and_answers_as_ever(shortened_numpy):
    absent = {"testing", "typing", "f2py", "test", "random", "ctypeslib", "core"}
    names = sorted(set(np.__all__) - absent)
    everything = f"[name for name in {names!r} if not hasattr(np, name)]"
    assert shortened_numpy(f"[{everything}, sorted(np.__all__)]")[0] == [[], sorted(np.__all__)]
    answers = (
        "[float(np.nanmean([1, 2, np.nan])), np.pad([1], 1).tolist(),"
        " np.unique([2, 1, 1]).tolist(), np.emath.sqrt(-4).imag, "
        "(np.matrix([[1, 2], [3, 4]]) ** 2).tolist(), float(np.fix(-2.5)),"
        " np.lib.npyio.__name__, np.percentile([1, 2, 3], 50).tolist(), bool(np.iscomplexobj(1j))]"
    )
    assert shortened_numpy(answers)[0] == [
        *(1.5, [0, 1, 0], [1, 2], 2.0, [[7, 10], [15, 22]], -2.0, "numpy.lib.npyio", 2.0, True)
    ]


def test_the_numpy_of_the_image_does_not_import_linear_algebra(shortened_numpy):
    _, imported = shortened_numpy("0")
    assert "numpy.lib._function_base_impl" in imported
    assert not {"numpy.linalg", "numpy.linalg._linalg"} & {*imported}


def test_another_numpy_ends_the_build(script, tmp_path):
    for name in ("_typing/__init__.py", "_core/overrides.py", "matrixlib/defmatrix.py"):
        written(tmp_path / name, "")
    with pytest.raises(SystemExit, match=r"overrides.py does not contain 'if verify:'"):
        script._shorten_import_of_numpy(tmp_path)

"""The smallest image carries the licences of what is in it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "containers/minimal_root.py"
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

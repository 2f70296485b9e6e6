"""Files are replaced as a whole, told apart by their SHA-256, and found where they ship."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy import files
from drdeploy.files import (
    atomic_writer,
    cell_text,
    safe_cell,
    sha256_of,
    sha256_of_file,
    shipped,
    write_atomically,
    write_json,
)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_is_complete_and_alone(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_atomically(path, "Größe")
    assert path.read_bytes() == "Größe".encode()
    assert names_in(path.parent) == ["page.html"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "rows"
    write_atomically(path, b"old")
    with atomic_writer(path) as draft:
        draft.write(b"new, and longer")
        draft.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new, and longer"


def test_an_error_while_writing_keeps_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "rows"
    write_atomically(path, b"old")

    def write_half():
        with atomic_writer(path) as draft:
            draft.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["rows"]


def test_two_writers_of_one_file_do_not_share_a_draft(tmp_path):
    path = tmp_path / "rows"
    with atomic_writer(path) as slow:
        slow.write(b"slow ")
        write_atomically(path, b"quick")
        slow.write(b"writer")
    assert path.read_bytes() == b"slow writer"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows"
    write_atomically(path, b"old")
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from drdeploy.files import atomic_writer\n"
        "with atomic_writer(Path(sys.argv[1])) as draft:\n"
        "    draft.write(b'half'); draft.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert done.returncode < 0
    assert path.read_bytes() == b"old"


def test_a_written_file_has_the_usual_mode(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    write_atomically(tmp_path / "written", b"")
    assert (tmp_path / "written").stat().st_mode == usual.stat().st_mode


def test_a_document_reads_back_as_it_was(tmp_path):
    document = {"photographs": ["left.jpg"], "n": 3}
    write_json(tmp_path / "facts.json", document)
    text = (tmp_path / "facts.json").read_text()
    assert json.loads(text) == document
    assert text.endswith("}\n")


def test_a_file_and_its_bytes_have_one_digest(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "weights").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_of(content) == sha256_of_file(tmp_path / "weights") == expected


def test_what_ships_is_found_at_the_root_of_a_checkout():
    assert (shipped("studies") / "quick.toml").is_file()


def test_what_ships_is_found_inside_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "site-packages" / "drdeploy")
    assert shipped("studies") == tmp_path / "site-packages" / "drdeploy" / "shipped" / "studies"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd", "-x.jpg", "@SUM(A1)", "\tx", "\rx", "-1-1", "+1+cmd", "--1", "=", "'=1"],
)
def test_a_text_that_a_spreadsheet_would_run_is_a_text(text):
    cell = safe_cell(text)
    assert cell == f"'{text}"
    assert cell_text(cell) == text


@pytest.mark.parametrize(
    "value", ["-1.5", "+2e-7", "-.5", ".5", -3, -0.25, None, True, "a=b", "'a"]
)
def test_numbers_and_ordinary_texts_stay_as_they_are(value):
    assert safe_cell(value) is value
    assert not isinstance(value, str) or cell_text(value) == value


@given(st.text())
def test_every_text_is_read_back_from_its_cell(text):
    assert cell_text(safe_cell(text)) == text

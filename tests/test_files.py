"""Files are replaced as a whole, told apart by their SHA-256, and found where they ship."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drdeploy
from drdeploy import files
from drdeploy.files import (
    choose_output_folder,
    delete_abandoned_temporary_files,
    escape_formula_in_csv_cell,
    open_for_atomic_write,
    open_text_for_atomic_write,
    parse_json,
    path_of_shipped_file,
    read_bytes_up_to_limit,
    read_toml_file,
    sha256_of_bytes,
    sha256_of_file,
    unescape_formula_in_csv_cell,
    write_file_atomically,
    write_json_file,
)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_is_complete_and_alone(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_file_atomically(path, "Größe")
    assert path.read_bytes() == "Größe".encode()
    assert names_in(path.parent) == ["page.html"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "rows"
    write_file_atomically(path, b"old")
    with open_for_atomic_write(path) as draft:
        draft.write(b"new, and longer")
        draft.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new, and longer"


def test_an_error_while_writing_keeps_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "rows"
    write_file_atomically(path, b"old")

    def write_half():
        with open_for_atomic_write(path) as draft:
            draft.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["rows"]


def test_a_table_that_does_not_become_whole_leaves_the_old_one(tmp_path):
    path = tmp_path / "rows.csv"
    with open_text_for_atomic_write(path) as table:
        table.write("größe\n1\n")
    assert path.read_bytes() == "größe\n1\n".encode()

    def write_half():
        with open_text_for_atomic_write(path) as table:
            table.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == "größe\n1\n".encode()
    assert names_in(tmp_path) == ["rows.csv"]


def test_two_writers_of_one_file_do_not_share_a_draft(tmp_path):
    path = tmp_path / "rows"
    with open_for_atomic_write(path) as slow:
        slow.write(b"slow ")
        write_file_atomically(path, b"quick")
        slow.write(b"writer")
    assert path.read_bytes() == b"slow writer"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows"
    write_file_atomically(path, b"old")
    killed = (
        "import os, signal, sys; from pathlib import Path\n"
        "from drdeploy.files import open_for_atomic_write\n"
        "with open_for_atomic_write(Path(sys.argv[1])) as draft:\n"
        "    draft.write(b'half'); draft.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert done.returncode < 0
    assert path.read_bytes() == b"old"
    assert len(names_in(tmp_path)) == 2
    write_file_atomically(path, b"new")  # the same program again, in any folder
    assert names_in(tmp_path) == ["rows"]


def test_the_draft_of_a_killed_writer_is_removed_and_nothing_else(tmp_path):
    for name in (".rows.csv.0123abcd.part", "rows.csv", ".hidden", "half.part"):
        (tmp_path / name).touch()
    delete_abandoned_temporary_files(tmp_path)
    assert names_in(tmp_path) == [".hidden", "half.part", "rows.csv"]


def test_the_draft_of_a_writer_that_is_still_writing_stays(tmp_path):
    path = tmp_path / "rows[1]"  # no pattern
    with open_for_atomic_write(path) as slow:
        slow.write(b"slow")
        delete_abandoned_temporary_files(tmp_path)
        write_file_atomically(path, b"quick")
    assert path.read_bytes() == b"slow"
    assert names_in(tmp_path) == ["rows[1]"]


def test_an_error_of_the_disk_names_the_file_that_was_to_be_written(tmp_path):
    def write_to_a_full_disk():
        with open_for_atomic_write(tmp_path / "rows"):
            raise OSError(errno.ENOSPC, "No space left on device")  # as `write` does: no name

    with pytest.raises(OSError, match="No space left") as failure:
        write_to_a_full_disk()
    assert failure.value.filename == str(tmp_path / "rows")
    assert names_in(tmp_path) == []


def test_a_written_file_has_the_usual_mode(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    write_file_atomically(tmp_path / "written", b"")
    assert (tmp_path / "written").stat().st_mode == usual.stat().st_mode


def test_a_document_reads_back_as_it_was(tmp_path):
    document = {"photographs": ["left.jpg"], "n": 3}
    write_json_file(tmp_path / "facts.json", document)
    text = (tmp_path / "facts.json").read_text()
    assert json.loads(text) == document
    assert text.endswith("}\n")


def test_a_file_and_its_bytes_have_one_digest(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "weights").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_of_bytes(content) == sha256_of_file(tmp_path / "weights") == expected


def test_no_more_of_a_file_is_read_than_shows_that_it_is_too_large():
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        read_bytes_up_to_limit(Path("/dev/zero"), 1000)


@pytest.mark.parametrize("text", ["no", "a = " + "[" * 5000, "a = " + "9" * 5000, "a = '\xff'"])
def test_whatever_is_wrong_with_a_toml_file_is_a_value_error(tmp_path, text):
    file = tmp_path / "file.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r".") as wrong:
        read_toml_file(file)
    assert not isinstance(wrong.value, RecursionError)


def test_what_ships_is_found_at_the_root_of_a_checkout():
    assert (path_of_shipped_file("studies") / "quick.toml").is_file()


def test_what_ships_is_found_inside_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PACKAGE", tmp_path / "site-packages" / "drdeploy")
    assert (
        path_of_shipped_file("studies")
        == tmp_path / "site-packages" / "drdeploy" / "shipped" / "studies"
    )


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd", "-x.jpg", "@SUM(A1)", "\tx", "\rx", "-1-1", "+1+cmd", "--1", "=", "'=1"],
)
def test_a_text_that_a_spreadsheet_would_run_is_a_text(text):
    cell = escape_formula_in_csv_cell(text)
    assert cell == f"'{text}"
    assert unescape_formula_in_csv_cell(cell) == text


@pytest.mark.parametrize(
    "value", ["-1.5", "+2e-7", "-.5", ".5", -3, -0.25, None, True, "a=b", "'a"]
)
def test_numbers_and_ordinary_texts_stay_as_they_are(value):
    assert escape_formula_in_csv_cell(value) is value
    assert not isinstance(value, str) or unescape_formula_in_csv_cell(value) == value


@given(st.text())
def test_every_text_is_read_back_from_its_cell(text):
    assert unescape_formula_in_csv_cell(escape_formula_in_csv_cell(text)) == text


def test_a_file_name_that_is_not_utf_8_is_lost_in_no_file(tmp_path):
    name = os.fsdecode(b"M\xfcller.jpg")
    write_json_file(tmp_path / "a.json", {name: [Path(name), (name,), 1]})
    shown = "M\\udcfcller.jpg"
    assert json.loads((tmp_path / "a.json").read_text()) == {shown: [shown, [shown], 1]}
    write_file_atomically(tmp_path / "a.html", f"<p>{name}")
    assert (tmp_path / "a.html").read_text() == f"<p>{shown}"
    assert escape_formula_in_csv_cell(name) == shown
    assert escape_formula_in_csv_cell(f"={name}") == f"'={shown}"


@pytest.mark.parametrize("text", ["[" * 200_000, b'{"a":' * 200_000, "nothing", b"\xff", ""])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"nested|Expecting|decode"):
        parse_json(text)


def test_what_is_made_of_a_packaged_file_is_written_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packaged = Path(drdeploy.__file__).parent / "grader" / "box" / "mobilenet-idrid-fp32.tar.gz"
    assert choose_output_folder(packaged) == tmp_path
    assert choose_output_folder(tmp_path / "models" / "mine.tar.gz") == tmp_path / "models"

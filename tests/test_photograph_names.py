"""A photograph has one name in all results, which tells nothing to who lacks the key."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of_bytes
from drdeploy.photograph_names import (
    DIGITS,
    OWN_NAMES,
    PhotographNames,
    path_of_user_key,
    quote_cell_if_number,
)

EYE = sha256_of_bytes(b"an eye")
ONE, OTHER = PhotographNames(bytes(32)), PhotographNames(bytes(31) + b"\1")


def test_a_photograph_keeps_its_name_wherever_it_lies(tmp_path):
    name = ONE.name_of_photograph(tmp_path / "Mueller.jpg", "Mueller.jpg", EYE)
    assert name == f"photo-{name[-DIGITS:]}"
    assert (
        ONE.name_of_photograph(tmp_path / "archive" / "0001.jpg", "archive/0001.jpg", EYE) == name
    )


def test_other_content_and_other_keys_give_other_names(tmp_path):
    file = tmp_path / "a.jpg"
    found = {
        ONE.name_of_photograph(file, "a.jpg", EYE),
        ONE.name_of_photograph(file, "a.jpg", sha256_of_bytes(b"another eye")),
        OTHER.name_of_photograph(file, "a.jpg", EYE),
        ONE.name_of_photograph(file, "a.jpg"),
    }
    assert len(found) == 4


def test_what_cannot_be_read_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative, absolute = tmp_path.relative_to(tmp_path) / "gone.jpg", tmp_path / "gone.jpg"
    assert ONE.name_of_photograph(relative, "gone.jpg") == ONE.name_of_photograph(
        absolute, str(absolute)
    )


def test_what_has_such_a_name_already_keeps_it():
    name = ONE.name_of_table_entry("group", "Mueller, Hans")
    assert name.startswith("group-")
    assert "Mueller" not in name
    assert (
        ONE.name_of_table_entry("group", name) == OTHER.name_of_table_entry("group", name) == name
    )


def test_a_number_of_twelve_digits_is_no_such_name():
    assert ONE.name_of_table_entry("photo", "196103041234") != "196103041234"


def test_own_names_are_the_files():
    assert OWN_NAMES.name_of_photograph("anywhere", "left/a.jpg", EYE) == "left/a.jpg"
    assert OWN_NAMES.name_of_table_entry("group", "Mueller") == "Mueller"


def test_the_key_is_not_shown_and_tells_keys_apart():
    key = os.urandom(32)
    assert (
        key.hex()[:8]
        not in repr(PhotographNames(key)) + PhotographNames(key).description_of_photograph_names
    )
    assert repr(key) not in repr(PhotographNames(key))
    assert (
        len(
            {
                ONE.description_of_photograph_names,
                OTHER.description_of_photograph_names,
                OWN_NAMES.description_of_photograph_names,
            }
        )
        == 3
    )


@pytest.mark.parametrize("cell", ["5", "-1", "2.5", "", "12"])
def test_small_numbers_of_a_table_are_quoted(cell):
    assert quote_cell_if_number(cell) == f"'{cell}'"


@pytest.mark.parametrize("cell", ["Mueller", "1961-03-04", "196103041234", "MH"])
def test_nothing_else_of_a_table_is(cell):
    assert cell not in quote_cell_if_number(cell)
    assert OWN_NAMES.quote_table_cell(cell) == f"'{cell}'"


# ---- the key ------------------------------------------------------------------------------


@pytest.fixture
def environ(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_the_key_is_made_once_for_the_user_alone(environ):
    first = PhotographNames.with_user_key(environ)
    path = path_of_user_key(environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert PhotographNames.with_user_key(environ) == first
    assert PhotographNames.with_user_key({"XDG_STATE_HOME": f"{path.parent}/other"}) != first


def test_processes_that_begin_at_once_agree_on_one_key(environ):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: PhotographNames.with_user_key(environ).key, range(64)))
    assert len(keys) == 1


def test_two_machines_with_one_key_give_the_same_names(environ, tmp_path):
    here = PhotographNames.with_user_key(environ)
    copy = tmp_path / "copy"
    copy.write_bytes(path_of_user_key(environ).read_bytes())
    there = PhotographNames.with_user_key({"DRDEPLOY_NAMES_KEY": str(copy)})
    assert there == here


def test_a_key_that_was_named_is_not_made(tmp_path):
    with pytest.raises(InvalidInput, match=r"none: .*cannot be read.*DRDEPLOY_NAMES_KEY"):
        PhotographNames.with_user_key({"DRDEPLOY_NAMES_KEY": str(tmp_path / "none")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"no key at all", b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InvalidInput, match="does not contain a key for the names of photographs"):
        PhotographNames.with_user_key({"DRDEPLOY_NAMES_KEY": str(tmp_path / "key")})


def test_a_key_that_cannot_be_kept_is_said_with_the_ways_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"cannot be stored.*DRDEPLOY_NAMES_KEY.*--names"):
        PhotographNames.with_user_key({"XDG_STATE_HOME": str(tmp_path / "file")})


def test_a_user_without_a_home_is_told_so(monkeypatch):
    def no_home():
        raise RuntimeError

    monkeypatch.setattr("drdeploy.photograph_names.Path.home", no_home)
    with pytest.raises(InvalidInput, match="no home folder"):
        PhotographNames.with_user_key({})


def test_a_photograph_in_s3_is_named_by_its_content_or_by_its_address(monkeypatch, tmp_path):
    names = PhotographNames(b"k" * 32)
    uri = "s3://eyes/Garcia.jpg"
    by_address = names.name_of_s3_object(uri)
    monkeypatch.chdir(tmp_path)
    assert names.name_of_s3_object(uri) == by_address  # wherever the command runs
    by_content = names.name_of_s3_object(uri, "ab" * 32)
    assert by_content == names.name_of_photograph(Path("a.jpg"), "a.jpg", "ab" * 32)
    assert by_content != by_address
    assert OWN_NAMES.name_of_s3_object(uri) == uri

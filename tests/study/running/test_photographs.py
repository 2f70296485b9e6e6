"""Real photographs where there are some, synthetic ones otherwise, none that is too large."""

import pytest

from drdeploy.errors import StudyError
from drdeploy.hosting.sagemaker.quotas import SERVERLESS_PAYLOAD_BYTES
from drdeploy.study.running.photographs import Photograph, PhotographSet, find_photographs

PHOTOGRAPHS = PhotographSet(
    tuple(Photograph(f"{n}.jpg", b"", "image/jpeg") for n in range(10)), "made up"
)


def names(of_trial):
    return [of_trial.at(sequence).name for sequence in range(25)]


def test_the_same_seed_sends_the_same_photographs_in_the_same_order():
    assert names(PHOTOGRAPHS.for_trial("7/a")) == names(PHOTOGRAPHS.for_trial("7/a"))
    assert names(PHOTOGRAPHS.for_trial("7/a")) != names(PHOTOGRAPHS.for_trial("8/a"))


def test_every_photograph_has_its_turn():
    assert len(set(names(PHOTOGRAPHS.for_trial("7/a")))) == 10


def test_photographs_above_the_limit_are_left_out_and_named(tmp_path):
    (tmp_path / "small.jpg").write_bytes(b"x" * 10)
    (tmp_path / "large.png").write_bytes(b"x" * 11)
    (tmp_path / "notes.txt").write_bytes(b"x")
    found = find_photographs(tmp_path, limit_bytes=10, seed=1, cache=tmp_path)
    assert [photograph.name for photograph in found.photographs] == ["small.jpg"]
    assert found.left_out == ("large.png",)


def test_what_is_no_file_is_no_photograph(tmp_path):
    (tmp_path / "eye.jpg").write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere")
    found = find_photographs(tmp_path, limit_bytes=10, seed=1, cache=tmp_path)
    assert [photograph.name for photograph in found.photographs] == ["eye.jpg"]


def test_content_types_follow_the_suffix(tmp_path):
    for name in ("a.JPG", "b.png", "c.tiff"):
        (tmp_path / name).write_bytes(b"x")
    found = find_photographs(tmp_path, limit_bytes=10, seed=1, cache=tmp_path)
    assert [photograph.content_type for photograph in found.photographs] == [
        "image/jpeg",
        "image/png",
        "image/tiff",
    ]


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(StudyError, match="--images"):
        find_photographs(tmp_path, limit_bytes=10, seed=1, cache=tmp_path)


def test_without_a_folder_the_example_photographs_are_sent(tmp_path):
    found = find_photographs(None, limit_bytes=SERVERLESS_PAYLOAD_BYTES, seed=1, cache=tmp_path)
    assert len(found.photographs) == 11
    assert found.left_out == ()
    assert list(tmp_path.iterdir()) == []


def test_without_any_synthetic_ones_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.study.running.photographs.shipped", tmp_path.joinpath)
    options = {"limit_bytes": SERVERLESS_PAYLOAD_BYTES, "seed": 1, "cache": tmp_path / "cache"}
    found = find_photographs(None, **options, synthetic=1)
    assert found.source == "synthetic"
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert find_photographs(None, **options, synthetic=1) == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == made

"""Real photographs where there are some, synthetic ones otherwise, none that is too large."""

from pathlib import Path

import pytest
from image_files import encoded, gradient

from drdeploy.errors import StudyError
from drdeploy.hosting.sagemaker.api_limits import SERVERLESS_PAYLOAD_BYTES
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.study.running.photographs import Photograph, PhotographSet, read_or_paint_photographs

PHOTOGRAPHS = PhotographSet(
    tuple(Photograph(f"{n}.jpg", b"", "image/jpeg") for n in range(10)), "made up"
)
FEW = {"limit_bytes": 5000, "seed": 1, "cache": Path("unused")}
JPEG, TIFF = encoded(gradient(), "JPEG"), encoded(gradient(), "TIFF", compression="tiff_lzw")


def test_the_same_seed_sends_the_same_photographs_in_the_same_order():
    assert PHOTOGRAPHS.shuffle_photographs_by_seed(
        "7/a"
    ) == PHOTOGRAPHS.shuffle_photographs_by_seed("7/a")
    assert PHOTOGRAPHS.shuffle_photographs_by_seed(
        "7/a"
    ) != PHOTOGRAPHS.shuffle_photographs_by_seed("8/a")


def test_every_photograph_has_its_turn():
    assert set(PHOTOGRAPHS.shuffle_photographs_by_seed("7/a")) == set(PHOTOGRAPHS.photographs)


def test_photographs_above_the_limit_are_left_out_and_named(tmp_path):
    (tmp_path / "small.jpg").write_bytes(JPEG)
    (tmp_path / "large.png").write_bytes(encoded(gradient(400, 300), "PNG", compress_level=0))
    (tmp_path / "notes.txt").write_bytes(b"x")
    found = read_or_paint_photographs(tmp_path, **FEW, names=OWN_NAMES)
    assert [photograph.name for photograph in found.photographs] == ["small.jpg"]
    assert found.left_out[0] == "1 file that is no picture is left out: .txt"
    assert "large.png: The image has" in found.left_out[1]
    assert "at most 5000 are allowed" in found.left_out[1]


def test_what_does_not_decode_is_left_out_with_its_reason_and_never_sent(tmp_path):
    (tmp_path / "eye.jpg").write_bytes(JPEG)
    (tmp_path / "cut.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    (tmp_path / "._eye.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "pages.tif").write_bytes(
        encoded(gradient(9, 9), "TIFF", save_all=True, append_images=[gradient(9, 9)])
    )
    found = read_or_paint_photographs(tmp_path, **FEW, names=OWN_NAMES)
    assert [photograph.name for photograph in found.photographs] == ["eye.jpg"]
    assert found.left_out == (
        "1 hidden file or folder (its name begins with a full stop) is left out",
        "cut.jpg: The JPEG ends before its image does",
        "pages.tif: The TIFF holds more than one picture",
    )


def test_a_photograph_that_cannot_be_read_ends_the_study_before_it_begins(tmp_path):
    (tmp_path / "eye.jpg").write_bytes(JPEG)
    (tmp_path / "link.jpg").symlink_to("nowhere")
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read_or_paint_photographs(tmp_path, **FEW, names=OWN_NAMES)


def test_content_types_follow_the_content(tmp_path):
    for name, content in {"a.JPG": JPEG, "b.jpg": encoded(gradient(), "PNG"), "c": TIFF}.items():
        (tmp_path / name).write_bytes(content)
    found = read_or_paint_photographs(tmp_path, **FEW | {"limit_bytes": 50_000})
    assert [photograph.content_type for photograph in found.photographs] == [
        "image/jpeg",
        "image/png",
        "image/tiff",
    ]


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(StudyError, match="--images"):
        read_or_paint_photographs(tmp_path, **FEW)


def test_without_a_folder_the_example_photographs_are_sent(tmp_path):
    found = read_or_paint_photographs(
        None, limit_bytes=SERVERLESS_PAYLOAD_BYTES, seed=1, cache=tmp_path
    )
    assert len(found.photographs) == 11
    assert found.left_out == ()
    assert list(tmp_path.iterdir()) == []


def test_without_any_synthetic_ones_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "drdeploy.study.running.photographs.path_of_shipped_file", tmp_path.joinpath
    )
    options = {"limit_bytes": SERVERLESS_PAYLOAD_BYTES, "seed": 1, "cache": tmp_path / "cache"}
    found = read_or_paint_photographs(None, **options, synthetic=1)
    assert found.source == "synthetic"
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert read_or_paint_photographs(None, **options, synthetic=1) == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == made

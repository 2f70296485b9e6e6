"""Synthetic photographs look enough like a camera's to stand in for one."""

import io
from pathlib import Path

import numpy as np
import pytest
from docker.utils.build import exclude_paths
from PIL import Image

from drdeploy.grader.fundus.decode import decode_image, read_and_check_header
from drdeploy.grader.fundus.field_of_view import find_field_of_view
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.grading import Grade
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

SMALL = {"width_px": 1072, "height_px": 712}


def pixels(seed, grade=Grade.NO_DR):
    return decode_image(paint_synthetic_photograph(seed, grade=grade, **SMALL)).astype(int)


@pytest.fixture(scope="module")
def default():
    return paint_synthetic_photograph(1)


def test_the_default_is_a_jpeg_of_a_cameras_size(default):
    image = Image.open(io.BytesIO(default))
    assert (image.format, image.size) == ("JPEG", (4288, 2848))
    assert 200_000 < len(default) < 2_000_000


def test_the_same_seed_gives_the_same_bytes():
    first = paint_synthetic_photograph(5, grade=Grade.PDR, **SMALL)
    assert paint_synthetic_photograph(5, grade=Grade.PDR, **SMALL) == first


def test_another_seed_is_another_eye():
    assert np.abs(pixels(1) - pixels(2)).mean() > 3


@pytest.mark.parametrize("grade", Grade)
def test_it_has_a_dark_surround_and_an_orange_eye(grade):
    image = pixels(3, grade)
    assert image[:40, :40].mean() < 4
    red, green, blue = image[300:420, 480:600].mean(axis=(0, 1))
    assert red > 1.3 * green > 1.3 * blue


@pytest.mark.parametrize("seed", range(4))
def test_the_eye_is_found_in_it(seed):
    image = decode_image(paint_synthetic_photograph(seed, **SMALL))
    view = find_field_of_view(Image.fromarray(image))
    assert view.side_px == pytest.approx(0.8 * 1072, rel=0.03)


def test_the_optic_disc_is_the_brightest_place():
    image = pixels(4)
    green = Image.fromarray(image[..., 1].astype(np.uint8)).reduce(16)
    row, column = np.unravel_index(np.asarray(green).argmax(), (green.height, green.width))
    assert abs(row * 16 - 356) < 90
    assert min(abs(column * 16 - share * 1072) for share in (0.23, 0.77)) < 90


def test_the_same_eye_shows_more_lesions_at_a_higher_grade():
    healthy = pixels(6)

    def share_changed(grade):
        return (np.abs(pixels(6, grade) - healthy).max(axis=2) > 15).mean()

    none, mild, moderate, severe = [share_changed(grade) for grade in Grade][:4]
    assert none == 0
    assert 0 < mild < moderate < severe < 0.1


def test_a_decoder_may_reduce_it_like_a_real_one(default):
    small = decode_photograph(read_and_check_header(default), FundusTransform())
    assert small.image.shape == (356, 536, 3)


@pytest.mark.parametrize("size", [(16, 16), (300, 500), (640, 480)])
def test_any_size_can_be_painted(size):
    data = paint_synthetic_photograph(1, grade=Grade.PDR, width_px=size[0], height_px=size[1])
    assert decode_image(data).shape == (size[1], size[0], 3)


def test_no_lean_image_holds_painted_eyes():
    """Their build context is what ``.dockerignore`` leaves of the repository."""
    root = Path(__file__).parents[3]
    lines = (root / ".dockerignore").read_text().splitlines()
    sent = exclude_paths(str(root), [line for line in lines if line and line[0] != "#"])
    assert "src/drdeploy/grader/inference.py" in sent
    assert [name for name in sent if "synthetic" in name] == []

"""The eye is found where there is one to find, and nothing is cut away where there is none."""

from pathlib import Path

import numpy as np
import pytest
from image_files import disc, gradient
from PIL import Image

from drdeploy.grader.fundus.decode import decode
from drdeploy.grader.fundus.field_of_view import FieldOfView, field_of_view

IDRID = sorted(Path(__file__).parents[3].glob("examples/photographs/IDRiD_*.jpg"))


def edges(view):
    return np.array([view.left, view.top, view.right, view.bottom])


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("clean", disc(600, 400, (300, 200), 190, noise=0), (110, 10, 490, 390)),
        ("noisy", disc(600, 400, (300, 200), 190, noise=12), (110, 10, 490, 390)),
        ("dark", disc(600, 400, (300, 200), 190, colour=(34, 16, 8)), (110, 10, 490, 390)),
        ("off centre", disc(900, 600, (300, 250), 150), (150, 100, 450, 400)),
        ("cut off above and below", disc(600, 400, (300, 200), 250), (50, 0, 550, 400)),
        ("upright", disc(400, 600, (200, 300), 190), (10, 110, 390, 490)),
    ],
)
def test_the_disc_is_found_within_one_percent(name, image, expected):
    np.testing.assert_allclose(edges(field_of_view(image)), expected, atol=0.01 * max(image.shape))


def test_a_label_in_the_corner_is_not_the_eye():
    image = disc(600, 400, (300, 200), 190)
    image[5:20, 5:100] = 255
    np.testing.assert_allclose(edges(field_of_view(image)), (110, 10, 490, 390), atol=8)


def test_a_few_hot_pixels_are_not_the_eye():
    image = disc(600, 400, (300, 200), 150)
    image[
        np.random.default_rng(0).integers(0, 400, 60), np.random.default_rng(1).integers(0, 600, 60)
    ] = 255
    np.testing.assert_allclose(edges(field_of_view(image)), (150, 50, 450, 350), atol=6)


def test_a_bright_optic_disc_does_not_hide_the_rest():
    image = disc(600, 400, (300, 200), 190, colour=(90, 40, 15))
    image[170:230, 150:210] = 255
    np.testing.assert_allclose(edges(field_of_view(image)), (110, 10, 490, 390), atol=6)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((300, 400, 3), np.uint8),
        np.full((300, 400, 3), 120, np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8),
        np.random.default_rng(0).integers(0, 9, (300, 400, 3), dtype=np.uint8),
        np.full((1, 1, 3), 9, np.uint8),
        np.full((1, 5000, 3), 9, np.uint8),
        np.full((5000, 1, 3), 9, np.uint8),
        disc(600, 400, (300, 200), 190)[60:340, 160:440],
    ],
    ids=["black", "flat", "noise", "dark noise", "pixel", "row", "column", "already cropped"],
)
def test_without_a_dark_surround_the_whole_frame_is_the_view(image):
    assert field_of_view(image) == FieldOfView.whole(image.shape[1], image.shape[0])


def test_a_photograph_of_something_else_is_kept_whole(shared):
    cat = np.asarray(Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB"))
    assert field_of_view(cat) == FieldOfView.whole(cat.shape[1], cat.shape[0])


def test_the_answer_hardly_depends_on_the_resolution():
    large = disc(1200, 800, (600, 400), 385)
    small = np.asarray(Image.fromarray(large).reduce(2))
    difference = edges(field_of_view(small)) * 2 - edges(field_of_view(large))
    assert np.abs(difference).max() < 2.0


@pytest.mark.parametrize("path", IDRID, ids=lambda path: path.stem)
def test_every_idrid_photograph_shows_the_same_disc(path):
    """All were taken with one camera at one magnification: 3,400 of 4,288 pixels."""
    view = field_of_view(decode(path.read_bytes(), min_side_px=336))
    assert view.left == pytest.approx(0.065 * 536, abs=3)
    assert view.side_px == pytest.approx(0.795 * 536, abs=4)


def test_small_copies_of_photographs_are_barely_cut(shared):
    """The 512-pixel set is already cropped at the sides, with black bars above and below."""
    paths = sorted((shared / "data/idrid_512").glob("*/*.jpg"))[::10]
    assert len(paths) > 20
    for path in paths:
        view = field_of_view(decode(path.read_bytes()))
        assert view.width_px > 490, path.name
        assert 410 < view.height_px < 440, path.name


def test_the_side_is_the_longer_one():
    view = FieldOfView(10.0, 20.0, 40.0, 30.0)
    assert (view.width_px, view.height_px, view.side_px) == (30.0, 10.0, 30.0)


def test_a_gradient_without_dark_corners_is_kept_whole():
    image = 128 + np.asarray(gradient(400, 300)) // 2
    assert field_of_view(image) == FieldOfView.whole(400, 300)

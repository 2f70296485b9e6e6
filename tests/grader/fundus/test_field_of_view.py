"""The eye is found where there is one to find, and nothing is cut away where there is none."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from image_files import disc, gradient
from PIL import Image

from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import decode_image
from drdeploy.grader.fundus.field_of_view import (
    FieldOfView,
    find_field_of_view,
)
from drdeploy.grader.fundus.gradability import (
    find_ungradable_reason,
    measure_photograph_quality,
)
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.fundus.photograph import DecodedPhotograph
from drdeploy.grader.fundus.surround import paint_surround_black
from drdeploy.grader.fundus.transform import FundusTransform

IDRID = sorted(Path(__file__).parents[3].glob("examples/photographs/IDRiD_*.jpg"))


def find_eye_in_pixels(image):
    return find_field_of_view(Image.fromarray(image))


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
    np.testing.assert_allclose(
        edges(find_eye_in_pixels(image)), expected, atol=0.01 * max(image.shape)
    )


def test_a_label_in_the_corner_is_not_the_eye():
    image = disc(600, 400, (300, 200), 190)
    image[5:20, 5:100] = 255
    np.testing.assert_allclose(edges(find_eye_in_pixels(image)), (110, 10, 490, 390), atol=8)


def test_a_few_hot_pixels_are_not_the_eye():
    image = disc(600, 400, (300, 200), 150)
    image[
        np.random.default_rng(0).integers(0, 400, 60), np.random.default_rng(1).integers(0, 600, 60)
    ] = 255
    np.testing.assert_allclose(edges(find_eye_in_pixels(image)), (150, 50, 450, 350), atol=6)


def test_a_bright_optic_disc_does_not_hide_the_rest():
    image = disc(600, 400, (300, 200), 190, colour=(90, 40, 15))
    image[170:230, 150:210] = 255
    np.testing.assert_allclose(edges(find_eye_in_pixels(image)), (110, 10, 490, 390), atol=6)


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
    assert find_eye_in_pixels(image) == FieldOfView.covering_whole_frame(
        image.shape[1], image.shape[0]
    )


def test_a_photograph_of_something_else_is_kept_whole(shared):
    cat = np.asarray(Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB"))
    assert find_eye_in_pixels(cat) == FieldOfView.covering_whole_frame(cat.shape[1], cat.shape[0])


def test_the_answer_hardly_depends_on_the_resolution():
    large = disc(1200, 800, (600, 400), 385)
    small = np.asarray(Image.fromarray(large).reduce(2))
    difference = edges(find_eye_in_pixels(small)) * 2 - edges(find_eye_in_pixels(large))
    assert np.abs(difference).max() < 2.0


@pytest.mark.parametrize("path", IDRID, ids=lambda path: path.stem)
def test_every_idrid_photograph_shows_the_same_disc(path):
    """All were taken with one camera at one magnification: 3,400 of 4,288 pixels."""
    view = find_eye_in_pixels(decode_image(path.read_bytes(), min_side_px=336))
    assert view.left == pytest.approx(0.065 * 536, abs=3)
    assert view.side_px == pytest.approx(0.795 * 536, abs=4)


def test_small_copies_of_photographs_are_barely_cut(shared):
    """The 512-pixel set is already cropped at the sides, with black bars above and below."""
    paths = sorted((shared / "data/idrid_512").glob("*/*.jpg"))[::10]
    assert len(paths) > 20
    for path in paths:
        view = find_eye_in_pixels(decode_image(path.read_bytes()))
        assert view.width_px > 490, path.name
        assert 410 < view.height_px < 440, path.name


def test_the_side_is_the_longer_one():
    view = FieldOfView(10.0, 20.0, 40.0, 30.0)
    assert (view.width_px, view.height_px, view.side_px) == (30.0, 10.0, 30.0)


def test_a_gradient_without_dark_corners_is_kept_whole():
    image = 128 + np.asarray(gradient(400, 300)) // 2
    assert find_eye_in_pixels(image) == FieldOfView.covering_whole_frame(400, 300)


def squashed(image, aspect):
    """The picture with its width multiplied by ``aspect``."""
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * aspect), height)))


@pytest.mark.parametrize("aspect", [0.6, 0.7, 0.8, 1.25, 1.4, 1.6])
@pytest.mark.parametrize(
    "image",
    [
        disc(600, 400, (300, 200), 190),
        disc(600, 400, (300, 200), 230),  # cut off above and below
        disc(400, 600, (200, 300), 230),  # cut off left and right
        disc(900, 600, (250, 230), 200, noise=9),
    ],
    ids=["whole", "cut above and below", "cut left and right", "off centre"],
)
def test_a_squashed_disc_is_found_and_its_squash_is_known(image, aspect):
    plain = find_eye_in_pixels(image)
    view = find_eye_in_pixels(squashed(image, aspect))
    assert plain.aspect == 1.0
    assert view.aspect == pytest.approx(aspect, rel=0.03)
    assert view.eye_width_px / view.eye_height_px == pytest.approx(view.aspect)
    assert view.eye_height_px == pytest.approx(plain.side_px, rel=0.03)
    roundness = view.compute_roundness(*Image.fromarray(squashed(image, aspect)).size)
    assert roundness == pytest.approx(plain.compute_roundness(*image.shape[1::-1]), abs=0.03)


def test_a_disc_is_no_ellipse_although_a_pixel_is_missing():
    for width in (590, 600, 612):
        assert find_eye_in_pixels(disc(width, 400, (300, 200), 190, noise=6)).aspect == 1.0


def test_a_square_is_not_taken_for_a_squashed_disc():
    image = np.zeros((400, 600, 3), np.uint8)
    image[60:340, 150:450] = (180, 90, 30)
    assert find_eye_in_pixels(image).aspect == 1.0


@pytest.mark.parametrize("level", [24, 60, 128, 250])
@pytest.mark.parametrize("noise", [0, 5])
def test_a_grey_surround_is_told_from_the_eye(level, noise):
    eye = disc(600, 400, (300, 200), 190, noise=0)
    random = np.random.default_rng(0).normal(level, noise, eye.shape)
    image = np.where(eye.max(axis=2, keepdims=True) > 20, eye, random.clip(0, 255).astype(np.uint8))
    view = find_eye_in_pixels(image)
    np.testing.assert_allclose(edges(view), (110, 10, 490, 390), atol=6)
    assert view.surround == pytest.approx((level,) * 3, abs=4)
    painted = np.asarray(paint_surround_black(Image.fromarray(image), view))
    assert painted[:20, :100].max() == 0
    assert np.array_equal(painted[150:250, 200:400], image[150:250, 200:400])


def test_a_coloured_or_uneven_surround_is_no_surround():
    whole = FieldOfView.covering_whole_frame(600, 400)
    eye = disc(600, 400, (300, 200), 190, noise=0)
    is_eye = eye.max(axis=2, keepdims=True) > 20
    sky = np.full_like(eye, (90, 140, 220))
    ramp = np.linspace(60, 250, 600)[None, :, None].repeat(400, axis=0).repeat(3, axis=2)
    for surround in (sky, ramp.astype(np.uint8)):
        assert find_eye_in_pixels(np.where(is_eye, eye, surround)) == whole


KINDS = {
    "squashed to a square": lambda image: squashed(image, 0.66),
    "stretched": lambda image: squashed(image, 1.35),
    "cut, then squashed": lambda image: squashed(image[len(image) // 16 : -len(image) // 16], 0.75),
    "grey surround": lambda image: np.where(image.max(axis=2, keepdims=True) > 25, image, 110),
    "white surround": lambda image: np.where(image.max(axis=2, keepdims=True) > 25, image, 250),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", IDRID[::3], ids=lambda path: path.stem)
def test_a_real_photograph_of_another_shape_or_surround_can_be_graded(path, kind):
    image = decode_image(path.read_bytes(), min_side_px=700)
    altered = DecodedPhotograph.from_pixels(KINDS[kind](image).astype(np.uint8))
    quality = measure_photograph_quality(altered)
    assert find_ungradable_reason(quality, GradabilityLimits()) is None
    assert quality.is_framed
    plain = DecodedPhotograph.from_pixels(image)
    # The model sees nearly the same picture, also in the corners and where the frame cuts the eye.
    transform = FundusTransform(value_range=(0, 255))
    seen, expected = (apply_transform(transform, one) for one in (altered, plain))
    if kind == "cut, then squashed":
        shown = np.ones(image.shape[:2], bool)
        shown[: len(image) // 16] = shown[-len(image) // 16 :] = False
        black = Image.fromarray(image * shown[..., None])
        expected = apply_transform(transform, DecodedPhotograph(black, plain.view))
    assert np.abs(seen - expected).mean() < 2
    unlike = np.abs(seen - expected).max(axis=2) > 60
    assert unlike.mean() < 0.01


@pytest.mark.parametrize("aspect", [0.7, 1.0, 1.4])
def test_no_cat_becomes_a_fundus(shared, aspect):
    cat = np.asarray(Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB"))
    for image in (cat, np.pad(cat, ((90, 90), (90, 90), (0, 0)), constant_values=128)):
        quality = measure_photograph_quality(DecodedPhotograph.from_pixels(squashed(image, aspect)))
        assert find_ungradable_reason(quality, GradabilityLimits()) == "no_field_of_view"


@pytest.fixture(scope="module")
def framing():
    return runpy.run_path(str(Path(__file__).parents[3] / "scripts/evaluate_framing.py"))


@pytest.fixture(scope="module")
def eyes(framing, shared):
    """Three photographs of IDRiD, on which the rules were not chosen."""
    files = sorted((shared / "data/idrid_512/train").glob("*.jpg"))[40::150]
    assert len(files) == 3
    return [framing["Original"].read(file.read_bytes()) for file in files]


FRAMES = {
    "8 % cut left and right, squashed by 0.77": 3,
    "8 % cut on all sides, squashed by 1.3": 4,
    "8 % cut on all sides, padded": 3,
    "8 % cut left and right, white padding": 3,
    "12 % cut left and right, squashed by 0.9": 8,
    "12 % cut above and below": 3,
    "12 % cut above and below, light grey surround": 3,
    "6 % cut left and right, resized to 224 x 224": 6,  # it has fewer pixels
    "20 % cut on the left, grey surround": 5,
    "padded, white surround": 3,
    "squashed by 1.3, white padding": 3,
    "notched, grey surround": 5,
    "off centre, white surround": 3,
}
"""Frames, and how far the input may be, on average, from that of a perfectly known frame."""


@pytest.mark.parametrize("name", FRAMES)
def test_an_eye_in_another_frame_is_seen_as_in_its_own(framing, eyes, name):
    [kind] = [kind for kind in framing["list_kinds"]() if kind.name == name]
    transform = FundusTransform(value_range=(0, 255))
    for eye in eyes:
        copy = framing["make_copy"](eye, kind, np.random.default_rng(0))
        photograph = DecodedPhotograph.from_pixels(np.asarray(copy))
        quality = measure_photograph_quality(photograph)
        assert find_ungradable_reason(quality, GradabilityLimits()) is None
        ideal = framing["make_ideal_input"](transform, eye, kind)
        assert np.abs(apply_transform(transform, photograph) - ideal).mean() < FRAMES[name]


def test_a_photograph_of_an_eye_within_frames_within_frames_ends_the_search():
    image = disc(600, 400, (300, 200), 190)
    for level in (255, 0) * 20:
        image = np.pad(image, ((9, 9), (9, 9), (0, 0)), constant_values=level)
    view = find_eye_in_pixels(image)
    assert 0 <= view.left < view.right <= image.shape[1]


def test_half_an_eye_at_the_edge_of_the_frame_is_a_part_of_a_larger_eye():
    image = disc(600, 400, (300, 200), 190)[:, 300:]
    view = find_eye_in_pixels(image)
    assert view.eye_left == pytest.approx(-190, abs=6)
    assert view.side_px == pytest.approx(380, abs=6)
    quality = measure_photograph_quality(DecodedPhotograph.from_pixels(image))
    assert quality.lit_share < 0.6


@pytest.mark.parametrize("change", ["scaled_down", "scaled_up", "moved"])
def test_the_whole_eye_and_the_padding_move_with_the_box(change):
    view = FieldOfView(
        10, 20, 50, 60, whole_eye=(30, 45, 60), photograph=(8, 12, 70, 80), aspect=1.0
    )
    if change == "moved":
        moved = view.moved(5, 7)
        assert (moved.left, moved.whole_eye) == (15, (35, 52, 60))
        assert moved.photograph == (13, 19, 75, 87)
        return
    factor = 0.5 if change == "scaled_down" else 2
    scaled = view.scaled_down(2) if change == "scaled_down" else view.scaled_up(2, 200, 200)
    assert scaled.whole_eye == (30 * factor, 45 * factor, 60 * factor)
    assert scaled.photograph == (8 * factor, 12 * factor, 70 * factor, 80 * factor)
    assert scaled.eye_left == view.eye_left * factor
    assert scaled.eye_top == view.eye_top * factor

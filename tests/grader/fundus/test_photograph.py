"""A photograph is decoded no larger than a model needs, and its eye is looked for once."""

import io
from pathlib import Path

import numpy as np
import pytest
from image_files import disc, encoded, gradient
from PIL import Image, ImageFilter

from drdeploy.errors import PayloadTooLarge, UnsupportedImage
from drdeploy.grader.fundus import appearance, photograph
from drdeploy.grader.fundus.appearance import measure_appearance
from drdeploy.grader.fundus.apply import apply_transform, make_model_input
from drdeploy.grader.fundus.decode import ImageLimits, read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.familiarity import BLURS_PX, MEASUREMENTS
from drdeploy.grader.fundus.field_of_view import FieldOfView, find_field_of_view
from drdeploy.grader.fundus.gradability import measure_photograph_quality
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.fundus.transform import OVERSAMPLING, STUDY_TRANSFORM, FundusTransform
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/photographs/*.jpg"))
SMALL_INPUT = FundusTransform(height_px=64, width_px=64)
STRETCHED = FundusTransform(height_px=64, width_px=64, crop="none")


def decoded(transform, data, eye_px=0):
    return decode_photograph(read_and_check_header(data), transform, eye_px=eye_px)


def shape(transform, data, eye_px=0):
    return decoded(transform, data, eye_px).image.shape


def small_eye(image_format="JPEG"):
    """An eye of 300 pixels in a frame of 1200 x 900."""
    return encoded(Image.fromarray(disc(1200, 900, (600, 450), 150)), image_format)


def test_nearest_gets_the_whole_photograph():
    data = encoded(gradient(1600, 1200), "JPEG")
    assert shape(STUDY_TRANSFORM, data) == (1200, 1600, 3)


def test_the_eye_stays_larger_than_the_input_by_the_safety_factor():
    """Decoding for the frame would leave the eye too small."""
    image = decoded(SMALL_INPUT, small_eye()).image
    assert image.shape == (450, 600, 3)
    assert 300 * image.shape[0] / 900 >= OVERSAMPLING * SMALL_INPUT.width_px


def test_an_eye_that_fills_the_frame_is_decoded_at_the_smallest_scale():
    data = encoded(Image.fromarray(disc(1200, 900, (600, 450), 440)), "JPEG")
    assert shape(SMALL_INPUT, data) == (113, 150, 3)


def test_the_eye_stays_as_large_as_is_asked_for():
    data = small_eye()
    assert shape(SMALL_INPUT, data, eye_px=256) == (900, 1200, 3)
    assert shape(STRETCHED, data) == (113, 150, 3)
    assert shape(STRETCHED, data, eye_px=256) == (900, 1200, 3)


def test_a_small_photograph_is_decoded_whole():
    data = encoded(gradient(200, 150), "JPEG")
    assert shape(FundusTransform(), data) == (150, 200, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("transform", [SMALL_INPUT, FundusTransform(crop="none", filter="graham")])
def test_the_eye_is_looked_for_once(monkeypatch, image_format, transform):
    """Also where a small eye makes a second, larger decode necessary."""
    looked = []

    def counted(picture):
        looked.append(picture.size)
        return find_field_of_view(picture)

    monkeypatch.setattr(photograph, "find_field_of_view", counted)
    make_model_input(transform, small_eye(image_format), eye_px=256)
    assert len(looked) == 1


def test_the_eye_is_not_looked_for_where_nothing_depends_on_it(monkeypatch):
    monkeypatch.delattr(photograph, "find_field_of_view")
    found = decoded(STRETCHED, small_eye())
    assert found.view == FieldOfView.covering_whole_frame(150, 113)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_the_eye_is_where_the_larger_decode_shows_it(image_format):
    found = decoded(SMALL_INPUT, small_eye(image_format), eye_px=256)
    sought = find_field_of_view(found.picture)
    for edge in ("left", "top", "right", "bottom"):
        assert getattr(found.view, edge) == pytest.approx(getattr(sought, edge), abs=2)


def test_an_eye_that_the_frame_cuts_off_ends_at_the_edge_of_the_larger_decode():
    """Half of 1203 pixels are 602, and twice 602 is more than there are."""
    data = encoded(Image.fromarray(disc(1203, 900, (1203, 450), 240)), "JPEG")
    found = decoded(SMALL_INPUT, data, eye_px=256)
    assert found.image.shape == (900, 1203, 3)
    assert found.view.right == 1203


def test_how_much_smaller_it_was_decoded_is_known():
    data = paint_synthetic_photograph(3, width_px=2144, height_px=1424)
    assert decoded(FundusTransform(), data).reduction == 4
    assert decoded(STUDY_TRANSFORM, data).reduction == 1


def test_where_the_eye_is_comes_with_the_pixels():
    found = decoded(FundusTransform(), paint_synthetic_photograph(3, width_px=2144, height_px=1424))
    assert found.view == find_field_of_view(found.picture)


def test_the_limits_hold():
    data = encoded(gradient(), "JPEG")
    with pytest.raises(PayloadTooLarge):
        make_model_input(FundusTransform(), data, limits=ImageLimits(max_pixels=10))


def test_what_is_no_image_is_refused():
    with pytest.raises(UnsupportedImage):
        make_model_input(FundusTransform(), b"not an image")


def test_one_pixel_is_a_photograph_too():
    found = decoded(FundusTransform(), encoded(Image.new("RGB", (1, 1)), "PNG"))
    assert (found.image.shape, found.reduction) == ((1, 1, 3), 1)
    assert np.array_equal(found.image[0, 0], (0, 0, 0))


def test_each_copy_of_the_eye_is_scaled_and_blurred_once(monkeypatch):
    """Gradability and appearance measure the same copies, and blurs cost more than measuring."""
    done = []

    def count_calls(name):
        original = getattr(Image.Image, name)

        def counted(picture, *arguments, **options):
            done.append(name)
            return original(picture, *arguments, **options)

        monkeypatch.setattr(Image.Image, name, counted)

    found = decoded(FundusTransform(), small_eye(), eye_px=DETAIL_PX)
    count_calls("filter")
    count_calls("resize")
    measure_photograph_quality(found)
    measure_appearance(found.eye_copies)
    assert sorted(done) == ["filter"] * len(BLURS_PX) + ["resize"] * 2


def cut_out_and_scale_in_arrays(image, view, transform):
    """The model's input, computed step by step on arrays."""
    left = (view.left + view.right - view.eye_width_px) / 2
    top = (view.top + view.bottom - view.eye_height_px) / 2
    column, row = int(np.floor(left)), int(np.floor(top))
    left, top = left - column, top - row
    columns = int(np.ceil(left + view.eye_width_px))
    rows = int(np.ceil(top + view.eye_height_px))
    part = image[max(0, row) : row + rows, max(0, column) : column + columns]
    square = np.zeros((rows, columns, 3), np.uint8)
    above, before = max(0, -row), max(0, -column)
    square[above : above + len(part), before : before + part.shape[1]] = part
    resized = Image.fromarray(square).resize(
        (transform.width_px, transform.height_px),
        Image.Resampling.BILINEAR,
        box=(left, top, left + view.eye_width_px, top + view.eye_height_px),
    )
    return np.asarray(resized) * np.float32(2 / 255) - np.float32(1)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_real_photographs_give_the_same_input_and_measurements_as_on_arrays(monkeypatch, path):
    """Bit for bit: pictures of Pillow save copies, and the blurs leave out what is not measured."""
    data, transform = path.read_bytes(), FundusTransform()
    found = decoded(transform, data, eye_px=DETAIL_PX)
    drafted = Image.open(io.BytesIO(data))
    factor = round(found.reduction)
    drafted.draft("RGB", (drafted.width // factor, drafted.height // factor))
    assert np.array_equal(found.image, np.asarray(drafted))
    expected = cut_out_and_scale_in_arrays(found.image, found.view, transform)
    assert np.array_equal(apply_transform(transform, found), expected)
    measured = measure_appearance(found.eye_copies)
    monkeypatch.setattr(
        appearance,
        "_blur_green",
        lambda copies, blur_px: copies.green.filter(ImageFilter.GaussianBlur(blur_px)),
    )
    assert np.array_equal(measure_appearance(found.eye_copies), measured)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_counted_differences_give_the_same_details_as_sorted_pixels(path):
    copies = decoded(FundusTransform(), path.read_bytes(), eye_px=DETAIL_PX).eye_copies
    levels = [
        np.asarray(copies.green, np.float64),
        *(np.asarray(copies.green.filter(ImageFilter.GaussianBlur(px)), float) for px in BLURS_PX),
    ]
    is_inside = appearance._mask_of_disc(DETAIL_PX, appearance.DETAIL_RIM_SHARE) & (levels[0] > 0)
    brightness = levels[0][is_inside].mean() + 1
    expected = {}
    for blur_px, finer, coarser in zip(BLURS_PX, levels, levels[1:], strict=False):
        difference = np.sort((finer - coarser)[is_inside]) / brightness
        at = int(appearance.SPOT_SHARE * difference.size)
        expected[f"detail_{int(blur_px)}px"] = np.abs(difference).mean() + appearance.SMALLEST
        expected[f"bright_spots_{int(blur_px)}px"] = difference[-1 - at]
        expected[f"dark_spots_{int(blur_px)}px"] = -difference[at]
    measured = dict(zip(MEASUREMENTS, measure_appearance(copies), strict=True))
    for name, value in expected.items():
        assert measured[name] == pytest.approx(np.log(max(value, appearance.SMALLEST)), abs=1e-12)

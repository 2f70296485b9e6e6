"""A photograph becomes the input that the transform describes, at any decoding scale."""

import numpy as np
import pytest
from image_files import disc, encoded, gradient
from PIL import Image

from drdeploy.grader.fundus.apply import apply_transform, make_model_input
from drdeploy.grader.fundus.decode import decode_image, read_and_check_header
from drdeploy.grader.fundus.field_of_view import find_field_of_view
from drdeploy.grader.fundus.photograph import DecodedPhotograph, decode_photograph
from drdeploy.grader.fundus.transform import CAFFE_BGR_MEAN, STUDY_TRANSFORM, FundusTransform

RAW = {"value_range": (0.0, 255.0)}


def input_from(transform, image):
    """The model's input from pixels that are decoded already."""
    return apply_transform(transform, DecodedPhotograph.from_pixels(image))


@pytest.mark.parametrize("crop", ["none", "field_of_view"])
@pytest.mark.parametrize("image_filter", ["none", "graham"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_every_combination_gives_the_models_shape(crop, image_filter, interpolation):
    transform = FundusTransform(
        height_px=48, width_px=64, crop=crop, filter=image_filter, interpolation=interpolation
    )
    model_input = input_from(transform, disc(300, 200, (150, 100), 90))
    assert model_input.shape == (48, 64, 3)
    assert model_input.dtype == np.float32
    assert model_input.flags.c_contiguous
    assert np.abs(model_input).max() <= 1.0 + 1e-6


def test_the_studys_transform_stretches_and_scales():
    image = np.asarray(gradient(300, 200))
    stretched = Image.fromarray(image).resize((224, 224), Image.Resampling.NEAREST)
    expected = np.asarray(stretched, dtype=np.float32) / 127.5 - 1.0
    np.testing.assert_allclose(input_from(STUDY_TRANSFORM, image), expected, atol=1e-6)


def test_an_image_of_the_models_size_keeps_its_pixels():
    image = np.asarray(gradient(224, 224))
    np.testing.assert_array_equal(input_from(FundusTransform(crop="none", **RAW), image), image)


@pytest.mark.parametrize(
    ("value_range", "black", "white"), [((0, 1), 0, 1), ((-1, 1), -1, 1), ((0, 255), 0, 255)]
)
def test_the_value_range_is_what_black_and_white_become(value_range, black, white):
    transform = FundusTransform(height_px=1, width_px=2, crop="none", value_range=value_range)
    image = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    np.testing.assert_allclose(input_from(transform, image)[0, :, 0], (black, white), atol=1e-6)


def test_mean_and_deviation_follow_the_channel_order():
    """As VGG was trained: BGR, minus the mean of ImageNet."""
    transform = FundusTransform(
        height_px=1, width_px=1, crop="none", channel_order="bgr", mean=CAFFE_BGR_MEAN, **RAW
    )
    model_input = input_from(transform, np.array([[[10, 20, 30]]], dtype=np.uint8))
    np.testing.assert_allclose(
        model_input[0, 0], (30 - 103.939, 20 - 116.779, 10 - 123.68), rtol=1e-5
    )


def test_the_deviation_divides_after_the_mean_is_taken_off():
    transform = FundusTransform(
        height_px=1,
        width_px=1,
        crop="none",
        value_range=(0, 1),
        mean=(0.5, 0.25, 0.0),
        std=(0.5, 0.25, 2.0),
    )
    model_input = input_from(transform, np.array([[[255, 0, 255]]], dtype=np.uint8))
    np.testing.assert_allclose(model_input[0, 0], (1.0, -1.0, 0.5), atol=1e-6)


def test_the_eye_keeps_its_shape():
    image = disc(600, 300, (300, 150), 140, noise=0)
    eye = input_from(FundusTransform(height_px=100, width_px=100, **RAW), image)[..., 0] > 90
    assert eye.any(axis=0).sum() == pytest.approx(eye.any(axis=1).sum(), abs=1)
    assert eye.mean() == pytest.approx(np.pi / 4, abs=0.02)


def test_an_eye_that_is_cut_off_is_padded_with_black():
    image = disc(600, 400, (300, 200), 250, noise=0)
    model_input = input_from(FundusTransform(height_px=100, width_px=100, **RAW), image)
    assert (model_input[:9] == 0).all()
    assert (model_input[-9:] == 0).all()
    assert model_input[50, 1:99, 0].min() > 90


def test_a_frame_without_surround_is_padded_to_a_square():
    model_input = input_from(
        FundusTransform(height_px=90, width_px=90, **RAW), np.full((100, 300, 3), 200, np.uint8)
    )
    assert (model_input[:29] == 0).all()
    assert (model_input[31:59] == 200).all()


def test_the_filter_sees_the_eye_where_it_is_without_a_crop():
    transform = FundusTransform(crop="none", filter="graham", **RAW)
    model_input = input_from(transform, disc(900, 600, (300, 250), 200))
    assert (model_input[5:, 200:] == 128.0).all()
    assert model_input[70:110, 60:90].std() > 0


@pytest.fixture(scope="module")
def photographs(shared):
    """Files of camera resolution, each with its full decode."""
    paths = sorted((shared / "data/full_resolution").glob("*.jpg"))[::5]
    files = [path.read_bytes() for path in paths]
    return [(data, DecodedPhotograph.from_pixels(decode_image(data))) for data in files]


@pytest.mark.parametrize(
    ("crop", "image_filter", "interpolation", "allowed"),
    [
        ("none", "none", "bilinear", 0.2),
        ("field_of_view", "none", "bilinear", 0.4),
        ("field_of_view", "none", "lanczos", 0.5),
        ("field_of_view", "graham", "bilinear", 1.2),  # the filter's gain is four
    ],
)
def test_a_reduced_decode_gives_nearly_the_same_input(
    photographs, crop, image_filter, interpolation, allowed
):
    transform = FundusTransform(crop=crop, filter=image_filter, interpolation=interpolation, **RAW)
    for data, full in photographs:
        reduced = decode_photograph(read_and_check_header(data), transform)
        assert reduced.image.shape[0] < 400
        difference = np.abs(
            apply_transform(transform, reduced) - apply_transform(transform, full)
        ).mean()
        assert difference < allowed  # of 255


@pytest.mark.parametrize("crop", ["none", "field_of_view"])
def test_what_shrinks_by_averaging_is_the_same_input_however_far_it_was_decoded(crop):
    data = encoded(Image.fromarray(disc(1200, 1200, (600, 600), 590)), "PNG")
    transform = FundusTransform(crop=crop, height_px=64, width_px=64, **RAW)
    whole, half, least = (decode_image(data, min_side_px=px) for px in (None, 600, 96))
    assert (whole.shape[0], half.shape[0], least.shape[0]) == (1200, 600, 150)
    view = find_field_of_view(Image.fromarray(whole))
    inputs = [
        apply_transform(
            transform,
            DecodedPhotograph(Image.fromarray(image), view.scaled_down(1200 / len(image))),
        )
        for image in (whole, half, least)
    ]
    assert np.abs(inputs[1] - inputs[0]).max() <= 1.0  # the half was rounded once more
    assert np.array_equal(inputs[2], inputs[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_the_thinnest_pictures_still_become_input(size):
    data = encoded(Image.new("RGB", size, (90, 40, 10)), "PNG")
    transform = FundusTransform(filter="graham")
    assert make_model_input(transform, data).shape == (224, 224, 3)

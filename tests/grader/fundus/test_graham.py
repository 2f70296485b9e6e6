"""The filter of 2015 does what its report says."""

import numpy as np
import pytest
from image_files import gradient
from PIL import Image, ImageFilter

from drdeploy.grader.fundus.graham import Eye, apply_graham_filter

EYE = Eye(100.0, 100.0, 100.0, 100.0)


def picture():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(60, 200, (25, 25, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((200, 200), Image.Resampling.BICUBIC), dtype=np.float32)


def test_an_even_surface_becomes_mid_grey():
    filtered = apply_graham_filter(np.full((200, 200, 3), 77.0, np.float32), EYE)
    np.testing.assert_allclose(filtered, 128.0, atol=0.01)


def test_the_rim_beyond_nine_tenths_of_the_radius_is_mid_grey():
    filtered = apply_graham_filter(picture(), EYE)
    y, x = np.mgrid[:200, :200] + 0.5
    beyond = np.hypot(x - 100, y - 100) > 90.0
    assert (filtered[beyond] == 128.0).all()
    assert filtered[~beyond].std() > 5


def test_it_is_four_times_the_difference_to_a_gaussian_blur():
    image = picture()
    blurred = _blurred_by_convolution(image, sigma=100 / 30)
    expected = np.clip(4 * image - 4 * blurred + 128, 0, 255)
    np.testing.assert_allclose(
        apply_graham_filter(image, EYE)[50:150, 50:150], expected[50:150, 50:150], atol=0.1
    )


def _blurred_by_convolution(image, sigma):
    reach = np.arange(-25, 26)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image


def test_a_brighter_lamp_makes_no_difference():
    image = picture()
    np.testing.assert_allclose(
        apply_graham_filter(image + 30, EYE), apply_graham_filter(image, EYE), atol=0.01
    )


def test_a_vessel_becomes_darker_than_mid_grey():
    image = np.full((200, 200, 3), 120.0, np.float32)
    image[:, 99:101] = 90.0
    filtered = apply_graham_filter(image, EYE)
    assert filtered[100, 99, 0] < 60
    assert filtered[100, 94, 0] > 130


def test_a_stretched_eye_is_masked_by_an_ellipse():
    filtered = apply_graham_filter(picture(), Eye(100.0, 100.0, 100.0, 50.0))
    assert (filtered[50] == 128.0).all()
    assert not (filtered[100, 20:180] == 128.0).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 200)])
def test_any_size_is_filtered(size):
    image = np.asarray(gradient(200, 100).resize(size), dtype=np.float32)
    filtered = apply_graham_filter(image, Eye(size[0] / 2, size[1] / 2, size[0] / 2, size[1] / 2))
    assert filtered.shape == image.shape
    assert np.isfinite(filtered).all()


def test_it_is_close_to_the_blur_of_an_image_editor():
    image = picture()
    blurred = Image.fromarray(image.astype(np.uint8)).filter(ImageFilter.GaussianBlur(100 / 30))
    expected = np.clip(4 * (image - np.asarray(blurred, dtype=np.float32)) + 128, 0, 255)
    assert np.abs(apply_graham_filter(image, EYE) - expected)[50:150, 50:150].mean() < 4

"""What cannot be graded is told from what can, on real photographs."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from drdeploy.fundus.decode import decode
from drdeploy.fundus.field_of_view import field_of_view
from drdeploy.fundus.gradability import SENTENCES, measure, ungradable_reason
from drdeploy.fundus.gradability_limits import GradabilityLimits
from drdeploy.fundus.synthetic import synthetic_photograph

LIMITS = GradabilityLimits()


def reason(image, reduction=1.0):
    return ungradable_reason(measure(image, field_of_view(image), reduction=reduction), LIMITS)


def changed(image, change):
    return np.asarray(change(Image.fromarray(image)))


@pytest.fixture(scope="module")
def eyes(shared):
    """Every twentieth photograph of IDRiD."""
    files = sorted((shared / "data/idrid_512").glob("*/*.jpg"))[::20]
    return [decode(file.read_bytes()) for file in files]


def test_at_least_96_percent_of_real_photographs_are_accepted(shared):
    files = sorted((shared / "data/idrid_512").glob("*/*.jpg"))
    refused = [file for file in files if reason(decode(file.read_bytes()))]
    assert len(refused) <= 0.04 * len(files)


def test_photographs_at_camera_resolution_are_accepted_however_small_they_are_decoded(shared):
    for file in sorted((shared / "data/full_resolution").glob("*.jpg")):
        small = decode(file.read_bytes(), min_side_px=336)
        assert reason(small, reduction=8) is None, file.name
    whole = decode(file.read_bytes())
    assert reason(whole) is None


def test_a_cat_is_not_graded(shared):
    cat = Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB")
    for picture in (cat, cat.crop((0, 0, 341, 341)), cat.resize((1024, 682))):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=92)
        assert reason(decode(stream.getvalue())) == "no_field_of_view"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda eye: eye.filter(ImageFilter.GaussianBlur(8)), "too_blurred"),
        (lambda eye: eye.point(lambda level: level * 0.1), "too_dark"),
        (lambda eye: eye.resize((64, 64)), "too_small"),
    ],
    ids=["blurred", "dark", "small"],
)
def test_a_spoilt_photograph_is_refused_for_what_spoils_it(eyes, change, expected):
    found = [reason(changed(eye, change)) for eye in eyes]
    assert found == [expected] * len(eyes)


def test_half_an_eye_is_refused(eyes):
    for eye in eyes:
        half = eye.copy()
        half[:, :256] = 0
        assert reason(half) == "no_field_of_view"


def test_a_crop_within_the_eye_is_accepted(eyes):
    assert [reason(eye[80:430, 80:430]) for eye in eyes] == [None] * len(eyes)


def test_a_photograph_that_was_filtered_to_grey_is_accepted(eyes):
    from drdeploy.fundus.apply import apply
    from drdeploy.fundus.transform import FundusTransform

    transform = FundusTransform(filter="graham", value_range=(0.0, 255.0))
    for eye in eyes:
        assert reason(np.clip(apply(transform, eye), 0, 255).astype(np.uint8)) is None


def test_synthetic_photographs_are_accepted():
    for seed in range(5):
        assert reason(decode(synthetic_photograph(seed, width_px=1072, height_px=712))) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("white", "too_bright"),
        ("black", "too_dark"),
        ("orange", "too_blurred"),
        ("noise", "no_field_of_view"),
    ],  # noqa: E501
)
def test_pictures_of_nothing_are_refused(name, expected):
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3)).astype(np.uint8)
    flat = {"white": (255, 255, 255), "black": (0, 0, 0), "orange": (180, 90, 40)}
    image = noise if name == "noise" else np.full((400, 400, 3), flat[name], np.uint8)
    assert reason(image) == expected


def test_what_is_measured_hardly_depends_on_the_size(eyes):
    for eye in eyes[:5]:
        half = changed(eye, lambda picture: picture.resize((400, 400), Image.Resampling.BOX))
        one, two = (measure(image, field_of_view(image)) for image in (eye, half))
        assert two.sharpness == pytest.approx(one.sharpness, rel=0.15)
        assert two.brightness == pytest.approx(one.brightness, rel=0.02)


def test_the_limits_are_those_of_the_manifest(eyes):
    quality = measure(eyes[0], field_of_view(eyes[0]))
    strict = GradabilityLimits(min_sharpness=1.0, max_sharpness=2.0)
    assert ungradable_reason(quality, strict) == "too_blurred"
    assert ungradable_reason(replace(quality, eye_px=100), LIMITS) == "too_small"
    assert set(SENTENCES) >= {"too_blurred", "too_small"}

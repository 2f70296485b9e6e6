"""Photographs that cannot be graded are recognised, on real photographs."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from image_files import disc, encoded
from PIL import Image, ImageDraw, ImageFilter

from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import decode_image, read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.gradability import (
    SENTENCES,
    Reason,
    find_ungradable_reason,
    measure_photograph_quality,
)
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.fundus.photograph import DecodedPhotograph, decode_photograph
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

LIMITS = GradabilityLimits()
EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/photographs/*.jpg"))


def quality(image, reduction=1.0):
    return measure_photograph_quality(DecodedPhotograph.from_pixels(image, reduction=reduction))


def reason(image, reduction=1.0):
    return find_ungradable_reason(quality(image, reduction), LIMITS)


def changed(image, change):
    return np.asarray(change(Image.fromarray(image)))


@pytest.fixture(scope="module")
def eyes(shared):
    """Every twentieth photograph of IDRiD."""
    files = sorted((shared / "data/idrid_512").glob("*/*.jpg"))[::20]
    assert len(files) > 10
    return [decode_image(file.read_bytes()) for file in files]


def test_at_least_96_percent_of_real_photographs_are_accepted(shared):
    files = sorted((shared / "data/idrid_512").glob("*/*.jpg"))
    assert len(files) > 400
    refused = [file for file in files if reason(decode_image(file.read_bytes()))]
    assert len(refused) <= 0.04 * len(files)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_it_hardly_matters_how_far_a_photograph_was_decoded(file):
    data = file.read_bytes()
    whole = decode_image(data)
    small = decode_photograph(read_and_check_header(data), FundusTransform(), eye_px=DETAIL_PX)
    assert small.reduction > 3
    one, two = quality(whole), measure_photograph_quality(small)
    assert find_ungradable_reason(one, LIMITS) is None is find_ungradable_reason(two, LIMITS)
    assert two.sharpness == pytest.approx(one.sharpness, rel=0.1)
    assert two.brightness == pytest.approx(one.brightness, rel=0.02)
    assert two.eye_px == pytest.approx(one.eye_px, rel=0.01)


def test_blur_is_recognised_at_camera_resolution_too(shared):
    """The eye is cut off above and below; that edge must not pass for detail."""
    data = (shared / "data/full_resolution/IDRiD_029_grade0.jpg").read_bytes()
    photograph = Image.fromarray(decode_image(data)).filter(
        ImageFilter.GaussianBlur(8 * 3408 / 512)
    )
    small = decode_image(encoded(photograph, "JPEG", quality=90), min_side_px=336)
    assert reason(small, reduction=8) == "too_blurred"


def test_a_cat_is_not_graded(shared):
    cat = Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB")
    for picture in (cat, cat.crop((0, 0, 341, 341)), cat.resize((1024, 682))):
        assert reason(decode_image(encoded(picture, "JPEG", quality=92))) == "no_field_of_view"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda eye: eye.filter(ImageFilter.GaussianBlur(8)), "too_blurred"),
        (lambda eye: eye.point(lambda level: level * 0.1), "too_dark"),
        (lambda eye: eye.point(lambda level: level * 9), "too_bright"),
        (lambda eye: eye.resize((64, 64)), "too_small"),
        (lambda eye: eye.convert("L").convert("RGB"), "no_colour"),
    ],
    ids=["blurred", "dark", "overexposed", "small", "grey"],
)
def test_a_spoilt_photograph_is_refused_for_what_spoils_it(eyes, change, expected):
    found = [reason(changed(eye, change)) for eye in eyes]
    assert found == [expected] * len(eyes)


@pytest.mark.parametrize("quality", [95, 75])
def test_blocks_of_compression_do_not_pass_for_detail(eyes, quality):
    for eye in eyes:
        blurred = Image.fromarray(eye).filter(ImageFilter.GaussianBlur(8))
        assert reason(decode_image(encoded(blurred, "JPEG", quality=quality))) == "too_blurred"


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize(
    "is_hidden",
    [
        lambda y, x: x < 256,
        lambda y, x: y >= 256,
        lambda y, x: x > y,
        lambda y, x: (abs(x - 256) < 160) & (abs(y - 256) < 160),
    ],
    ids=["left", "below", "diagonal", "middle"],
)
def test_half_an_eye_is_refused(eyes, is_hidden, level):
    for eye in eyes:
        half = eye.copy()
        half[is_hidden(*np.mgrid[:512, :512])] = level
        assert reason(half) == "no_field_of_view"


def test_an_eye_that_the_frame_cuts_off_on_one_side_is_accepted(eyes):
    assert [reason(eye[:, 90:]) for eye in eyes] == [None] * len(eyes)
    assert [reason(eye[70:]) for eye in eyes] == [None] * len(eyes)


def test_something_red_before_a_dark_background_is_no_eye():
    """As bright, red and sharp as one, but not round."""
    petals = Image.new("RGB", (500, 500), (8, 6, 6))
    for angle in range(0, 180, 45):
        petal = Image.new("L", petals.size)
        ImageDraw.Draw(petal).ellipse((20, 200, 480, 300), fill=255)
        petals.paste((190, 90, 40), mask=petal.rotate(angle))
    grain = np.random.default_rng(0).normal(0, 8, (500, 500, 1))
    image = np.clip(np.asarray(petals) + grain, 0, 255).astype(np.uint8)
    assert reason(disc(500, 500, (250, 250), 230, noise=8)) is None
    assert reason(image) == "no_field_of_view"


def test_a_crop_within_the_eye_is_accepted(eyes):
    assert [reason(eye[80:430, 80:430]) for eye in eyes] == [None] * len(eyes)


def test_a_photograph_that_was_filtered_to_grey_is_accepted(eyes):
    transform = FundusTransform(filter="graham", value_range=(0.0, 255.0))
    for eye in eyes:
        filtered = apply_transform(transform, DecodedPhotograph.from_pixels(eye))
        assert reason(np.clip(filtered, 0, 255).astype(np.uint8)) is None


def test_synthetic_photographs_are_accepted():
    for seed in range(5):
        assert (
            reason(decode_image(paint_synthetic_photograph(seed, width_px=1072, height_px=712)))
            is None
        )


def pictures_of_nothing():
    random = np.random.default_rng(0)
    flat = {"white": (255, 255, 255), "black": (0, 0, 0), "orange": (180, 90, 40)}
    pictures = {name: np.full((400, 400, 3), colour, np.uint8) for name, colour in flat.items()}
    pictures["noise"] = random.integers(0, 255, (400, 400, 3)).astype(np.uint8)
    grain = random.normal(128, 20, (400, 400, 1)).clip(0, 255)
    pictures["grey wall"] = np.repeat(grain, 3, axis=2).astype(np.uint8)
    return pictures


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("white", "too_bright"),
        ("black", "too_dark"),
        ("orange", "too_blurred"),
        ("noise", "no_field_of_view"),
        ("grey wall", "no_colour"),
    ],
)
def test_pictures_of_nothing_are_refused(name, expected):
    assert reason(pictures_of_nothing()[name]) == expected


def test_the_reason_for_refusing_a_grey_photograph_names_its_lack_of_colour(eyes):
    """Also if it was saved as a grey JPEG, which is decoded to three equal channels."""
    grey = Image.fromarray(eyes[0]).convert("L")
    assert reason(decode_image(encoded(grey, "JPEG", quality=60))) == "no_colour"
    assert "no colour" in SENTENCES["no_colour"]


def test_few_parts_of_a_cat_are_taken_for_a_part_of_an_eye(shared):
    """Its fur is as evenly red as an eye; at least 19 of 20 parts are refused."""
    cat = Image.open(shared / "data/not_fundus/cat.bmp").convert("RGB")
    random = np.random.default_rng(0)
    graded = 0
    for _ in range(60):
        width = int(random.uniform(150, 300))
        height = min(int(width * random.uniform(0.75, 1.3)), 340)
        left, top = (int(random.uniform(0, end)) for end in (512 - width, 341 - height))
        part = cat.crop((left, top, left + width, top + height))
        graded += reason(np.asarray(part.resize((2 * width, 2 * height)))) is None
    assert graded <= 3


def test_a_page_of_text_is_refused():
    page = Image.new("RGB", (600, 800), (240, 235, 225))
    for line in range(40):
        ImageDraw.Draw(page).text((40, 20 + 19 * line), "the quick brown fox " * 4, (20, 20, 20))
    assert reason(np.asarray(page)) == "no_field_of_view"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), "too_small"), ((2, 3), "too_small"), ((1, 900), "too_dark"), ((900, 1), "too_dark")],
)
def test_the_thinnest_pictures_are_refused(size, expected):
    assert reason(np.full((*size, 3), 90, np.uint8)) == expected


def test_what_is_measured_hardly_depends_on_the_size(eyes):
    for eye in eyes[:5]:
        smaller = changed(eye, lambda picture: picture.resize((400, 400), Image.Resampling.BOX))
        one, two = quality(eye), quality(smaller)
        assert two.sharpness == pytest.approx(one.sharpness, rel=0.2)
        assert two.brightness == pytest.approx(one.brightness, rel=0.02)


def test_the_limits_are_those_of_the_manifest(eyes):
    found = quality(eyes[0])
    strict = GradabilityLimits(min_sharpness=1.0, max_sharpness=2.0)
    assert find_ungradable_reason(found, strict) == "too_blurred"
    assert find_ungradable_reason(replace(found, eye_px=100), LIMITS) == "too_small"


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(get_args(Reason))

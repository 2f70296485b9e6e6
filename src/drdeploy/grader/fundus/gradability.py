"""Decide whether a photograph shows an eye well enough to be graded.

A grader answers whatever picture it is given, and a blurred eye looks healthy to it.  So light,
sharpness, shape and colour are measured first and compared with the limits in the manifest.

All of it is measured within 0.9 of the eye's radius on a copy whose eye is 256 pixels wide, so that
neither the camera's resolution nor the scale of the decode matters.  A fundus is orange, and what
has another colour is refused, except a photograph that was filtered to even grey, as the data set
of the original study is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from drdeploy.grader.fundus.field_of_view import FieldOfView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
    from drdeploy.grader.fundus.photograph import DecodedPhotograph

Reason = Literal["too_small", "too_dark", "too_bright", "no_field_of_view", "too_blurred"]

SENTENCES: dict[Reason, str] = {
    "too_small": "The eye is too small in the photograph",
    "too_dark": "The photograph is too dark",
    "too_bright": "The photograph is overexposed",
    "no_field_of_view": "The picture does not show a whole fundus",
    "too_blurred": "The photograph is too blurred",
}

MEASURED_PX = 256
"""Diameter of the eye in the copy; the eye in the decoded photograph should be no smaller."""
COLOUR_PX = 64
"""Diameter of the eye in the copy that colour is measured on."""
RIM_SHARE = 0.9
"""Share of the radius that is measured.  Beyond it lies the rim, where every photograph is sharp
and dark."""
CORNER_SHARE = 1.08
"""Share of the radius beyond which lie the corners, dark around any disc."""
LIT_SHARE = 0.25
"""A pixel is in the dark if it has less than this share of the mean brightness."""
CLIPPED_LEVEL = 240.0
"""Level of green from which a pixel is overexposed.  Green shows vessels and lesions; red is
overexposed in many good photographs."""
BLUR_PX = 2.0
"""Standard deviation of the blur: vessels and lesions are finer than that, so it removes them."""
ROUNDING = 1
"""Differences of so many levels may come from compression alone and do not count as detail."""
LEVELS = np.arange(256)

GREY_LEVEL, GREY_TOLERANCE = 128.0, 35.0
GREY_SATURATION, GREY_SPREAD = (0.03, 0.25), 0.22
"""What a photograph measures that was filtered to even grey: mean brightness and its tolerance, the
range of saturation, the largest spread.  Details keep a trace of colour through the filter, which
distinguishes them from a picture that was taken in grey."""


@dataclass(frozen=True)
class Quality:
    """The measurements of one photograph that :class:`GradabilityLimits` are compared with.

    Attributes:
        eye_px: Diameter of the eye in the photograph as it was sent, in pixels.
        is_framed: There is a dark surround.
        roundness: Shorter over longer side of the eye's box.
        lit_share: Share of the eye that is not in the dark.
        stray_share: Share of the corners around the disc that is lit.
        brightness: Mean of the brightest channel, 0 to 255.
        clipped_share: Share of the eye that is overexposed.
        spread: Standard deviation of the brightness over its mean.
        saturation: Mean difference of the brightest and darkest channel over the brightness.
        warm_share: Share of the eye that is redder than it is green and blue.
        redness: Share of red in all the light.
        hue_spread: Standard deviation of green over red.
        sharpness: Mean difference from a blurred copy, as a share of the brightness.
    """

    eye_px: float
    is_framed: bool
    roundness: float
    lit_share: float
    stray_share: float
    brightness: float
    clipped_share: float
    spread: float
    saturation: float
    warm_share: float
    redness: float
    hue_spread: float
    sharpness: float

    @property
    def is_filtered_grey(self) -> bool:
        """Whether the local mean colour was subtracted, as Graham's filter does."""
        least, most = GREY_SATURATION
        return (
            abs(self.brightness - GREY_LEVEL) <= GREY_TOLERANCE
            and least <= self.saturation <= most
            and self.spread <= GREY_SPREAD
        )


def ungradable_reason(quality: Quality, limits: GradabilityLimits) -> Reason | None:
    """Return why a photograph cannot be graded; None if it can.

    The order matters: a photograph in the dark also lacks detail and colour, and the person at
    the camera should hear about the light first.
    """
    if quality.eye_px < limits.min_eye_px:
        return "too_small"
    if quality.brightness < limits.min_brightness:
        return "too_dark"
    if quality.clipped_share > limits.max_clipped_share:
        return "too_bright"
    if not _is_fundus(quality, limits):
        return "no_field_of_view"
    if quality.sharpness < limits.min_sharpness:
        return "too_blurred"
    return None


def _is_fundus(quality: Quality, limits: GradabilityLimits) -> bool:
    if quality.sharpness > limits.max_sharpness:
        return False
    if not _is_whole(quality, limits):
        return False
    if quality.is_filtered_grey:
        return True
    is_warm = quality.warm_share >= limits.min_warm_share
    return is_warm and (quality.is_framed or _is_one_tissue(quality, limits))


def _is_whole(quality: Quality, limits: GradabilityLimits) -> bool:
    """Whether the lit part has the shape of an eye, with nothing cut off or covered."""
    return (
        quality.roundness >= limits.min_roundness
        and quality.lit_share >= limits.min_lit_share
        and (not quality.is_framed or quality.stray_share <= limits.max_stray_share)
    )


def _is_one_tissue(quality: Quality, limits: GradabilityLimits) -> bool:
    """Whether a picture without a rim is red and even enough to be the inside of an eye."""
    return (
        quality.redness >= limits.unframed_min_redness
        and quality.hue_spread <= limits.unframed_max_hue_spread
        and quality.spread <= limits.unframed_max_spread
    )


def measure(photograph: DecodedPhotograph) -> Quality:
    """Measure a photograph's light, sharpness, shape and colour (2 ms at 512 x 512)."""
    image, view = photograph.image, photograph.view
    eye = _cut_out_eye(image, view)
    light, red, green, blue = _brightness_and_colours(eye)
    # What the frame cuts off is black, and must not darken the mean. A photograph that is black
    # all over is measured as it is.
    is_visible = _colour_mask() & (light > 0)
    if not is_visible.any():
        is_visible = _colour_mask()
    brightness = float(light[is_visible].mean())
    is_lit = light >= LIT_SHARE * brightness
    is_warm = (red > green) & (green >= 0.8 * blue)
    total = red + green + blue
    scale = max(brightness, 1.0)
    colour = light - np.minimum(np.minimum(red, green), blue)
    hue = green / np.maximum(red, 1.0)
    sides = sorted((view.width_px, view.height_px))
    return Quality(
        eye_px=view.side_px * photograph.reduction,
        is_framed=view != FieldOfView.whole(image.shape[1], image.shape[0]),
        roundness=sides[0] / max(sides[1], 1.0),
        lit_share=float(is_lit[_colour_mask()].mean()),
        stray_share=_stray_share(is_lit),
        brightness=brightness,
        clipped_share=float((green[is_visible] >= CLIPPED_LEVEL).mean()),
        spread=float(total[is_visible].std()) / 3 / scale,
        saturation=float(colour[is_visible].mean()) / scale,
        warm_share=float(is_warm[is_visible].mean()),
        redness=float(red[is_visible].sum()) / max(float(total[is_visible].sum()), 1.0),
        hue_spread=float(hue[is_visible & is_lit].std()),
        sharpness=_sharpness(eye, view),
    )


def _cut_out_eye(image: NDArray[np.uint8], view: FieldOfView) -> Image.Image:
    """Cut out the square around the eye, black where it reaches beyond the frame."""
    left = round((view.left + view.right - view.side_px) / 2)
    top = round((view.top + view.bottom - view.side_px) / 2)
    side = max(1, round(view.side_px))
    return Image.fromarray(image).crop((left, top, left + side, top + side))


def _brightness_and_colours(eye: Image.Image) -> tuple[NDArray[np.float32], ...]:
    """The brightest channel of each pixel of a small copy, then red, green and blue."""
    small = eye.resize((COLOUR_PX, COLOUR_PX), Image.Resampling.BOX, reducing_gap=1.0)
    red, green, blue = (np.asarray(channel, dtype=np.float32) for channel in small.split())
    return np.maximum(np.maximum(red, green), blue), red, green, blue


def _sharpness(eye: Image.Image, view: FieldOfView) -> float:
    """Mean difference of green from its blurred copy, over the mean of green.

    The sums are made from histograms of 256 levels: Pillow counts those three times as fast as
    NumPy adds up the pixels.
    """
    green = eye.getchannel("G").resize(
        (MEASURED_PX, MEASURED_PX), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    blurred = green.filter(ImageFilter.GaussianBlur(BLUR_PX))
    scale = MEASURED_PX / view.side_px
    inside = _measured_mask(round(view.width_px * scale), round(view.height_px * scale))
    counts = ImageChops.difference(green, blurred).histogram(inside)
    levels = green.histogram(inside)
    detail = np.dot(counts, np.maximum(LEVELS - ROUNDING, 0))
    return float(detail / max(np.dot(levels, LEVELS), 1))


@lru_cache(8)
def _measured_mask(width_px: int, height_px: int) -> Image.Image:
    """Mask of the pixels to measure: within the eye's rim and within the frame that cuts it off.

    The cut edge would pass for sharp detail.
    """
    from_middle = np.abs(np.arange(MEASURED_PX) - (MEASURED_PX - 1) / 2)
    across, down = from_middle, from_middle[:, None]
    is_inside = np.hypot(across, down) <= RIM_SHARE * MEASURED_PX / 2
    is_inside &= (across <= RIM_SHARE * width_px / 2) & (down <= RIM_SHARE * height_px / 2)
    return Image.fromarray(np.where(is_inside, np.uint8(255), np.uint8(0)))


@lru_cache(1)
def _colour_mask() -> NDArray[np.bool_]:
    """Mask of the pixels of the small copy whose colour is measured."""
    return _distance_from_centre() <= RIM_SHARE


def _stray_share(is_lit: NDArray[np.bool_]) -> float:
    """Share of the darker two of the four corners around the disc that is lit.

    Where the frame cuts an eye off on one side, the eye itself lies in the other two.
    """
    half = COLOUR_PX // 2
    shares = [
        float(is_lit[rows, columns][_distance_from_centre()[rows, columns] > CORNER_SHARE].mean())
        for rows in (slice(half), slice(half, None))
        for columns in (slice(half), slice(half, None))
    ]
    return sum(sorted(shares)[:2]) / 2


@lru_cache(1)
def _distance_from_centre() -> NDArray[np.float64]:
    """Distance of each pixel of the small copy from the eye's centre, in radii."""
    y, x = np.mgrid[:COLOUR_PX, :COLOUR_PX] - (COLOUR_PX - 1) / 2
    distance: NDArray[np.float64] = np.hypot(x, y) / (COLOUR_PX / 2)
    return distance

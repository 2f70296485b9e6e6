"""Decide whether a photograph shows an eye well enough to be graded.

A network grades any picture, and grades a blurred eye as healthy. Therefore a photograph's light,
sharpness, shape and colour are first measured and compared with the limits in the manifest.

Light, colour and sharpness are measured within the inner 0.9 of the eye's radius, on small copies
in which the eye has a fixed size. The camera's resolution and the scale of decoding therefore
hardly change them. The size and the shape of the eye are those of its box in the photograph.

A fundus is orange, so a picture of another colour, or of no colour, is refused. There is one
exception. Photographs that a filter has turned to an even grey are accepted, because the 2023 study
that drdeploy follows used such photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageChops

from drdeploy.grader.fundus.eye_copies import COLOUR_PX, DETAIL_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.eye_copies import EyeCopies
    from drdeploy.grader.fundus.field_of_view import FieldOfView
    from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
    from drdeploy.grader.fundus.photograph import DecodedPhotograph

Reason = Literal[
    "too_small", "too_dark", "too_bright", "no_field_of_view", "no_colour", "too_blurred"
]

SENTENCES: dict[Reason, str] = {
    "too_small": "The eye is too small in the photograph",
    "too_dark": "The photograph is too dark",
    "too_bright": "The photograph is overexposed",
    "no_field_of_view": "The picture does not show a whole fundus",
    "no_colour": "The picture has no colour, and only colour photographs can be graded",
    "too_blurred": "The photograph is too blurred",
}

RIM_SHARE = 0.9
"""Only pixels within this share of the eye's radius are measured. The rim beyond is sharp and dark
in every photograph.
"""
CORNER_SHARE = 1.08
"""Share of the radius beyond which a pixel belongs to the corners, which are dark around a disc."""
LIT_SHARE = 0.25
"""A pixel counts as dark if it has less than this share of the mean brightness."""
CLIPPED_LEVEL = 240.0
"""Level of green from which a pixel is overexposed. Green is used because it shows vessels and
lesions. Red is overexposed even in many good photographs.
"""
ROUNDING = 1
"""Differences of this many levels may come from compression alone and do not count as detail."""
LEVELS = np.arange(256)

LEAST_SATURATION = 0.01
"""A picture of a lower saturation has no colour. Compression leaves less in a grey picture."""

GREY_LEVEL, GREY_TOLERANCE = 128.0, 35.0
GREY_SATURATION, GREY_SPREAD = (0.03, 0.25), 0.22
"""A photograph counts as filtered to an even grey if three measurements allow it. Its mean
brightness must be within ``GREY_TOLERANCE`` of ``GREY_LEVEL``, its saturation in the range
``GREY_SATURATION``, and its spread at most ``GREY_SPREAD``. The filter leaves a trace of colour in
the details, which a picture that was taken in grey does not have.
"""


@dataclass(frozen=True)
class PhotographQuality:
    """The measurements of one photograph, which are compared with :class:`GradabilityLimits`.

    Attributes:
        eye_px: Diameter of the eye in the photograph as it was sent, in pixels.
        is_framed: Whether the eye has a dark surround.
        roundness: Shorter side of the eye's box divided by the longer side. If the photograph was
            squashed, the squash is undone first. A side at which the photograph ends does not count
            as short.
        lit_share: Share of the eye that is not dark.
        stray_share: Share of lit pixels in the two darkest of the four corners around the eye's
            disc.
        brightness: Mean of the brightest channel, 0 to 255.
        clipped_share: Share of the eye that is overexposed.
        spread: Standard deviation of the mean of the three channels, divided by ``brightness``.
        saturation: Mean difference of the brightest and the darkest channel, divided by the
            brightness.
        warm_share: Share of the eye's pixels in which red is stronger than green, and green is at
            least 0.8 times as strong as blue.
        redness: Share of red in the sum of all channels.
        hue_spread: Standard deviation of the ratio of green to red.
        sharpness: Mean difference of the green channel from its blurred copy, divided by the mean
            of the green channel. From each difference, one grey level is subtracted first.
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
        """Whether the photograph looks as if a filter such as Graham's was applied to it.

        Such a filter subtracts the local mean colour.
        """
        least, most = GREY_SATURATION
        return (
            abs(self.brightness - GREY_LEVEL) <= GREY_TOLERANCE
            and least <= self.saturation <= most
            and self.spread <= GREY_SPREAD
        )


def find_ungradable_reason(quality: PhotographQuality, limits: GradabilityLimits) -> Reason | None:
    """Return why a photograph cannot be graded; None if it can be graded.

    Light is checked before detail and colour: a dark photograph lacks all three, and the
    photographer should be told about the light.
    """
    if quality.eye_px < limits.min_eye_px:
        return "too_small"
    if quality.brightness < limits.min_brightness:
        return "too_dark"
    if quality.clipped_share > limits.max_clipped_share:
        return "too_bright"
    if not _is_whole_eye(quality, limits) or quality.sharpness > limits.max_sharpness:
        return "no_field_of_view"
    if quality.saturation < LEAST_SATURATION:
        return "no_colour"
    if not _has_colours_of_fundus(quality, limits):
        return "no_field_of_view"
    if quality.sharpness < limits.min_sharpness:
        return "too_blurred"
    return None


def _has_colours_of_fundus(quality: PhotographQuality, limits: GradabilityLimits) -> bool:
    if quality.is_filtered_grey:
        return True
    is_warm = quality.warm_share >= limits.min_warm_share
    return is_warm and (quality.is_framed or _is_evenly_red(quality, limits))


def _is_whole_eye(quality: PhotographQuality, limits: GradabilityLimits) -> bool:
    """Whether the bright part of a picture has the shape of a whole eye that nothing cuts off."""
    return (
        quality.roundness >= limits.min_roundness
        and quality.lit_share >= limits.min_lit_share
        and (not quality.is_framed or quality.stray_share <= limits.max_stray_share)
    )


def _is_evenly_red(quality: PhotographQuality, limits: GradabilityLimits) -> bool:
    """Whether a picture without a dark surround is so evenly red that it may show a fundus."""
    return (
        quality.redness >= limits.unframed_min_redness
        and quality.hue_spread <= limits.unframed_max_hue_spread
        and quality.spread <= limits.unframed_max_spread
        and quality.sharpness <= limits.unframed_max_sharpness
    )


def measure_photograph_quality(photograph: DecodedPhotograph) -> PhotographQuality:
    """Measure a photograph's light, sharpness, shape and colour (2 ms at 512 x 512)."""
    view, copies = photograph.view, photograph.eye_copies
    light, red, green, blue = _split_brightness_and_rgb(copies.colour)
    # What the frame cuts off is black, and must not darken the mean. A photograph that is black
    # all over is measured as it is.
    is_visible = _mask_for_colour() & (light > 0)
    if not is_visible.any():
        is_visible = _mask_for_colour()
    brightness = float(light[is_visible].mean())
    is_lit = light >= LIT_SHARE * brightness
    is_warm = (red > green) & (green >= 0.8 * blue)
    total = red + green + blue
    scale = max(brightness, 1.0)
    colour = light - np.minimum(np.minimum(red, green), blue)
    hue = green / np.maximum(red, 1.0)
    return PhotographQuality(
        eye_px=view.side_px * photograph.reduction,
        is_framed=not view.reaches_all_edges(*photograph.picture.size),
        roundness=view.compute_roundness(*photograph.picture.size),
        lit_share=float(is_lit[_mask_for_colour()].mean()),
        stray_share=_lit_share_of_darkest_corners(is_lit),
        brightness=brightness,
        clipped_share=float((green[is_visible] >= CLIPPED_LEVEL).mean()),
        spread=float(total[is_visible].std()) / 3 / scale,
        saturation=float(colour[is_visible].mean()) / scale,
        warm_share=float(is_warm[is_visible].mean()),
        redness=float(red[is_visible].sum()) / max(float(total[is_visible].sum()), 1.0),
        hue_spread=float(hue[is_visible & is_lit].std()),
        sharpness=_measure_sharpness(copies, view),
    )


def _split_brightness_and_rgb(small: Image.Image) -> tuple[NDArray[np.float32], ...]:
    """Return the brightest channel, red, green and blue of a small copy, in this order."""
    red, green, blue = (np.asarray(channel, dtype=np.float32) for channel in small.split())
    return np.maximum(np.maximum(red, green), blue), red, green, blue


def _measure_sharpness(copies: EyeCopies, view: FieldOfView) -> float:
    """Return how far the green channel is from its blurred copy, on average, relative to its mean.

    The sums are computed from histograms of 256 levels. Pillow makes the histograms in a third of
    the time that NumPy would need to add up the pixels.
    """
    green, blurred = copies.green, copies.finely_blurred
    scale_x, scale_y = DETAIL_PX / view.eye_width_px, DETAIL_PX / view.eye_height_px
    inside = _mask_for_sharpness(
        round(view.width_px * scale_x),
        round(view.height_px * scale_y),
        round(((view.left + view.right) / 2 - view.eye_left) * scale_x - DETAIL_PX / 2),
        round(((view.top + view.bottom) / 2 - view.eye_top) * scale_y - DETAIL_PX / 2),
    )
    counts = ImageChops.difference(green, blurred).histogram(inside)
    levels = green.histogram(inside)
    detail = np.dot(counts, np.maximum(LEVELS - ROUNDING, 0))
    return float(detail / max(np.dot(levels, LEVELS), 1))


@lru_cache(8)
def _mask_for_sharpness(
    width_px: int, height_px: int, right_px: int = 0, lower_px: int = 0
) -> Image.Image:
    """Return a mask of the pixels on which sharpness is measured.

    The rim of the eye and the edges at which the frame cuts the eye off are left out, because they
    would be measured as sharp detail. The middle of the visible part lies ``right_px`` to the right
    of the eye's middle, and ``lower_px`` below it.
    """
    from_middle = np.arange(DETAIL_PX) - (DETAIL_PX - 1) / 2
    across, down = from_middle, from_middle[:, None]
    is_inside = np.hypot(across, down) <= RIM_SHARE * DETAIL_PX / 2
    is_inside &= np.abs(across - right_px) <= RIM_SHARE * width_px / 2
    is_inside &= np.abs(down - lower_px) <= RIM_SHARE * height_px / 2
    return Image.fromarray(np.where(is_inside, np.uint8(255), np.uint8(0)))


@lru_cache(1)
def _mask_for_colour() -> NDArray[np.bool_]:
    """Return a mask of the pixels of the small copy whose colour is measured."""
    return _distances_from_eye_centre() <= RIM_SHARE


def _lit_share_of_darkest_corners(is_lit: NDArray[np.bool_]) -> float:
    """Return the share of lit pixels in the two darkest of the four corners around the disc.

    Only two corners are used, because an eye that the frame cuts off may reach into the others.
    """
    shares = [float(is_lit[corner].mean()) for corner in _masks_of_corners()]
    return sum(sorted(shares)[:2]) / 2


@lru_cache(1)
def _masks_of_corners() -> tuple[NDArray[np.bool_], ...]:
    """Return a mask of the pixels beyond the disc in each of the four corners."""
    half = COLOUR_PX // 2
    beyond = _distances_from_eye_centre() > CORNER_SHARE
    masks = []
    for rows in (slice(half), slice(half, None)):
        for columns in (slice(half), slice(half, None)):
            mask = np.zeros_like(beyond)
            mask[rows, columns] = beyond[rows, columns]
            masks.append(mask)
    return tuple(masks)


@lru_cache(1)
def _distances_from_eye_centre() -> NDArray[np.float64]:
    """Return the distance of each pixel of the small copy from the eye's centre, in radii."""
    y, x = np.mgrid[:COLOUR_PX, :COLOUR_PX] - (COLOUR_PX - 1) / 2
    distance: NDArray[np.float64] = np.hypot(x, y) / (COLOUR_PX / 2)
    return distance

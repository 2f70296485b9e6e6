"""Whether a photograph shows an eye well enough to be graded.

Measured within 0.9 of the eye's radius on a copy whose eye is 256 pixels wide, so that neither
the camera's resolution nor how far the photograph was decoded matters.  A fundus is orange: what
is not, is no fundus, except a photograph that was filtered to even grey (as the data set of the
original study is).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from drdeploy.fundus.field_of_view import FieldOfView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.fundus.gradability_limits import GradabilityLimits

Reason = Literal["too_small", "too_dark", "too_bright", "no_field_of_view", "too_blurred"]

SENTENCES: dict[Reason, str] = {
    "too_small": "The eye is too small in the photograph",
    "too_dark": "The photograph is too dark",
    "too_bright": "The photograph is overexposed",
    "no_field_of_view": "The picture does not show a whole fundus",
    "too_blurred": "The photograph is too blurred",
}

MEASURED_PX = 256
"""Diameter of the eye in the copy."""
COLOUR_PX = 64
"""Colour is measured on a smaller one."""
RIM_SHARE = 0.9
"""Of the radius: beyond lies the rim, where every photograph is sharp and dark."""
BLUR_PX = 2.0
"""Standard deviation of the blurred copy: vessels and lesions are finer."""

GREY_LEVEL, GREY_TOLERANCE = 128.0, 35.0
GREY_SATURATION, GREY_SPREAD = 0.25, 0.2
"""Of a photograph that was filtered to even grey."""


@dataclass(frozen=True)
class Quality:
    """What was measured; shares and levels as :class:`GradabilityLimits` documents them."""

    eye_px: float
    is_framed: bool
    roundness: float
    brightness: float
    saturation: float
    spread: float
    warm_share: float
    sharpness: float

    @property
    def is_filtered_grey(self) -> bool:
        """Whether the local mean was taken away, as Graham's filter does."""
        return (
            abs(self.brightness - GREY_LEVEL) <= GREY_TOLERANCE
            and self.saturation <= GREY_SATURATION
            and self.spread <= GREY_SPREAD
        )


def ungradable_reason(quality: Quality, limits: GradabilityLimits) -> Reason | None:
    """The first limit that is passed, or None."""
    if quality.eye_px < limits.min_eye_px:
        return "too_small"
    if quality.brightness < limits.min_brightness:
        return "too_dark"
    if quality.brightness > limits.max_brightness:
        return "too_bright"
    if not _is_fundus(quality, limits):
        return "no_field_of_view"
    if quality.sharpness < limits.min_sharpness:
        return "too_blurred"
    return None


def _is_fundus(quality: Quality, limits: GradabilityLimits) -> bool:
    if quality.sharpness > limits.max_sharpness or quality.roundness < limits.min_roundness:
        return False
    if quality.is_filtered_grey:
        return True
    return quality.warm_share >= limits.min_warm_share and (
        quality.is_framed
        or (
            quality.sharpness <= limits.unframed_max_sharpness
            and quality.saturation >= limits.unframed_min_saturation
            and quality.spread <= limits.unframed_max_spread
        )
    )


def measure(image: NDArray[np.uint8], view: FieldOfView, *, reduction: float = 1.0) -> Quality:
    """Measure a photograph (about a millisecond).

    Args:
        image: RGB, shape ``(h, w, 3)``.
        view: Where the eye is in it.
        reduction: How many times smaller the image is than the photograph that was sent.
    """
    eye = _eye(image, view)
    levels = np.asarray(eye.reduce(MEASURED_PX // COLOUR_PX), dtype=np.float32)
    inside = levels[_disc_array()]
    inside = inside[inside.max(axis=1) > 0] if inside.any() else inside
    brightest, darkest = inside.max(axis=1), inside.min(axis=1)
    brightness = max(float(brightest.mean()), 1.0)
    red, green, blue = inside.T
    sides = sorted((view.width_px, view.height_px))
    return Quality(
        eye_px=view.side_px * reduction,
        is_framed=view != FieldOfView.whole(image.shape[1], image.shape[0]),
        roundness=sides[0] / max(sides[1], 1.0),
        brightness=float(brightest.mean()),
        saturation=float((brightest - darkest).mean()) / brightness,
        spread=float(inside.mean(axis=1).std()) / brightness,
        warm_share=float(((red > green) & (green >= 0.8 * blue)).mean()),
        sharpness=_sharpness(eye.getchannel("G")),
    )


def _eye(image: NDArray[np.uint8], view: FieldOfView) -> Image.Image:
    """The square around the eye at the measured size, black where it reaches out of the frame."""
    left = round((view.left + view.right - view.side_px) / 2)
    top = round((view.top + view.bottom - view.side_px) / 2)
    side = max(1, round(view.side_px))
    square = Image.fromarray(image).crop((left, top, left + side, top + side))
    return square.resize((MEASURED_PX, MEASURED_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _sharpness(green: Image.Image) -> float:
    blurred = green.filter(ImageFilter.GaussianBlur(BLUR_PX))
    counts = ImageChops.difference(green, blurred).histogram(_disc())
    levels = green.histogram(_disc())
    scale = np.arange(256)
    return float(np.dot(counts, scale) / max(np.dot(levels, scale), 1))


@lru_cache(1)
def _disc() -> Image.Image:
    """Where the eye is measured."""
    disc = Image.new("L", (MEASURED_PX, MEASURED_PX))
    inset = MEASURED_PX / 2 * (1 - RIM_SHARE)
    outer = MEASURED_PX - 1 - inset
    ImageDraw.Draw(disc).ellipse((inset, inset, outer, outer), fill=255)
    return disc


@lru_cache(1)
def _disc_array() -> NDArray[np.bool_]:
    return np.asarray(_disc().resize((COLOUR_PX, COLOUR_PX))) > 127

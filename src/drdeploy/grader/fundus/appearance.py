"""Measure how a photograph looks, and whether it looks unlike a grader's training photographs.

Colour, light and vignetting describe the camera. Detail is measured at four sizes. It describes the
camera's resolution, focus and field of view, because vessels look coarser in a narrower field. The
brightest and the darkest spots, also measured at four sizes, describe what is unusual in the eye.
Each measurement is a logarithm, either of the mean brightness or of a ratio of two values within
the eye. The eye is scaled to a fixed size, so that the resolution of the file does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import ceil, floor, log
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageFilter

from drdeploy.grader.fundus.eye_copies import COLOUR_PX, DETAIL_PX, FINE_BLUR_PX
from drdeploy.grader.fundus.familiarity import BLURS_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from drdeploy.grader.fundus.eye_copies import EyeCopies
    from drdeploy.grader.fundus.familiarity import Familiarity

RIM_SHARE, DETAIL_RIM_SHARE = 0.9, 0.85
"""Colour is measured within the first of these shares of the eye's radius, and detail within the
second.
"""
CORE_SHARE, RING_SHARE = 0.4, 0.65
"""Shares of the eye's radius. Vignetting is measured as the mean light beyond the second share,
divided by the mean light within the first share.
"""
SPOT_SHARE = 0.005
"""This share of the eye's pixels counts as the brightest spots, and the same share as the darkest.
"""
SMALLEST = 1e-4
"""The smallest value that a logarithm is taken of. It is added to the values of detail, and
replaces smaller values of the brightest and darkest spots.
"""

_DIFFERENCES = np.arange(-255, 256)
_SIZES = np.abs(_DIFFERENCES)


def measure_appearance(copies: EyeCopies) -> NDArray[np.float64]:
    """Return a photograph's measurements in the order of :data:`MEASUREMENTS`."""
    return np.array([*_measure_colour(copies.colour), *_measure_detail(copies)])


def is_unlike_training(copies: EyeCopies, familiarity: Familiarity) -> bool:
    """Tell whether a photograph differs more from the training photographs than allowed."""
    measured = measure_appearance(copies)
    return compute_distance_of_measurements(measured, familiarity) > familiarity.limit


def compute_distance_of_measurements(
    measured: NDArray[np.float64], familiarity: Familiarity
) -> float:
    """Compute how far a photograph is from the training photographs; see :class:`Familiarity`."""
    difference = measured - np.asarray(familiarity.means)
    # Sums of products and no matrix product: a lean image has only a part of BLAS.
    along = (np.asarray(familiarity.directions) * difference).sum(axis=1)
    return float(np.sqrt((along * along).mean()))


def _measure_colour(copy: Image.Image) -> list[float]:
    # One channel after the other: NumPy takes several times as long over an axis of three.
    channels = [np.asarray(channel, np.float64) for channel in copy.split()]
    light = sum(channels[1:], channels[0]) / 3
    is_inside = _mask_of_disc(COLOUR_PX, RIM_SHARE) & (light > 0)
    if not is_inside.any():  # a black photograph
        is_inside = _mask_of_disc(COLOUR_PX, RIM_SHARE)
    inside = [channel[is_inside] for channel in channels]
    red, green, blue = (float(channel.mean()) + 2 for channel in inside)
    spreads = [float(channel.std()) + 1 for channel in inside]
    core = light[is_inside & _mask_of_disc(COLOUR_PX, CORE_SHARE)]
    ring = light[is_inside & ~_mask_of_disc(COLOUR_PX, RING_SHARE)]
    vignetting = (_mean_or_zero(ring) + 2) / (_mean_or_zero(core) + 2)
    return [
        log((red + green + blue) / 3),
        log(red / green),
        log(blue / green),
        *(log(spread / mean) for spread, mean in zip(spreads, (red, green, blue), strict=True)),
        log(vignetting),
    ]


def _measure_detail(copies: EyeCopies) -> list[float]:
    # The finest blurs last: the gradability check makes one of them, maybe in another thread.
    blurred = [_blur_green(copies, blur_px) for blur_px in reversed(BLURS_PX)]
    levels = [copies.green, *reversed(blurred)]
    pixels = [np.asarray(level) for level in levels]
    is_inside = _mask_of_disc(DETAIL_PX, DETAIL_RIM_SHARE) & (pixels[0] > 0)
    if not is_inside.any():
        is_inside = _mask_of_disc(DETAIL_PX, DETAIL_RIM_SHARE)
    inside = [level[is_inside] for level in pixels]
    count = inside[0].size
    brightness = int(inside[0].sum()) / count + 1
    detail, bright, dark = [], [], []
    at = int(SPOT_SHARE * count)
    for finer, coarser in pairwise(inside):
        # Counting the 511 possible differences is as fast on every processor; sorting the pixels is
        # fast only on the newest.
        counts = np.bincount(np.subtract(finer, coarser, dtype=np.int16) + 255, minlength=511)
        darkest, brightest = np.searchsorted(counts.cumsum(), (at, count - 1 - at), side="right")
        detail.append(log(float(np.dot(counts, _SIZES)) / count / brightness + SMALLEST))
        bright.append(log(max(float(_DIFFERENCES[brightest]) / brightness, SMALLEST)))
        dark.append(log(max(-float(_DIFFERENCES[darkest]) / brightness, SMALLEST)))
    return [*detail, *bright, *dark]


def _blur_green(copies: EyeCopies, blur_px: float) -> Image.Image:
    """Return the green copy, blurred inside the disc on which detail is measured."""
    if blur_px == FINE_BLUR_PX:  # the gradability check has made this one
        return copies.finely_blurred
    # Pillow blurs with three boxes, each of which reaches one standard deviation. What lies beyond
    # the disc and this reach changes nothing within the disc.
    left_out = max(0, floor((1 - DETAIL_RIM_SHARE) * DETAIL_PX / 2 - 3 * ceil(blur_px)))
    end = DETAIL_PX - left_out
    inner = copies.green.crop((left_out, left_out, end, end))
    blurred = inner.filter(ImageFilter.GaussianBlur(blur_px))
    return blurred.crop((-left_out, -left_out, end, end))


def _mean_or_zero(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else 0.0


@lru_cache(8)
def _mask_of_disc(side_px: int, share: float) -> NDArray[np.bool_]:
    """Return a mask of a centred disc. Its diameter is the given share of the picture's side."""
    from_middle = np.abs(np.arange(side_px) - (side_px - 1) / 2) / (side_px / 2)
    mask: NDArray[np.bool_] = np.hypot(from_middle, from_middle[:, None]) <= share
    return mask

"""Paint the surround of the eye black.

The surround differs between cameras, and software may have filled it with grey or white. Once it is
black, it does not disturb what is measured in the eye.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from drdeploy.grader.fundus.field_of_view import FieldOfView

SURE_RADIUS = 0.97
"""A pixel counts as surround only if it lies beyond this share of the eye's radius, or beyond the
visible part of the eye.
"""
MIXED_PX = 2
"""Up to this many pixels between the surround and the eye may have a colour mixed from both."""
TOLERANCE = 30
"""A pixel counts as surround only if each channel differs from the surround's colour by at most
this much, on a scale from 0 to 255.
"""

STRIP_PX = 64
"""The number of rows that are painted at a time."""


def paint_surround_black(picture: Image.Image, view: FieldOfView) -> Image.Image:
    """Return a copy of the picture in which the surround of the eye is black.

    A padding around the photograph is painted black, too. Within the photograph, only pixels with
    the colour of the surround are painted, and the pixels next to them, whose colour may be mixed
    with that of the eye. If everything outside the disc were painted, a picture of something else
    could turn into a disc that looks like an eye.
    """
    if view.photograph is not None:
        left, top, right, bottom = (round(edge) for edge in view.photograph)
        framed = Image.new("RGB", picture.size)
        framed.paste(picture.crop((left, top, right, bottom)), (left, top))
        picture = framed
    if view.surround is None:
        return picture
    width_px, height_px = picture.size
    across = np.arange(width_px) + 0.5
    down = np.arange(height_px) + 0.5
    from_middle_x = (across - view.eye_left) / (view.eye_width_px / 2) - 1
    from_middle_y = (down - view.eye_top) / (view.eye_height_px / 2) - 1
    is_beyond_x = (across < view.left + 1) | (across > view.right - 1)
    is_beyond_y = (down < view.top + 1) | (down > view.bottom - 1)
    bounds = [
        (max(0, min(255, round(level - TOLERANCE))), max(0, min(255, round(level + TOLERANCE))))
        for level in view.surround
    ]
    pixels = np.asarray(picture)
    is_surround = np.empty((height_px, width_px), np.uint8)
    # In strips, because a mask of a large picture would take several times the picture's memory.
    for first in range(0, height_px, STRIP_PX):
        rows = slice(first, first + STRIP_PX)
        strip = pixels[rows]
        found = from_middle_x**2 + from_middle_y[rows, None] ** 2 > SURE_RADIUS**2
        found |= is_beyond_x | is_beyond_y[rows, None]
        for channel, (low, high) in enumerate(bounds):
            found &= (strip[:, :, channel] >= low) & (strip[:, :, channel] <= high)
        is_surround[rows] = found
    is_surround *= 255
    widened = Image.fromarray(is_surround).filter(ImageFilter.MaxFilter(2 * MIXED_PX + 1))
    painted = picture.copy()
    painted.paste((0, 0, 0), mask=widened)
    return painted

"""Find the eye within the black surround of a fundus photograph.

A fundus camera lights a disc; around it the picture is black but for sensor noise.  How wide that
surround is differs between cameras and says nothing about the eye, so it is cut away.

The disc is found on a small copy.  Of each column, and of each row, the share of lit pixels is
taken; the eye ends where this profile falls below a tenth of its maximum.  The crossing is
interpolated between two pixels, so that the answer hardly depends on the resolution that the
photograph was decoded at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEARCH_SIDE_PX = 256
"""Longer side of the copy that is searched."""

DARK_SHARE = 0.35
"""The surround must be darker than this share of the lit part, or there is none."""

LIT_SHARE = 0.12
"""A pixel is lit if it is brighter than the surround by this share of the contrast (by more where
the surround is noisy)."""

PROFILE_SHARE = 0.1
"""A row or column belongs to the eye if it has more than this share of the lit pixels of the one
with the most."""

MIN_FILL = 0.6
"""Least share of the box that is lit.  A disc fills pi/4 of its box; more if the frame cuts it off,
less if a part of it is dark."""

MIN_SIDE_SHARE = 0.25
"""The eye must take at least this share of the frame's shorter side."""

MIN_CONTRAST = 10.0
"""Least difference between the surround and the lit part, of 255."""


@dataclass(frozen=True)
class FieldOfView:
    """The box around the visible part of the eye, in pixels of the frame.

    Edges lie between pixels and may be fractions.  The eye itself is the disc around the box's
    centre with the diameter ``side_px``; where the camera cuts it off above and below, it reaches
    beyond the box.
    """

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def whole(cls, width_px: int, height_px: int) -> FieldOfView:
        """Return the whole frame as the view."""
        return cls(0.0, 0.0, float(width_px), float(height_px))

    def shrunk(self, factor: float) -> FieldOfView:
        """The same view in a frame that is that many times smaller."""
        return FieldOfView(
            self.left / factor, self.top / factor, self.right / factor, self.bottom / factor
        )

    def enlarged(self, factor: float, width_px: int, height_px: int) -> FieldOfView:
        """The same view in a frame that is that many times larger, and no further than its edges.

        Sides are rounded up when a photograph is decoded smaller, so that the view may reach a
        fraction of a pixel beyond the larger frame.
        """
        return FieldOfView(
            self.left * factor,
            self.top * factor,
            min(self.right * factor, width_px),
            min(self.bottom * factor, height_px),
        )

    @property
    def width_px(self) -> float:
        """Width of the box."""
        return self.right - self.left

    @property
    def height_px(self) -> float:
        """Height of the box."""
        return self.bottom - self.top

    @property
    def side_px(self) -> float:
        """Side of the square around the whole eye, which is the eye's diameter."""
        return max(self.width_px, self.height_px)


def field_of_view(image: NDArray[np.uint8]) -> FieldOfView:
    """Find the eye; the whole frame if there is no dark surround around a bright disc.

    Args:
        image: RGB, shape ``(h, w, 3)``.
    """
    height_px, width_px = image.shape[:2]
    whole = FieldOfView.whole(width_px, height_px)
    lit = _lit_pixels(_brightness(image))
    if lit is None:
        return whole
    across = _extent_of_eye(lit.mean(axis=0))
    down = _extent_of_eye(lit.mean(axis=1))
    found = FieldOfView(
        across[0] * width_px, down[0] * height_px, across[1] * width_px, down[1] * height_px
    )
    return found if _is_plausible(found, whole, lit) else whole


def _brightness(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightest channel of each pixel of a small copy."""
    height_px, width_px = image.shape[:2]
    scale = min(1.0, SEARCH_SIDE_PX / max(height_px, width_px))
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    small = Image.fromarray(image)
    if size != small.size:
        small = small.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    red, green, blue = small.split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))


def _lit_pixels(brightness: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Which pixels are lit; None if the corners are not dark."""
    corners = _corners(brightness)
    # Half the distance between the 16th and 84th percentile is one standard deviation of normal
    # noise. Unlike the standard deviation, it is not disturbed by a label that a camera prints
    # into a corner.
    low, surround, high = _percentiles(corners, 16, 50, 84)
    (bright,) = _percentiles(brightness, 95)
    contrast = bright - surround
    if contrast < MIN_CONTRAST or surround > DARK_SHARE * bright:
        return None
    threshold = surround + max(LIT_SHARE * contrast, 2.0 * (high - low))
    # Rounding the threshold down selects the same pixels, and integers compare ten times as fast.
    return brightness > int(min(threshold, surround + contrast / 2))


def _percentiles(values: NDArray[np.uint8], *percents: float) -> list[float]:
    """Compute the same as ``np.percentile`` without sorting: there are only 256 values to count."""
    up_to = np.cumsum(Image.fromarray(values).histogram())
    places = np.array(percents) / 100.0 * (values.size - 1)
    below = places.astype(np.intp)
    above = np.minimum(below + 1, values.size - 1)
    lower, upper = (np.searchsorted(up_to, rank, side="right") for rank in (below, above))
    levels: list[float] = (lower + (places - below) * (upper - lower)).tolist()
    return levels


def _corners(brightness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The four corners of the frame, each a sixteenth of the shorter side: dark around any disc."""
    side = max(1, min(brightness.shape) // 16)
    top, bottom = brightness[:side], brightness[-side:]
    patches = (top[:, :side], top[:, -side:], bottom[:, :side], bottom[:, -side:])
    return np.vstack(patches)


def _extent_of_eye(profile: NDArray[np.float64]) -> tuple[float, float]:
    """Where the profile rises above its level and falls below it, as shares of its length."""
    level = PROFILE_SHARE * float(profile.max())
    below = np.flatnonzero(profile <= level)
    peak = int(profile.argmax())
    before, after = below[below < peak], below[below > peak]
    start = _crossing(profile, int(before[-1]), 1, level) if before.size else 0.0
    end = _crossing(profile, int(after[0]), -1, level) if after.size else float(profile.size)
    return start / profile.size, end / profile.size


def _crossing(profile: NDArray[np.float64], below: int, step: int, level: float) -> float:
    """Interpolate where the profile passes the level, from the last pixel below it to the next."""
    rise = float(profile[below + step] - profile[below])
    return below + 0.5 + step * (level - float(profile[below])) / rise


def _is_plausible(found: FieldOfView, whole: FieldOfView, lit: NDArray[np.bool_]) -> bool:
    if min(found.width_px, found.height_px) < MIN_SIDE_SHARE * min(whole.width_px, whole.height_px):
        return False
    rows, columns = lit.shape
    top, bottom = (round(edge / whole.height_px * rows) for edge in (found.top, found.bottom))
    left, right = (round(edge / whole.width_px * columns) for edge in (found.left, found.right))
    inside = lit[top:bottom, left:right]
    return inside.size > 0 and float(inside.mean()) >= MIN_FILL

"""Find the eye within the black surround of a fundus photograph.

A fundus camera lights a disc; what lies around it is black but for sensor noise.  How wide the
surround is differs between cameras and tells nothing of the eye, so it is cut away.  The disc is
found on a small copy: where the profile of lit pixels over the columns, and over the rows, falls
below a tenth of its maximum, with the crossing interpolated, so that the answer hardly
depends on the resolution that the photograph was decoded at.
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
"""A surround is a surround if it is darker than this share of the lit part."""

LIT_SHARE = 0.12
"""Lit is what is brighter than the surround by this share of the contrast, noise permitting."""

PROFILE_SHARE = 0.1
"""A row or column belongs to the eye if it has this share of the lit pixels of the fullest."""

MIN_FILL = 0.6
"""Share of its bounding box that a disc fills: pi/4, more if cut off, less if part is dark."""

MIN_SIDE_SHARE = 0.25
"""The eye takes at least this share of the frame's shorter side."""

MIN_CONTRAST = 10.0
"""Between surround and lit part, of 255; below it there is nothing to see."""


@dataclass(frozen=True)
class FieldOfView:
    """The box that holds the eye, in pixels of the frame, edges between pixels.

    The eye itself is the disc around the box's centre with ``radius_px``; where the camera cuts
    the disc off above and below, it reaches beyond the box.
    """

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def whole(cls, width_px: int, height_px: int) -> FieldOfView:
        """The frame itself."""
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
        """Side of the square that holds the eye, which is its diameter."""
        return max(self.width_px, self.height_px)


def field_of_view(image: NDArray[np.uint8]) -> FieldOfView:
    """Where the eye is; the whole frame where there is no dark surround around a bright disc.

    Args:
        image: RGB, shape ``(h, w, 3)``.
    """
    height_px, width_px = image.shape[:2]
    whole = FieldOfView.whole(width_px, height_px)
    lit = _lit(_brightness(image))
    if lit is None:
        return whole
    across = _extent(lit.mean(axis=0))
    down = _extent(lit.mean(axis=1))
    found = FieldOfView(
        across[0] * width_px, down[0] * height_px, across[1] * width_px, down[1] * height_px
    )
    return found if _is_plausible(found, whole, lit) else whole


def _brightness(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightest channel of a small copy, averaged over each pixel's area."""
    height_px, width_px = image.shape[:2]
    scale = min(1.0, SEARCH_SIDE_PX / max(height_px, width_px))
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    small = Image.fromarray(image)
    if size != small.size:
        small = small.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    red, green, blue = small.split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))


def _lit(brightness: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Which pixels are lit; None where the corners are not dark."""
    corners = _corners(brightness)
    # Half the distance between the 16th and 84th percentile: one standard deviation of noise,
    # whatever the labels that some cameras print into a corner.
    low, surround, high = _percentiles(corners, 16, 50, 84)
    (bright,) = _percentiles(brightness, 95)
    contrast = bright - surround
    if contrast < MIN_CONTRAST or surround > DARK_SHARE * bright:
        return None
    threshold = surround + max(LIT_SHARE * contrast, 2.0 * (high - low))
    # Rounded down it selects the same pixels, and integers compare ten times as fast.
    return brightness > int(min(threshold, surround + contrast / 2))


def _percentiles(values: NDArray[np.uint8], *percents: float) -> list[float]:
    """As ``np.percentile``, counted: there are 256 values, and nothing needs to be sorted."""
    up_to = np.cumsum(Image.fromarray(values).histogram())
    places = np.array(percents) / 100.0 * (values.size - 1)
    below = places.astype(np.intp)
    above = np.minimum(below + 1, values.size - 1)
    lower, upper = (np.searchsorted(up_to, rank, side="right") for rank in (below, above))
    levels: list[float] = (lower + (places - below) * (upper - lower)).tolist()
    return levels


def _corners(brightness: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The corners of the frame, each a sixteenth of the shorter side: dark around any disc."""
    side = max(1, min(brightness.shape) // 16)
    top, bottom = brightness[:side], brightness[-side:]
    patches = (top[:, :side], top[:, -side:], bottom[:, :side], bottom[:, -side:])
    return np.vstack(patches)


def _extent(profile: NDArray[np.float64]) -> tuple[float, float]:
    """Start and end, as shares of the length, of the stretch around the profile's maximum."""
    level = PROFILE_SHARE * float(profile.max())
    below = np.flatnonzero(profile <= level)
    peak = int(profile.argmax())
    before, after = below[below < peak], below[below > peak]
    start = _crossing(profile, int(before[-1]), 1, level) if before.size else 0.0
    end = _crossing(profile, int(after[0]), -1, level) if after.size else float(profile.size)
    return start / profile.size, end / profile.size


def _crossing(profile: NDArray[np.float64], below: int, step: int, level: float) -> float:
    """Where the profile passes the level between a pixel and the next one towards the eye."""
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

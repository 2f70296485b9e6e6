"""Find the eye within the surround of a fundus photograph.

A fundus camera lights a disc, around which the picture is black except for sensor noise. The
surround differs between cameras and says nothing about the eye, so it is cut away. If software has
filled the surround, it may also be grey or white. The eye is then where the picture differs from
the surround.

The disc is found on a small copy of the picture. For each column, the share of lit pixels is
computed; these shares form one profile. The shares in the rows form another. The eye ends where a
profile falls below a tenth of its maximum. The exact position is interpolated between two pixels,
so that it hardly depends on the scale at which the photograph was decoded.

Some collections squash every photograph to the same width and height, which turns the disc into an
ellipse. An ellipse is fitted to the outline of the lit part. Points at the edges of the box around
the lit part are not used, because the frame may cut the disc there. If the ellipse is clearly not a
circle, the squash is undone when the eye is cut out. If the frame cuts the eye off on several
sides, the ellipse also shows where the whole eye is.

If software has added an even padding around a photograph, the photograph within it is searched. If
the eye is small in its frame, a box around it is searched again. If the frame cuts off one side of
the eye, only two corners of the frame show the surround, and the search uses only these.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil, floor, inf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops

from drdeploy.grader.fundus.eye_outline import (
    compute_mean_distance,
    fit_ellipse,
    trace_outline,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.eye_outline import Ellipse

SEARCH_SIDE_PX = 256
"""Longer side of the copy that is searched."""

DARK_SHARE = 0.35
"""A surround is dark if its brightness is at most this share of the lit part's brightness."""

LIT_SHARE = 0.12
"""A pixel is lit if it is brighter than the surround by this share of the contrast, which is the
difference in brightness between the lit part and the surround. If the surround is noisy, a pixel
must be brighter still.
"""

PROFILE_SHARE = 0.1
"""A row or column belongs to the eye if its number of lit pixels is more than this share of the
maximum over all rows or columns."""

MIN_FILL = 0.6
"""At least this share of the box must be lit. A disc fills pi/4 of its box. The share is larger if
the frame cuts the disc off, and smaller if a part of the disc is dark.
"""

MIN_SIDE_SHARE = 0.25
"""The eye must be at least this large, as a share of the frame's shorter side."""

MIN_CONTRAST = 10.0
"""The smallest difference between the surround and the lit part, on a scale from 0 to 255."""

BLACK_LEVEL = 16.0
"""A surround that is brighter than this level, on a scale from 0 to 255, is painted black before
anything is measured."""

MAX_SURROUND_COLOUR = 24.0
MAX_SURROUND_SPREAD = 12.0
"""A surround that is not dark must be an even grey.

Its channels may differ from each other by at most ``MAX_SURROUND_COLOUR`` levels of 255.
``MAX_SURROUND_SPREAD`` is the largest standard deviation of its pixels, and also the largest
difference between one corner's colour and the colour of the surround.
"""

LEAST_SQUASH = 0.07
"""An ellipse whose axes differ by a smaller share than this counts as a circle."""
LEAST_SHIFT = 0.05
"""If the fitted ellipse differs by more than this share of its size from the disc around the box,
the frame has cut the eye off so much that the ellipse and not the box says where the whole eye is.
"""
MOST_FRAMES = 3
"""The largest number of times that the eye is searched: in the frame, then within a padding."""
SMALL_EYE_SHARE = 0.75
SMALL_EYE_MARGIN = 0.1
"""An eye that is smaller than the first share of the frame is searched again in a box around it.

The box is larger than the eye by the second share of the eye on each side.
"""

MAX_ERROR_OF_CIRCLE_TO_ELLIPSE = 1.2
MAX_GROWTH_OF_CIRCLE = 1.35
"""A circle is preferred to an ellipse if two conditions are met. Its distance from the outline is
at most the first number times that of the ellipse, and the whole eye would be at most the second
number times as large as the longer side of its visible part.
"""

ALL_CORNERS = (0, 1, 2, 3)
"""The upper left, upper right, lower left and lower right corner of the frame."""
CORNERS_BESIDE_CUT = ((0, 1), (2, 3), (0, 2), (1, 3))
"""The corners that show the surround if the frame cuts the eye off on one side: the upper, lower,
left or right ones.
"""

MAX_GROWTH = 1.8
"""The whole eye is at most this many times as large as the disc around the box."""


@dataclass(frozen=True)
class FieldOfView:
    """The box around the visible part of the eye, in pixels of the frame.

    The edges of the box may be fractions of a pixel.  The eye is the disc around the box's centre
    with the diameter ``side_px``. If the frame cuts the eye off above and below, the disc is larger
    than the box. If the frame cuts off so much that the box does not show where the whole eye would
    be, ``whole_eye`` says it.

    Attributes:
        left: Left edge of the box.
        top: Upper edge of the box.
        right: Right edge of the box.
        bottom: Lower edge of the box.
        aspect: Width of the eye divided by its height, if the photograph was squashed; otherwise 1.
        surround: Red, green and blue of the surround, 0 to 255, if it is grey or white. None if the
            surround is black, or if the eye has no surround.
        whole_eye: Centre (x, then y) and height of the whole eye, which may extend beyond the
            frame. None if the whole eye lies around the box's centre and is as wide or as high as
            the box.
        photograph: Left, upper, right and lower edge of the photograph within the frame, in whole
            pixels, if a padding surrounds it. None if the photograph fills the frame.
    """

    left: float
    top: float
    right: float
    bottom: float
    aspect: float = 1.0
    surround: tuple[float, float, float] | None = None
    whole_eye: tuple[float, float, float] | None = None
    photograph: tuple[float, float, float, float] | None = None

    @classmethod
    def covering_whole_frame(cls, width_px: int, height_px: int) -> FieldOfView:
        """Return a field of view that covers the whole frame."""
        return cls(0.0, 0.0, float(width_px), float(height_px))

    def scaled_down(self, factor: float) -> FieldOfView:
        """Return the field of view in a frame that is smaller by ``factor``."""
        return replace(
            self,
            left=self.left / factor,
            top=self.top / factor,
            right=self.right / factor,
            bottom=self.bottom / factor,
            **self._scale_optional_fields(1 / factor),
        )

    def scaled_up(self, factor: float, width_px: int, height_px: int) -> FieldOfView:
        """Return the field of view in a frame larger by ``factor``, cut off at the frame's edges.

        When a photograph is decoded at a smaller size, its sides are rounded up to whole pixels. A
        field of view that is scaled up again could therefore extend beyond the frame by a fraction
        of a pixel. The field of view is cut off at the frame's edges.
        """
        return replace(
            self,
            left=self.left * factor,
            top=self.top * factor,
            right=min(self.right * factor, width_px),
            bottom=min(self.bottom * factor, height_px),
            **self._scale_optional_fields(factor),
        )

    def _scale_optional_fields(self, factor: float) -> dict[str, Any]:
        fields = {"whole_eye": self.whole_eye, "photograph": self.photograph}
        return {
            name: None if value is None else tuple(number * factor for number in value)
            for name, value in fields.items()
        }

    def moved(self, right_px: int, down_px: int) -> FieldOfView:
        """Return the field of view in a larger frame, in which this frame lies further inside."""
        move_x, move_y = float(right_px), float(down_px)
        eye, inner = self.whole_eye, self.photograph
        return replace(
            self,
            left=self.left + move_x,
            top=self.top + move_y,
            right=self.right + move_x,
            bottom=self.bottom + move_y,
            whole_eye=eye and (eye[0] + move_x, eye[1] + move_y, eye[2]),
            photograph=inner
            and (inner[0] + move_x, inner[1] + move_y, inner[2] + move_x, inner[3] + move_y),
        )

    def reaches_all_edges(self, width_px: int, height_px: int) -> bool:
        """Whether the eye reaches all edges of the photograph, in a frame of the given size."""
        box = (self.left, self.top, self.right, self.bottom)
        return box == (self.photograph or (0.0, 0.0, float(width_px), float(height_px)))

    @property
    def width_px(self) -> float:
        """Width of the box."""
        return self.right - self.left

    @property
    def height_px(self) -> float:
        """Height of the box."""
        return self.bottom - self.top

    @property
    def eye_height_px(self) -> float:
        """Height of the whole eye; the box may contain only a part of the eye."""
        if self.whole_eye is not None:
            return self.whole_eye[2]
        return max(self.width_px / self.aspect, self.height_px)

    @property
    def eye_width_px(self) -> float:
        """Width of the whole eye; the box may contain only a part of the eye."""
        return self.eye_height_px * self.aspect

    @property
    def eye_left(self) -> float:
        """Left edge of the box around the whole eye; negative if it lies beyond the frame."""
        if self.whole_eye is not None:
            return self.whole_eye[0] - self.eye_width_px / 2
        return (self.left + self.right - self.eye_width_px) / 2

    @property
    def eye_top(self) -> float:
        """Upper edge of the box around the whole eye; negative if it lies beyond the frame."""
        if self.whole_eye is not None:
            return self.whole_eye[1] - self.eye_height_px / 2
        return (self.top + self.bottom - self.eye_height_px) / 2

    @property
    def side_px(self) -> float:
        """The longer side of the box around the whole eye: the diameter, if the eye is a circle."""
        return max(self.eye_width_px, self.eye_height_px)

    def compute_roundness(self, width_px: int, height_px: int) -> float:
        """Return the shorter side of the eye's box divided by the longer side, in a frame.

        A squash is undone first. A side at which the photograph ends does not count as short.
        """
        left, top, right, bottom = self.photograph or (0.0, 0.0, float(width_px), float(height_px))
        shares = (
            self.width_px / max(min(self.eye_width_px, right - left), 1.0),
            self.height_px / max(min(self.eye_height_px, bottom - top), 1.0),
        )
        return min(shares) / max(*shares, 1e-9)


def find_field_of_view(picture: Image.Image) -> FieldOfView:
    """Find the eye in a picture in mode ``RGB``.

    If no disc that differs from a dark or even grey surround is found, the whole frame is returned.
    """
    return _search_frame(picture, MOST_FRAMES)


def _search_frame(picture: Image.Image, frames_left: int) -> FieldOfView:
    """Find the eye; look again, and closer, at a photograph within a padding or at a small eye."""
    width_px, height_px = picture.size
    small = _make_small_copy(picture)
    red, green, blue = small.split()
    brightness = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
    lit = _mask_lit_pixels(brightness)
    if lit is None:
        lit = _mask_pixels_unlike_grey_surround(np.asarray(small))
    found, error = (None, inf) if lit is None else _find_eye_in_mask(lit, picture.size)
    if lit is None or found is None or _is_a_corner_lit(lit):
        # An eye in two of the corners hides the surround, or seems to make it brighter.
        beside = _find_eye_cut_on_one_side(small, brightness, picture.size, error)
        if beside is not None:
            return beside
    if lit is None or found is None:
        return FieldOfView.covering_whole_frame(width_px, height_px)
    if frames_left > 1 and _are_corners_of_box_lit(found, lit, picture.size):
        # The pixels at its edges may have a colour mixed from the padding's.
        mixed = max(width_px, height_px) / max(small.size)
        left, top = (ceil(edge + mixed) if edge > 0 else 0 for edge in (found.left, found.top))
        right = floor(found.right - mixed) if found.right < width_px else width_px
        bottom = floor(found.bottom - mixed) if found.bottom < height_px else height_px
        if right - left > width_px / 8 and bottom - top > height_px / 8:
            inner = _search_frame(picture.crop((left, top, right, bottom)), frames_left - 1)
            whole = (0.0, 0.0, float(right - left), float(bottom - top))
            return replace(inner, photograph=inner.photograph or whole).moved(left, top)
    if frames_left > 1 and found.side_px < SMALL_EYE_SHARE * max(picture.size):
        margin = round(SMALL_EYE_MARGIN * found.side_px)
        left, top = max(0, floor(found.left) - margin), max(0, floor(found.top) - margin)
        right = min(width_px, ceil(found.right) + margin)
        bottom = min(height_px, ceil(found.bottom) + margin)
        closer = _search_frame(picture.crop((left, top, right, bottom)), 1)
        if not closer.reaches_all_edges(right - left, bottom - top):
            return closer.moved(left, top)
    return replace(found, surround=_find_colour_of_lit_surround(small, brightness, ALL_CORNERS))


def _find_eye_cut_on_one_side(
    small: Image.Image, brightness: NDArray[np.uint8], size_px: tuple[int, int], error: float
) -> FieldOfView | None:
    """Find an eye that hides the surround in two corners of the frame; None without such an eye.

    The eye must be clearly larger than what the frame shows of it, and an ellipse must fit its
    outline with an error smaller than ``error``.
    """
    best = None
    for corners in CORNERS_BESIDE_CUT:
        lit = _mask_lit_pixels(brightness, corners)
        if lit is None:
            lit = _mask_pixels_unlike_grey_surround(np.asarray(small), corners)
        found, its_error = (None, inf) if lit is None else _find_eye_in_mask(lit, size_px)
        if found is not None and found.whole_eye is not None and its_error < error:
            surround = _find_colour_of_lit_surround(small, brightness, corners)
            best, error = replace(found, surround=surround), its_error
    return best


def _is_a_corner_lit(lit: NDArray[np.bool_]) -> bool:
    side = max(1, min(lit.shape) // 16)
    return any(
        bool(lit[rows, columns].any())
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    )


def _find_eye_in_mask(
    lit: NDArray[np.bool_], size_px: tuple[int, int]
) -> tuple[FieldOfView | None, float]:
    """Find the eye among the lit pixels of the small copy; None if nothing looks like an eye.

    The second value is the mean distance of the outline from the fitted ellipse, as a share of its
    radius. It is 0 if the ellipse is the disc around the box, and infinite if no ellipse fits.
    """
    width_px, height_px = size_px
    whole = FieldOfView.covering_whole_frame(width_px, height_px)
    across = _find_extent_of_eye(_compute_lit_shares(lit, axis=0))
    down = _find_extent_of_eye(_compute_lit_shares(lit, axis=1))
    found = FieldOfView(
        across[0] * width_px, down[0] * height_px, across[1] * width_px, down[1] * height_px
    )
    if not _is_plausible_eye(found, whole, lit):
        return None, inf
    return _add_shape_of_whole_eye(found, whole, lit, across, down)


def _are_corners_of_box_lit(
    found: FieldOfView, lit: NDArray[np.bool_], size_px: tuple[int, int]
) -> bool:
    """Whether all corners of the box are lit: then it holds a photograph, and not just an eye."""
    rows, columns = lit.shape
    scale_x, scale_y = columns / size_px[0], rows / size_px[1]
    left, right = ceil(found.left * scale_x) + 1, floor(found.right * scale_x) - 2
    top, bottom = ceil(found.top * scale_y) + 1, floor(found.bottom * scale_y) - 2
    return all(lit[row, column] for row in (top, bottom) for column in (left, right))


def _add_shape_of_whole_eye(
    found: FieldOfView,
    whole: FieldOfView,
    lit: NDArray[np.bool_],
    across: tuple[float, float],
    down: tuple[float, float],
) -> tuple[FieldOfView, float]:
    """Add the squash of the eye and, where the box does not show them, its place and size."""
    x, y = trace_outline(lit, across, down)
    ellipse = fit_ellipse(x, y)
    fitted = found if ellipse is None else _add_ellipse(found, whole, lit, ellipse)
    if ellipse is not None and fitted.aspect == 1.0 and fitted.whole_eye is None:
        return found, 0.0
    # Short arcs fit many ellipses nearly as well. A circle is then more probable than a squash.
    circle = fit_ellipse(x, y, is_circle=True)
    if circle is not None:
        round_eye = _add_ellipse(found, whole, lit, circle)
        largest = MAX_GROWTH_OF_CIRCLE * max(found.width_px, found.height_px)
        distance = compute_mean_distance(circle, x, y)
        if round_eye.side_px <= largest and (
            ellipse is None
            or distance <= MAX_ERROR_OF_CIRCLE_TO_ELLIPSE * compute_mean_distance(ellipse, x, y)
        ):
            return round_eye, distance
    return (fitted, compute_mean_distance(ellipse, x, y)) if ellipse else (fitted, inf)


def _add_ellipse(
    found: FieldOfView, whole: FieldOfView, lit: NDArray[np.bool_], ellipse: Ellipse
) -> FieldOfView:
    rows, columns = lit.shape
    # The small copy may be squashed a little by rounding its sides.
    scale_x, scale_y = whole.width_px / columns, whole.height_px / rows
    aspect = ellipse.aspect * scale_x / scale_y
    is_squashed = not 1 - LEAST_SQUASH < aspect < 1 / (1 - LEAST_SQUASH)
    if not is_squashed:
        aspect = 1.0
    found = replace(found, aspect=aspect)
    radius_y = sqrt(ellipse.radius_x * scale_x * ellipse.radius_y * scale_y / aspect)
    fitted = replace(
        found,
        whole_eye=(ellipse.centre_x * scale_x, ellipse.centre_y * scale_y, 2 * radius_y),
    )
    return fitted if _is_eye_larger_than_its_box(found, fitted) else found


def _is_eye_larger_than_its_box(found: FieldOfView, fitted: FieldOfView) -> bool:
    """Whether the fitted eye holds the visible box, and is clearly not the disc around the box."""
    slack_x, slack_y = LEAST_SHIFT * fitted.eye_width_px, LEAST_SHIFT * fitted.eye_height_px
    holds_box = (
        found.left >= fitted.eye_left - slack_x
        and found.right <= fitted.eye_left + fitted.eye_width_px + slack_x
        and found.top >= fitted.eye_top - slack_y
        and found.bottom <= fitted.eye_top + fitted.eye_height_px + slack_y
    )
    growth = fitted.eye_height_px / found.eye_height_px
    is_shifted = (
        growth > 1 + LEAST_SHIFT
        or abs(fitted.eye_left - found.eye_left + (fitted.eye_width_px - found.eye_width_px) / 2)
        > slack_x
        or abs(fitted.eye_top - found.eye_top + (fitted.eye_height_px - found.eye_height_px) / 2)
        > slack_y
    )
    return holds_box and is_shifted and growth <= MAX_GROWTH


def _make_small_copy(picture: Image.Image) -> Image.Image:
    width_px, height_px = picture.size
    scale = min(1.0, SEARCH_SIDE_PX / max(height_px, width_px))
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def _find_colour_of_lit_surround(
    small: Image.Image, brightness: NDArray[np.uint8], corners: tuple[int, ...]
) -> tuple[float, float, float] | None:
    """Return the colour of the surround, the median of the frame's corners; None if it is black."""
    (level,) = _compute_brightness_percentiles(_cut_out_frame_corners(brightness, corners), 50)
    if level <= BLACK_LEVEL:
        return None
    red, green, blue = (
        float(np.median(_cut_out_frame_corners(np.asarray(channel), corners)))
        for channel in small.split()
    )
    return red, green, blue


def _mask_pixels_unlike_grey_surround(
    pixels: NDArray[np.uint8], chosen: tuple[int, ...] = ALL_CORNERS
) -> NDArray[np.bool_] | None:
    """Return a mask of the pixels unlike an even grey surround; None without such a surround."""
    side = max(1, min(pixels.shape[:2]) // 16)
    patches = [
        pixels[rows, columns].reshape(-1, 3).astype(np.float32)
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    ]
    patches = [patches[at] for at in chosen]
    corners = np.concatenate(patches)
    surround = np.median(corners, axis=0)
    low, high = np.percentile(corners, (16, 84), axis=0)
    spread = float((high - low).max()) / 2
    apart = max(float(np.abs(np.median(patch, axis=0) - surround).max()) for patch in patches)
    is_grey = float(surround.max() - surround.min()) <= MAX_SURROUND_COLOUR
    if not is_grey or max(spread, apart) > MAX_SURROUND_SPREAD:
        return None
    distance = np.abs(pixels - surround.astype(np.float32)).max(axis=2)
    contrast = float(np.percentile(distance, 95))
    if contrast < 2 * MIN_CONTRAST:
        return None
    mask: NDArray[np.bool_] = distance > max(LIT_SHARE * contrast, 3.0 * spread)
    return mask


def _mask_lit_pixels(
    brightness: NDArray[np.uint8], chosen: tuple[int, ...] = ALL_CORNERS
) -> NDArray[np.bool_] | None:
    """Return a mask of the lit pixels; None if the corners are not much darker than the rest."""
    corners = _cut_out_frame_corners(brightness, chosen)
    # Half the distance between the 16th and 84th percentile is one standard deviation of normal
    # noise. Unlike the standard deviation, it is not disturbed by a label that a camera prints
    # into a corner.
    low, surround, high = _compute_brightness_percentiles(corners, 16, 50, 84)
    (bright,) = _compute_brightness_percentiles(brightness, 95)
    contrast = bright - surround
    if contrast < MIN_CONTRAST or surround > DARK_SHARE * bright:
        return None
    threshold = surround + max(LIT_SHARE * contrast, 2.0 * (high - low))
    # Rounding the threshold down selects the same pixels, and integers compare ten times as fast.
    return brightness > int(min(threshold, surround + contrast / 2))


def _compute_brightness_percentiles(values: NDArray[np.uint8], *percents: float) -> list[float]:
    """Compute percentiles as ``np.percentile`` does, but faster, by counting 256 grey levels."""
    # Without arrays, because NumPy takes longer than Python over 256 numbers.
    up_to = list(accumulate(Image.fromarray(values).histogram()))
    last = values.size - 1
    levels = []
    for percent in percents:
        place = percent / 100.0 * last
        below = int(place)
        lower, upper = bisect_right(up_to, below), bisect_right(up_to, min(below + 1, last))
        levels.append(lower + (place - below) * (upper - lower))
    return levels


def _cut_out_frame_corners(
    brightness: NDArray[np.uint8], chosen: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return the pixels of the chosen corners of the frame, stacked in one array."""
    side = max(1, min(brightness.shape) // 16)
    top, bottom = brightness[:side], brightness[-side:]
    patches = (top[:, :side], top[:, -side:], bottom[:, :side], bottom[:, -side:])
    return np.vstack([patches[at] for at in chosen])


def _compute_lit_shares(lit: NDArray[np.bool_], *, axis: int) -> NDArray[np.float64]:
    """Return the share of lit pixels in each column (axis 0) or row (axis 1)."""
    # As integers, because NumPy takes twice as long over the mean of truth values.
    counts = np.add.reduce(lit.view(np.uint8), axis=axis, dtype=np.uint32)
    shares: NDArray[np.float64] = counts / lit.shape[axis]
    return shares


def _find_extent_of_eye(profile: NDArray[np.float64]) -> tuple[float, float]:
    """Return where the eye starts and ends in a profile, as shares of the profile's length."""
    level = PROFILE_SHARE * float(profile.max())
    below = np.flatnonzero(profile <= level)
    peak = int(profile.argmax())
    before, after = below[below < peak], below[below > peak]
    start = _find_position_of_level(profile, int(before[-1]), 1, level) if before.size else 0.0
    end = (
        _find_position_of_level(profile, int(after[0]), -1, level)
        if after.size
        else float(profile.size)
    )
    return start / profile.size, end / profile.size


def _find_position_of_level(
    profile: NDArray[np.float64], below: int, step: int, level: float
) -> float:
    """Return where the profile crosses the level, interpolated between two pixels."""
    rise = float(profile[below + step] - profile[below])
    return below + 0.5 + step * (level - float(profile[below])) / rise


def _is_plausible_eye(found: FieldOfView, whole: FieldOfView, lit: NDArray[np.bool_]) -> bool:
    if min(found.width_px, found.height_px) < MIN_SIDE_SHARE * min(whole.width_px, whole.height_px):
        return False
    rows, columns = lit.shape
    top, bottom = (round(edge / whole.height_px * rows) for edge in (found.top, found.bottom))
    left, right = (round(edge / whole.width_px * columns) for edge in (found.left, found.right))
    inside = lit[top:bottom, left:right]
    return inside.size > 0 and float(inside.mean()) >= MIN_FILL

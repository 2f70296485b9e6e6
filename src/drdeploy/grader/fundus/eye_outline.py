"""Trace the outline of an eye in a mask of lit pixels, and fit an ellipse or a circle to it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SQUASH = 2.0
"""The longer axis of an ellipse is at most this many times as long as the shorter axis."""
MAX_OUTLINE_ERROR = 0.02
"""Largest root mean square distance of the outline from a fitted ellipse, as a share of the
ellipse's radius.
"""
EDGE_SHARE = 0.02
"""Points of the outline near an edge of the box are not used, because the frame may have cut off
the eye there. A point is near an edge if its distance is below this share of the box's side.
"""
OUTLINE_STEP = 2
"""The outline is traced only in every second row and column of the small copy.

The ellipse is as good as with all rows and columns.
"""
LEAST_OUTLINE = 30
"""The smallest number of points on the outline to which an ellipse is fitted."""
FITS = 3
"""The largest number of times that an ellipse is fitted to the outline. Each new fit leaves out the
points far from the previous ellipse.
"""


def trace_outline(
    lit: NDArray[np.bool_], across: tuple[float, float], down: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the first and last lit pixel of each row and column, inside the box.

    Points at the edges of the box are left out, because the frame may cut the eye off there.

    Args:
        lit: The lit pixels of the small copy.
        across: Left and right edge of the box, as shares of the width.
        down: Upper and lower edge of the box, as shares of the height.
    """
    across = (across[0] * lit.shape[1], across[1] * lit.shape[1])
    down = (down[0] * lit.shape[0], down[1] * lit.shape[0])
    points_x: list[NDArray[np.float64]] = []
    points_y: list[NDArray[np.float64]] = []
    margin_x = max(1.5, EDGE_SHARE * (across[1] - across[0]))
    margin_y = max(1.5, EDGE_SHARE * (down[1] - down[0]))
    for mask, is_transposed in ((lit, False), (np.ascontiguousarray(lit.T), True)):
        lines = np.arange(0, len(mask), OUTLINE_STEP)
        lines = lines[mask[::OUTLINE_STEP].any(axis=1)]
        chosen = mask[lines]
        first = chosen.argmax(axis=1).astype(np.float64)
        last = mask.shape[1] - chosen[:, ::-1].argmax(axis=1).astype(np.float64)
        along, place = np.concatenate([first, last]), np.tile(lines + 0.5, 2)
        x, y = (place, along) if is_transposed else (along, place)
        points_x.append(x)
        points_y.append(y)
    x, y = np.concatenate(points_x), np.concatenate(points_y)
    inside = (x > across[0] + margin_x) & (x < across[1] - margin_x)
    inside &= (y > down[0] + margin_y) & (y < down[1] - margin_y)
    return x[inside], y[inside]


@dataclass(frozen=True)
class Ellipse:
    """The outline of an eye in the small copy, in pixels.

    ``aspect`` is the width divided by the height. ``error`` is the root mean square distance of the
    outline from the ellipse, as a share of the ellipse's radius.
    """

    centre_x: float
    centre_y: float
    radius_x: float
    radius_y: float
    aspect: float
    error: float


def compute_mean_distance(
    ellipse: Ellipse, x: NDArray[np.float64], y: NDArray[np.float64]
) -> float:
    """Return the mean distance of all points from an ellipse, as a share of the ellipse's radius.

    A distance of more than ``MAX_OUTLINE_ERROR`` counts as ``MAX_OUTLINE_ERROR``.
    """
    from_middle_x = (x - ellipse.centre_x) / ellipse.radius_x
    from_middle_y = (y - ellipse.centre_y) / ellipse.radius_y
    distances = np.abs(np.hypot(from_middle_x, from_middle_y) - 1)
    return float(np.minimum(distances, MAX_OUTLINE_ERROR).mean())


def fit_ellipse(
    x: NDArray[np.float64], y: NDArray[np.float64], *, is_circle: bool = False
) -> Ellipse | None:
    """Return the ellipse, or the circle, that fits the points; None if none fits well."""
    if x.size < LEAST_OUTLINE:
        return None
    middle_x, middle_y = (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2)
    half = max(float(x.max() - x.min()), float(y.max() - y.min())) / 2
    x, y = (x - middle_x) / half, (y - middle_y) / half
    ellipse, error = None, np.inf
    for _ in range(FITS):
        if x.size < LEAST_OUTLINE:
            return None
        squares = [x * x + y * y] if is_circle else [x * x, y * y]
        terms = np.stack([*squares, x, y], axis=1)
        *curvatures, r, t = _solve_linear_equations(terms.T @ terms, terms.sum(axis=0))
        p, q = curvatures[0], curvatures[-1]
        if not min(p, q) > 0:  # a hyperbola, nothing that closes, or NaN without a solution
            return None
        centre_x, centre_y = -r / (2 * p), -t / (2 * q)
        size = 1 + p * centre_x**2 + q * centre_y**2
        departure = np.sqrt((p * (x - centre_x) ** 2 + q * (y - centre_y) ** 2) / size) - 1
        error = float(np.sqrt(np.mean(departure**2)))
        ellipse = Ellipse(
            middle_x + half * centre_x,
            middle_y + half * centre_y,
            half * sqrt(size / p),
            half * sqrt(size / q),
            sqrt(q / p),
            error,
        )
        if error <= MAX_OUTLINE_ERROR / 2:
            break
        apart = np.abs(departure)
        # Not by np.median, which would import numpy.ma before the first answer.
        near = apart <= max(2 * float(np.sort(apart)[apart.size // 2]), 0.01)
        x, y = x[near], y[near]
    if ellipse is None or error > MAX_OUTLINE_ERROR:
        return None
    return ellipse if 1 / MAX_SQUASH <= ellipse.aspect <= MAX_SQUASH else None


def _solve_linear_equations(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> list[float]:
    """Solve a few linear equations by Gaussian elimination; NaN if they have no single solution.

    NumPy's own solver needs LAPACK. The small ``lean`` container image does not contain LAPACK, and
    a call of the solver would crash the process.
    """
    rows = [[*line, value] for line, value in zip(matrix.tolist(), right.tolist(), strict=True)]
    size = len(rows)
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        if rows[at][at] == 0:
            return [float("nan")] * size
        for row in range(size):
            if row != at:
                factor = rows[row][at] / rows[at][at]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[at], strict=True)]
    return [row[-1] / row[at] for at, row in enumerate(rows)]

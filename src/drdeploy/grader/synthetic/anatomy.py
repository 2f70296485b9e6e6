"""Choose where the parts of a synthetic eye are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MIN_SIDE_PX = 16

EYE_SHARE_OF_LONGER_SIDE = 0.8
"""Diameter of the eye, as a share of the longer side of the painting. In a 3:2 frame, the eye is
cut off above and below, as in many cameras.
"""


@dataclass(frozen=True)
class Anatomy:
    """The positions of the parts of an eye in a painting.

    Lengths and positions are in pixels of the painting.

    Attributes:
        width_px: Width of the painting.
        height_px: Height of the painting.
        radius: Radius of the eye, which is centred.
        disc: Centre of the optic disc.
        macula: Centre of the macula.
    """

    width_px: int
    height_px: int
    radius: float
    disc: tuple[float, float]
    macula: tuple[float, float]

    @property
    def disc_radius(self) -> float:
        """The radius of the optic disc, an eighth of the radius of the eye."""
        return self.radius * 0.125


def make_random_anatomy(random: np.random.Generator, width_px: int, height_px: int) -> Anatomy:
    """Choose at random where the parts of an eye are in a painting.

    If ``width_px`` or ``height_px`` is less than ``MIN_SIDE_PX``, the painting gets ``MIN_SIDE_PX``
    instead.
    """
    width, height = max(width_px, MIN_SIDE_PX), max(height_px, MIN_SIDE_PX)
    radius = EYE_SHARE_OF_LONGER_SIDE * max(width, height) / 2
    radius = min(radius, 0.49 * width if height >= width else radius)
    side = 1 if random.random() < 0.5 else -1
    centre_x, centre_y = width / 2, height / 2
    disc = (
        centre_x - side * radius * random.uniform(0.62, 0.72),
        centre_y + radius * random.uniform(-0.06, 0.06),
    )
    macula = (disc[0] + side * radius * 0.68, disc[1] + radius * random.uniform(0.03, 0.09))
    return Anatomy(width, height, radius, disc, macula)

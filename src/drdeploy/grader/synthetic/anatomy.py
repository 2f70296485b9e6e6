"""Decide where things are in a synthetic eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MIN_SIDE_PX = 16

EYE_SHARE_OF_LONGER_SIDE = 0.8
"""Diameter of the eye; in a 3:2 frame it is cut off above and below, as by many cameras."""


@dataclass(frozen=True)
class Anatomy:
    """Where things are in a painting.  Lengths and positions are in its pixels.

    Attributes:
        width_px: Of the painting.
        height_px: Of the painting.
        radius: Of the eye, which is centred.
        disc: Centre of the optic disc.
        macula: Centre of the macula.
        towards_macula: 1 if the macula lies right of the optic disc, else -1.
    """

    width_px: int
    height_px: int
    radius: float
    disc: tuple[float, float]
    macula: tuple[float, float]
    towards_macula: int

    @property
    def disc_radius(self) -> float:
        """Radius of the optic disc, which is about a seventh as wide as a field of 50 degrees."""
        return self.radius * 0.125


def random_anatomy(random: np.random.Generator, width_px: int, height_px: int) -> Anatomy:
    """Draw the anatomy of a left or right eye.

    Args:
        random: Decides whatever differs between eyes.
        width_px: Of the painting; ``MIN_SIDE_PX`` if it is smaller.
        height_px: Of the painting; ``MIN_SIDE_PX`` if it is smaller.
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
    return Anatomy(width, height, radius, disc, macula, side)

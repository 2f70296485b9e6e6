"""Grow the vessels of a synthetic eye: they start at the optic disc, branch and become thinner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, cos, hypot, pi, sin
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    import numpy as np

Point = tuple[float, float]

STEPS_PER_RADIUS = 55
BRANCHING = 0.115
"""Probability of a branch at each step."""

MAX_DEPTH = 3
"""How many times branches may branch again; no camera shows finer branches."""

MIN_WIDTH_SHARE = 0.0016
"""Width at which a vessel ends, as a share of the eye's radius."""

OVERDRAWN = 2
"""Vessels are drawn this many times as large and then shrunk, so that their edges are smooth."""


@dataclass(frozen=True)
class Segment:
    """A short straight piece of a vessel.

    Attributes:
        start: One end of the piece, in pixels of the painting.
        end: The other end of the piece, in the same pixels.
        width: Width of the vessel in the same pixels.
        strength: How much the vessel darkens the painting, 0 to 255; more for veins than for
            arteries.
    """

    start: Point
    end: Point
    width: float
    strength: int


@dataclass(frozen=True)
class VesselTree:
    """All vessels of a synthetic eye."""

    segments: tuple[Segment, ...]

    def draw_blood_mask(self, size: tuple[int, int]) -> Image.Image:
        """Draw a mask of the vessels, from 0 (no blood) to nearly 255 (a large vein)."""
        layer = Image.new("L", (size[0] * OVERDRAWN, size[1] * OVERDRAWN))
        pen = ImageDraw.Draw(layer)
        for segment in sorted(self.segments, key=lambda one: one.strength):
            _draw_vessel_segment(pen, segment)
        shrunk = layer.resize(size, Image.Resampling.BOX)
        return shrunk.filter(ImageFilter.GaussianBlur(0.6))


def _draw_vessel_segment(pen: ImageDraw.ImageDraw, segment: Segment) -> None:
    width = max(1, round(segment.width * OVERDRAWN))
    ends = [(x * OVERDRAWN, y * OVERDRAWN) for x, y in (segment.start, segment.end)]
    pen.line(ends, fill=segment.strength, width=width)
    if width > 2:
        x, y = ends[1]
        pen.ellipse(
            (x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=segment.strength
        )


@dataclass(frozen=True)
class _Tip:
    """The growing end of a vessel."""

    at: Point
    heading: float
    width: float
    strength: int
    length: float
    curl: float
    depth: int


def grow_vessels(
    random: np.random.Generator, disc: Point, macula: Point, radius: float
) -> VesselTree:
    """Grow the vessels of one eye: they start in the optic disc, and curve around the macula."""
    segments: list[Segment] = []
    tips = _start_trunk_vessels(random, disc, macula, radius)
    while tips:
        tip = tips.pop()
        tips.extend(_grow_vessel(random, tip, macula, radius, segments))
    return VesselTree(tuple(segments))


def _start_trunk_vessels(
    random: np.random.Generator, disc: Point, macula: Point, radius: float
) -> list[_Tip]:
    """Start a vein and an artery for each of the four quadrants."""
    forward = atan2(macula[1] - disc[1], macula[0] - disc[0])
    arcs = (
        (-1.25, 1.15, 1.75),  # temporal: an arc above, and one below the macula
        (1.25, -1.15, 1.75),
        (-2.35, -0.25, 0.8),  # nasal: nearly straight
        (2.35, 0.25, 0.8),
    )
    return [
        _Tip(
            at=disc,
            heading=forward + turn + random.normal(0, 0.12) + (0.22 if is_vein else -0.05),
            width=radius * (0.021 if is_vein else 0.014) * random.uniform(0.9, 1.1),
            strength=190 if is_vein else 135,
            length=radius * length * random.uniform(0.9, 1.1),
            curl=curl * random.uniform(0.85, 1.15) / radius,
            depth=0,
        )
        for turn, curl, length in arcs
        for is_vein in (True, False)
    ]


def _grow_vessel(
    random: np.random.Generator,
    tip: _Tip,
    macula: Point,
    radius: float,
    segments: list[Segment],
) -> list[_Tip]:
    """Grow one vessel to its end, and return the tips of its branches."""
    branches = []
    step = radius / STEPS_PER_RADIUS
    steps = max(2, int(tip.length / step))
    at, heading, side = tip.at, tip.heading, 1 if random.random() < 0.5 else -1
    wave, phase = random.uniform(0.07, 0.16), random.uniform(0, 2 * pi)
    for number in range(steps):
        width = tip.width * (1.0 - 0.65 * number / steps)
        heading += tip.curl * step + random.normal(0, 0.035) + wave * sin(number * 0.7 + phase)
        end = (at[0] + step * cos(heading), at[1] + step * sin(heading))
        if hypot(end[0] - macula[0], end[1] - macula[1]) < radius * 0.13:
            break  # no vessel crosses the centre of the macula
        segments.append(
            Segment(at, end, width, int(tip.strength * (0.7 + 0.3 * width / tip.width)))
        )
        at = end
        if number > 2 and random.random() < BRANCHING and width * 0.62 > radius * MIN_WIDTH_SHARE:
            side = -side
            grown = replace(tip, at=at, heading=heading, width=width)
            branches.append(
                _start_branch(random, grown, side, length=step * max(6, steps - number))
            )
    return branches if tip.depth < MAX_DEPTH else []


def _start_branch(random: np.random.Generator, parent: _Tip, side: int, length: float) -> _Tip:
    """Start a thinner vessel that leaves the parent to one side and bends back."""
    turn = random.uniform(0.45, 0.95)
    return _Tip(
        at=parent.at,
        heading=parent.heading + side * turn,
        width=parent.width * random.uniform(0.5, 0.68),
        strength=int(parent.strength * 0.85),
        length=length * random.uniform(0.45, 0.9),
        curl=-side * turn * random.uniform(0.3, 1.1) / length,
        depth=parent.depth + 1,
    )

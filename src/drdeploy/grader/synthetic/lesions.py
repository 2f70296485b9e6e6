"""Draw the lesions of each grade.

The lesions of a grade follow the ICDR scale (Wilkinson et al., Ophthalmology 2003, 110:1677-1682).
An eye of the grade mild has only microaneurysms. Moderate adds haemorrhages and exudates. Severe
adds many haemorrhages in all four quadrants. Proliferative adds new vessels, or bleeding in front
of the retina.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from drdeploy.grader.grading.grade import Grade

if TYPE_CHECKING:
    from drdeploy.grader.synthetic.anatomy import Anatomy
    from drdeploy.grader.synthetic.vessels import Point

    Colour = tuple[int, int, int]

BLOOD: Colour = (112, 22, 12)
EXUDATE: Colour = (250, 222, 120)
COTTON_WOOL: Colour = (240, 205, 160)

OVERDRAWN = 2
"""Lesions are drawn this many times as large and then shrunk, so that their edges are smooth."""
LOBES = (2, 3, 5)
LOBE_DEPTH = 0.16
"""The height of each wave on the outline of a spot, as a share of the spot's radius.

The outline is a circle with three waves, which have two, three and five lobes.
"""


@dataclass(frozen=True)
class Burden:
    """The number of lesions of each kind in an eye."""

    microaneurysms: int = 0
    haemorrhages: int = 0
    exudate_clusters: int = 0
    cotton_wool_spots: int = 0
    new_vessel_tufts: int = 0
    preretinal_bleeds: int = 0


BURDEN_BY_GRADE = {
    Grade.NO_DR: Burden(),
    Grade.MILD: Burden(microaneurysms=7),
    Grade.MODERATE: Burden(microaneurysms=20, haemorrhages=9, exudate_clusters=3),
    Grade.SEVERE: Burden(
        microaneurysms=45, haemorrhages=85, exudate_clusters=4, cotton_wool_spots=6
    ),
    Grade.PDR: Burden(
        microaneurysms=40,
        haemorrhages=45,
        exudate_clusters=3,
        cotton_wool_spots=3,
        new_vessel_tufts=4,
        preretinal_bleeds=1,
    ),
}


def draw_lesions(
    canvas: Image.Image, random: np.random.Generator, grade: Grade, eye: Anatomy
) -> Image.Image:
    """Draw the lesions of a grade on the canvas."""
    burden = BURDEN_BY_GRADE[grade]
    soft, sharp = _LesionLayer(canvas.size), _LesionLayer(canvas.size)
    for _ in range(burden.cotton_wool_spots):
        soft.draw_irregular_spot(
            random,
            _choose_random_retina_point(random, eye),
            eye.radius * random.uniform(0.03, 0.05),
            190,
        )
    for _ in range(burden.exudate_clusters):
        _draw_exudates(random, sharp, eye)
    canvas = soft.paint_over_canvas(canvas, COTTON_WOOL, blur=eye.radius * 0.012)
    canvas = sharp.paint_over_canvas(canvas, EXUDATE, blur=0.5)
    return _draw_haemorrhages(canvas, random, burden, eye)


def _draw_haemorrhages(
    canvas: Image.Image, random: np.random.Generator, burden: Burden, eye: Anatomy
) -> Image.Image:
    blood, fine = _LesionLayer(canvas.size), _LesionLayer(canvas.size)
    for _ in range(burden.microaneurysms):
        blood.draw_irregular_spot(
            random,
            _choose_random_retina_point(random, eye),
            eye.radius * random.uniform(0.004, 0.007),
            215,
        )
    for _ in range(burden.haemorrhages):
        size = eye.radius * random.uniform(0.008, 0.026)
        blood.draw_irregular_spot(
            random, _choose_random_retina_point(random, eye), size, int(random.integers(150, 225))
        )
    for _ in range(burden.new_vessel_tufts):
        _draw_new_vessels(random, fine, eye)
    for _ in range(burden.preretinal_bleeds):
        _draw_preretinal_bleed(random, blood, eye)
    return fine.paint_over_canvas(blood.paint_over_canvas(canvas, BLOOD, blur=1.1), BLOOD, blur=0.5)


class _LesionLayer:
    """A mask through which one colour is painted on the canvas."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._mask = Image.new("L", (size[0] * OVERDRAWN, size[1] * OVERDRAWN))
        self._pen = ImageDraw.Draw(self._mask)

    def draw_irregular_spot(
        self, random: np.random.Generator, at: Point, size: float, strength: int
    ) -> None:
        """Draw an irregular spot."""
        angles = np.linspace(0, 2 * pi, 24, endpoint=False)
        phases = random.uniform(0, 2 * pi, 3)
        reach = size * sum(
            (
                LOBE_DEPTH * np.sin(count * angles + phase)
                for count, phase in zip(LOBES, phases, strict=True)
            ),
            start=np.ones_like(angles),
        )
        outline = zip(at[0] + reach * np.cos(angles), at[1] + reach * np.sin(angles), strict=True)
        self.fill_polygon([(float(x), float(y)) for x, y in outline], strength)

    def fill_polygon(self, corners: list[Point], strength: int) -> None:
        """Fill a polygon, given in pixels of the painting."""
        self._pen.polygon([(x * OVERDRAWN, y * OVERDRAWN) for x, y in corners], fill=strength)

    def draw_hairline(self, points: list[Point], strength: int) -> None:
        """Draw a hairline through points, given in pixels of the painting."""
        self._pen.line([(x * OVERDRAWN, y * OVERDRAWN) for x, y in points], strength, OVERDRAWN)

    def paint_over_canvas(self, canvas: Image.Image, colour: Colour, *, blur: float) -> Image.Image:
        """Return the canvas with the colour painted through the mask."""
        mask = self._mask.resize(self._size, Image.Resampling.BOX)
        mask = mask.filter(ImageFilter.GaussianBlur(blur))
        return Image.composite(Image.new("RGB", self._size, colour), canvas, mask)


def _choose_random_retina_point(random: np.random.Generator, eye: Anatomy) -> Point:
    """Choose a visible point of the retina, outside the optic disc and the macula's centre."""
    while True:
        angle, share = random.uniform(0, 2 * pi), 0.88 * random.uniform(0.02, 1) ** 0.5
        x = eye.width_px / 2 + share * eye.radius * cos(angle)
        y = eye.height_px / 2 + share * eye.radius * sin(angle)
        near_disc = hypot(x - eye.disc[0], y - eye.disc[1]) < eye.radius * 0.17
        near_macula = hypot(x - eye.macula[0], y - eye.macula[1]) < eye.radius * 0.06
        if 0 < y < eye.height_px and not near_disc and not near_macula:
            return x, y


def _draw_exudates(random: np.random.Generator, layer: _LesionLayer, eye: Anatomy) -> None:
    """Draw a ring of yellow specks near the macula."""
    angle, distance = random.uniform(0, 2 * pi), eye.radius * random.uniform(0.16, 0.36)
    centre = (eye.macula[0] + distance * cos(angle), eye.macula[1] + distance * sin(angle))
    ring = eye.radius * random.uniform(0.04, 0.08)
    for _ in range(int(random.integers(18, 34))):
        turn, reach = random.uniform(0, 2 * pi), ring * random.normal(1.0, 0.28)
        at = (centre[0] + reach * cos(turn), centre[1] + reach * sin(turn))
        layer.draw_irregular_spot(random, at, eye.radius * random.uniform(0.003, 0.009), 235)


def _draw_new_vessels(random: np.random.Generator, layer: _LesionLayer, eye: Anatomy) -> None:
    """Draw a tuft of hair-thin loops at the optic disc or along the large vessels."""
    start_angle = random.uniform(0, 2 * pi)
    distance = eye.radius * random.choice([0.05, 0.3])
    root = (eye.disc[0] + distance * cos(start_angle), eye.disc[1] + distance * sin(start_angle))
    step = eye.radius * 0.011
    for _ in range(14):
        heading, at = random.uniform(0, 2 * pi), root
        curl = random.normal(0, 0.35)
        points = [at]
        for _ in range(int(random.integers(7, 15))):
            heading += curl + random.normal(0, 0.35)
            at = (at[0] + step * cos(heading), at[1] + step * sin(heading))
            points.append(at)
        layer.draw_hairline(points, 200)


def _draw_preretinal_bleed(random: np.random.Generator, layer: _LesionLayer, eye: Anatomy) -> None:
    """Draw blood in front of the retina, with a level upper edge and a round lower edge."""
    at = (eye.macula[0], eye.macula[1] + eye.radius * random.uniform(0.25, 0.4))
    half = eye.radius * random.uniform(0.13, 0.2)
    angles = np.linspace(0, pi, 24)
    corners = [
        (at[0] + half * cos(float(angle)), at[1] + 0.55 * half * sin(float(angle)))
        for angle in angles
    ]
    layer.fill_polygon(corners, 235)

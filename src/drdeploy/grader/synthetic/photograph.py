"""Paint a photograph of an eye that does not exist.

A painted photograph has the dimensions, the black surround, the colours and the file size of a
camera's photograph. A test of a server needs no more. A painted photograph also has the lesions of
a grade, to show people what the grade means. Do not train or evaluate a model on painted
photographs: results on them say nothing about real eyes.

The eye is painted at a quarter of the photograph's width and height, and then enlarged. A real
fundus photograph shows no finer details than the painting can. Sensor noise is added at the end.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.synthetic.anatomy import Anatomy, make_random_anatomy
from drdeploy.grader.synthetic.lesions import draw_lesions
from drdeploy.grader.synthetic.vessels import grow_vessels

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAINTED_SHARE = 4
"""Side of the photograph divided by the side of the painting."""

JPEG_QUALITY = 88
NOISE_SIGMA = 1.1


def paint_synthetic_photograph(
    seed: int, *, grade: Grade = Grade.NO_DR, width_px: int = 4288, height_px: int = 2848
) -> bytes:
    """Paint a JPEG that looks like a fundus photograph with the lesions of a grade.

    The same arguments give the same bytes if the versions of NumPy and Pillow are the same.

    Args:
        seed: Seed of the eye; the same seed gives the same eye at every grade.
        grade: Grade whose lesions the eye shows.
        width_px: Width of the photograph.
        height_px: Height of the photograph.
    """
    random = np.random.default_rng(seed)
    anatomy = make_random_anatomy(random, width_px // PAINTED_SHARE, height_px // PAINTED_SHARE)
    canvas = _paint_background(random, anatomy)
    vessels = grow_vessels(random, anatomy.disc, anatomy.macula, anatomy.radius)
    canvas = _darken_canvas_under_vessels(canvas, vessels.draw_blood_mask(canvas.size))
    canvas = draw_lesions(canvas, np.random.default_rng([seed, int(grade)]), grade, anatomy)
    return _enlarge_and_encode_with_noise(
        random, _shade_rim_and_blacken_surround(canvas, anatomy), (width_px, height_px)
    )


def _paint_background(random: np.random.Generator, anatomy: Anatomy) -> Image.Image:
    """Paint choroid, optic disc and macula as smooth fields of colour."""
    skin = np.array([random.uniform(175, 215), random.uniform(78, 105), random.uniform(28, 48)])
    x, y = np.meshgrid(
        np.arange(anatomy.width_px, dtype=np.float32),
        np.arange(anatomy.height_px, dtype=np.float32),
    )
    mottle = (
        1.0
        + 0.05 * _draw_smooth_noise(random, anatomy, 5)
        + 0.04 * _draw_smooth_noise(random, anatomy, 40)
    )
    colour = mottle[..., None] * skin.astype(np.float32)
    from_macula = _distances_from_point(x, y, anatomy.macula) / anatomy.radius
    shade = 0.34 * np.exp(-((from_macula / 0.13) ** 2)) + 0.10 * np.exp(-((from_macula / 0.4) ** 2))
    colour *= 1.0 - shade[..., None] * np.array([0.75, 1.0, 1.0], dtype=np.float32)
    from_disc = _distances_from_point(x, y, anatomy.disc) / anatomy.disc_radius
    for edge, softness, strength, tint in (
        (1.25, 0.35, 0.18, (250, 170, 90)),  # halo of the nerve fibres
        (1.0, 0.06, 0.85, (252, 190, 105)),  # rim
        (0.45, 0.12, 0.75, (255, 232, 175)),  # cup
    ):
        share = strength * (0.5 - 0.5 * np.tanh((from_disc - edge) / (2.0 * softness)))
        colour += share[..., None] * (np.array(tint, dtype=np.float32) - colour)
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def _draw_smooth_noise(
    random: np.random.Generator, anatomy: Anatomy, cells: int
) -> NDArray[np.float32]:
    """Draw smooth noise with a variance of about 1; more ``cells`` make the noise finer."""
    rows = max(2, cells * anatomy.height_px // anatomy.width_px)
    coarse = Image.fromarray(random.standard_normal((rows, cells)).astype(np.float32))
    size = (anatomy.width_px, anatomy.height_px)
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def _distances_from_point(
    x: NDArray[np.float32], y: NDArray[np.float32], centre: tuple[float, float]
) -> NDArray[np.float32]:
    distance: NDArray[np.float32] = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return distance


def _darken_canvas_under_vessels(canvas: Image.Image, strength: Image.Image) -> Image.Image:
    """Darken the canvas under the vessels, because blood absorbs green and blue more than red."""
    share = np.asarray(strength, dtype=np.float32)[..., None] / 255.0
    absorbed = share * np.array([0.30, 0.62, 0.55], dtype=np.float32)
    return Image.fromarray((np.asarray(canvas) * (1.0 - absorbed)).astype(np.uint8))


def _shade_rim_and_blacken_surround(canvas: Image.Image, anatomy: Anatomy) -> Image.Image:
    """Darken the eye's rim, blacken the surround, and add the small notch of fundus cameras."""
    aperture = Image.new("L", canvas.size)
    draw = ImageDraw.Draw(aperture)
    centre_x, centre_y, radius = anatomy.width_px / 2, anatomy.height_px / 2, anatomy.radius
    draw.ellipse(
        (centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius), fill=255
    )
    notch, size = np.array([centre_x + radius * 0.78, centre_y - radius * 0.64]), radius * 0.03
    draw.regular_polygon((notch[0], notch[1], size * 1.4), 4, rotation=40, fill=255)
    aperture = aperture.filter(ImageFilter.GaussianBlur(0.8))
    x = (np.arange(anatomy.width_px, dtype=np.float32) - centre_x) / radius
    y = (np.arange(anatomy.height_px, dtype=np.float32) - centre_y) / radius
    fall = 1.04 - 0.38 * (x[None, :] ** 2 + y[:, None] ** 2) ** 1.5
    light = fall * np.asarray(aperture, dtype=np.float32) / 255.0
    lit = np.asarray(canvas) * np.clip(light, 0, None)[..., None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _enlarge_and_encode_with_noise(
    random: np.random.Generator, canvas: Image.Image, size: tuple[int, int]
) -> bytes:
    """Enlarge the painting, add the sensor's noise, and encode it."""
    large = np.asarray(canvas.resize(size, Image.Resampling.BICUBIC))
    noisy = _add_sensor_noise(random, large)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def _add_sensor_noise(random: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add Gaussian noise, the same in all channels.

    The photograph is covered with copies of one square of noise, 512 pixels wide. In each row of
    squares, the copies are shifted sideways by a random distance. Drawing noise for every pixel of
    a large photograph would take longer than all other steps.
    """
    tile = np.rint(random.normal(0.0, NOISE_SIGMA, (512, 512))).astype(np.int16)
    height_px, width_px = image.shape[:2]
    noisy = np.empty_like(image)
    for top in range(0, height_px, 512):
        band = image[top : top + 512]
        noise = np.roll(tile, int(random.integers(512)), axis=1)
        noise = np.tile(noise, (1, -(-width_px // 512)))[: len(band), :width_px]
        noisy[top : top + 512] = np.clip(band + noise[..., None], 0, 255)
    return noisy

"""Change photographs at random during training, so that a network does not memorise them.

A stateless generator in TensorFlow's graph draws the changes. The same seed always gives the same
changes, so an interrupted training continues as if it had not been interrupted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras

if TYPE_CHECKING:
    from drdeploy.grader.training.recipe import Augmentation

DRAWS = 12
"""How many random numbers are drawn to change one photograph."""
SMALLEST = 1e-4
"""Smallest value of a pixel before gamma correction, on a scale from 0 to 1. At zero, the gradient
of a power can be infinite.
"""


def augment_photographs(
    pixels: Any, height_px: int, width_px: int, seed: Any, choices: Augmentation | None
) -> Any:
    """Change photographs at random, and scale them down to the size of the network's input.

    Args:
        pixels: Photographs as a tensor ``(n, H, W, 3)``, 0 to 255, larger than the network's input.
        height_px: Height of the input.
        width_px: Width of the input.
        seed: Tensor ``(2,)``, int32; the same seed gives the same changes.
        choices: Ranges of the changes. With None, the photographs are only scaled down.

    Returns:
        Tensor ``(n, height_px, width_px, 3)``, 0 to 255.
    """
    tf = import_tensorflow_and_keras().tensorflow
    images = tf.cast(pixels, tf.float32)
    if choices is None:
        return tf.image.resize(images, (height_px, width_px), antialias=True)
    # In [-1, 1), one row of draws per photograph.
    draws = tf.random.stateless_uniform((tf.shape(images)[0], DRAWS), seed, -1.0, 1.0)
    moved = _change_geometry_at_random(tf, images, (height_px, width_px), draws, choices)
    return _change_colours_at_random(tf, moved / 255.0, draws, choices) * 255.0


def _change_geometry_at_random(
    tf: Any, images: Any, size: tuple[int, int], draws: Any, choices: Augmentation
) -> Any:
    """Mirror, rotate, zoom, stretch and shift photographs at random, all in one step.

    A single step blurs a photograph only once. A matrix says for each pixel of the network's input
    from which place of the larger photograph it comes.
    """
    height_px, width_px = size
    source_h, source_w = images.shape[1], images.shape[2]
    angle = draws[:, 0] * math.radians(choices.rotation_deg)
    smallest, largest = choices.zoom
    zoom = (smallest + largest) / 2 + draws[:, 1] * (largest - smallest) / 2
    step = source_h / height_px / zoom
    mirror = tf.where(draws[:, 2] < 0, -1.0, 1.0) if choices.flips else tf.ones_like(angle)
    stretch = tf.exp(draws[:, 3] * choices.stretch)
    cos, sin = tf.cos(angle) * step, tf.sin(angle) * step
    xx, xy = cos * mirror * stretch, -sin
    yx, yy = sin * mirror * stretch, cos
    middle_x, middle_y = (width_px - 1) / 2, (height_px - 1) / 2
    shift_x = (source_w - 1) / 2 + draws[:, 4] * choices.shift * source_w
    shift_y = (source_h - 1) / 2 + draws[:, 5] * choices.shift * source_h
    none = tf.zeros_like(angle)
    matrix = tf.stack(
        [
            *(xx, xy, shift_x - xx * middle_x - xy * middle_y),
            *(yx, yy, shift_y - yx * middle_x - yy * middle_y),
            *(none, none),
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=matrix,
        output_shape=[height_px, width_px],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _change_colours_at_random(tf: Any, images: Any, draws: Any, choices: Augmentation) -> Any:
    """Change light, white balance, contrast and saturation of pixel values in [0, 1]."""

    def reshape_to_one_value_per_image(column: Any) -> Any:
        return tf.reshape(column, (-1, 1, 1, 1))

    gain = tf.exp(draws[:, 6:9] * choices.colour + draws[:, 9:10] * choices.brightness)
    lit = tf.clip_by_value(images * gain[:, None, None, :], SMALLEST, 1.0)
    bent = lit ** reshape_to_one_value_per_image(tf.exp(draws[:, 10] * choices.gamma))
    grey = tf.reduce_mean(bent, axis=-1, keepdims=True)
    vivid = grey + (bent - grey) * reshape_to_one_value_per_image(
        1.0 + draws[:, 11] * choices.saturation
    )
    return tf.clip_by_value(vivid, 0.0, 1.0)

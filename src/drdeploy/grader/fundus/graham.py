"""The filter with which Ben Graham won the 2015 Kaggle competition on diabetic retinopathy.

The filter subtracts the local mean colour. This evens out light and pigmentation, and keeps vessels
and lesions. The formula is ``4 * image - 4 * blur(image) + 128``, with a Gaussian blur whose
standard deviation is a thirtieth of the eye's radius.  Beyond 0.9 of the radius the result is
mid-grey, because the black surround would cause larger differences at the rim than any lesion
(Graham, "Kaggle Diabetic Retinopathy Detection competition report", 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHT = 4.0
MID_GREY = 128.0
SIGMAS_PER_RADIUS = 30.0
KEPT_RADIUS = 0.9


@dataclass(frozen=True)
class Eye:
    """The centre of an eye, and its two radii; they differ if the picture was stretched."""

    centre_x: float
    centre_y: float
    radius_x: float
    radius_y: float


def apply_graham_filter(image: NDArray[np.float32], eye: Eye) -> NDArray[np.float32]:
    """Subtract the local mean colour, and paint the rim grey.

    Args:
        image: RGB from 0 to 255, shape ``(h, w, 3)``.
        eye: Centre and radii of the eye in the image.

    Returns:
        Filtered RGB from 0 to 255, shape ``(h, w, 3)``.
    """
    filtered = WEIGHT * (image - _blur_with_gaussian(image, eye)) + MID_GREY
    np.clip(filtered, 0.0, 255.0, out=filtered)
    filtered[~_mask_inside_of_eye(image.shape[:2], eye)] = MID_GREY
    return filtered


def _blur_with_gaussian(image: NDArray[np.float32], eye: Eye) -> NDArray[np.float32]:
    """Blur with a Gaussian, by one matrix product for the rows and one for the columns.

    At the size of a model's input, matrix products are faster than a convolution. Matrix products
    are also exact, whereas a convolution usually cuts the Gaussian off at three or four standard
    deviations. Near an edge of the picture, some of the pixels that the Gaussian covers do not
    exist. The weights of the others are scaled to sum to one.
    """
    height_px, width_px = image.shape[:2]
    down = _gaussian_weights(height_px, round(eye.radius_y / SIGMAS_PER_RADIUS, 3))
    across = _gaussian_weights(width_px, round(eye.radius_x / SIGMAS_PER_RADIUS, 3))
    rows = (down @ image.reshape(height_px, -1)).reshape(image.shape)
    blurred: NDArray[np.float32] = np.matmul(across, rows)
    return blurred


@lru_cache(maxsize=32)
def _gaussian_weights(size: int, sigma_px: float) -> NDArray[np.float32]:
    """Return the blur as a matrix. Row i holds the weights with which pixels add up to pixel i."""
    position = np.arange(size, dtype=np.float64)
    distance = (position[:, None] - position[None, :]) / max(sigma_px, 0.01)
    weights = np.exp(-0.5 * distance**2)
    kernel: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    kernel.setflags(write=False)
    return kernel


def _mask_inside_of_eye(shape: tuple[int, ...], eye: Eye) -> NDArray[np.bool_]:
    """Return a mask of the pixels within 0.9 of the eye's radius."""
    across = (np.arange(shape[1]) + 0.5 - eye.centre_x) / (KEPT_RADIUS * eye.radius_x)
    down = (np.arange(shape[0]) + 0.5 - eye.centre_y) / (KEPT_RADIUS * eye.radius_y)
    inside: NDArray[np.bool_] = across[None, :] ** 2 + down[:, None] ** 2 <= 1.0
    return inside

"""Turn a decoded photograph into a model's input, as the model's ``FundusTransform`` says."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, log2
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from drdeploy.grader.fundus.decode import ImageLimits, read_and_check_header
from drdeploy.grader.fundus.photograph import DecodedPhotograph, decode_photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.field_of_view import FieldOfView
    from drdeploy.grader.fundus.transform import FundusTransform

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def make_model_input(
    transform: FundusTransform,
    data: bytes,
    *,
    limits: ImageLimits = ImageLimits(),
    eye_px: int = 0,
) -> NDArray[np.float32]:
    """Read a photograph's file, decode it, find the eye, and make the model's input.

    Args:
        transform: The transform that the model was trained with.
        data: Content of the file.
        limits: How large the photograph may be.
        eye_px: The smallest diameter of the eye at which gradability can be checked; 0 if
            gradability is not checked.

    Returns:
        Shape ``(height_px, width_px, 3)``, C-contiguous.

    Raises:
        RequestRefused: The file cannot be used.
    """
    header = read_and_check_header(data, limits=limits)
    return apply_transform(transform, decode_photograph(header, transform, eye_px=eye_px))


def apply_transform(
    transform: FundusTransform, photograph: DecodedPhotograph
) -> NDArray[np.float32]:
    """Crop, resize, filter and scale a photograph, in the order that the transform documents.

    Returns:
        Shape ``(height_px, width_px, 3)``, C-contiguous.
    """
    picture, view = _shrink_by_power_of_two(transform, photograph)
    if transform.crop == "field_of_view":
        resized = _crop_to_eye_and_resize(transform, picture, view)
    else:
        resized = picture.resize(
            (transform.width_px, transform.height_px), _RESAMPLING[transform.interpolation]
        )
    pixels = np.asarray(resized)
    if transform.filter == "graham":
        return _scale_pixel_values(
            transform, _apply_graham_filter_to_eye(transform, pixels, picture.size, view)
        )
    return _scale_pixel_values(transform, pixels)


def _shrink_by_power_of_two(
    transform: FundusTransform, photograph: DecodedPhotograph
) -> tuple[Image.Image, FieldOfView]:
    """Shrink a picture by a power of two if it is much larger than the model's input.

    A photograph may be decoded at several scales. After this step, the model's input hardly depends
    on the scale. Networks are sensitive to small differences: a tenth of a grey level in the mean
    can change a probability by 0.02.
    """
    picture, view = photograph.picture, photograph.view
    extent_px = (
        min(view.eye_width_px, view.eye_height_px)
        if transform.crop == "field_of_view"
        else min(picture.size)
    )
    spare = extent_px / transform.minimum_eye_diameter_px
    if transform.interpolation == "nearest" or spare < 2:
        return picture, view
    factor = 2 ** floor(log2(spare))
    return picture.reduce(factor), view.scaled_down(factor)


def _crop_to_eye_and_resize(
    transform: FundusTransform, picture: Image.Image, view: FieldOfView
) -> Image.Image:
    """Cut out the box around the whole eye, and resize it. Parts outside the photograph are black.

    If the photograph was squashed, the box is not a square. Resizing the box to a square undoes the
    squash. The edges of the box may lie between pixels. They are not rounded to whole pixels.
    Rounding could move the eye by up to a pixel if the same photograph were decoded at another
    scale.
    """
    left, top = view.eye_left, view.eye_top
    first_column, first_row = floor(left), floor(top)
    left, top = left - first_column, top - first_row
    columns, rows = ceil(left + view.eye_width_px), ceil(top + view.eye_height_px)
    square = picture.crop(
        (first_column, first_row, first_column + columns, first_row + rows)  # black beyond it
    )
    return square.resize(
        (transform.width_px, transform.height_px),
        _RESAMPLING[transform.interpolation],
        box=(left, top, left + view.eye_width_px, top + view.eye_height_px),
    )


def _apply_graham_filter_to_eye(
    transform: FundusTransform,
    resized: NDArray[np.uint8],
    source_px: tuple[int, int],
    view: FieldOfView,
) -> NDArray[np.float32]:
    """Apply Graham's filter to the eye in the resized picture.

    ``source_px`` is the width and height of the picture before it was resized. It is needed to find
    the eye in the resized picture.
    """
    # Few models use the filter, and a cold start need not import it for the others.
    from drdeploy.grader.fundus.graham import Eye, apply_graham_filter

    if transform.crop == "field_of_view":  # the eye touches all four sides
        radius_x, radius_y = transform.width_px / 2, transform.height_px / 2
        return apply_graham_filter(
            resized.astype(np.float32), Eye(radius_x, radius_y, radius_x, radius_y)
        )
    scale_x = transform.width_px / source_px[0]
    scale_y = transform.height_px / source_px[1]
    eye = Eye(
        centre_x=(view.eye_left + view.eye_width_px / 2) * scale_x,
        centre_y=(view.eye_top + view.eye_height_px / 2) * scale_y,
        radius_x=view.eye_width_px / 2 * scale_x,
        radius_y=view.eye_height_px / 2 * scale_y,
    )
    return apply_graham_filter(resized.astype(np.float32), eye)


def _scale_pixel_values(
    transform: FundusTransform, image: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Apply the value range, channel order, mean and standard deviation in one multiply-add."""
    gain, offset = _compute_gain_and_offset(transform)
    ordered = image[..., ::-1] if transform.channel_order == "bgr" else image
    # Whole rows at once: looping over three channels at a time takes NumPy ten times as long.
    scaled: NDArray[np.float32] = ordered.astype(np.float32, order="C").reshape(len(image), -1)
    scaled *= gain
    scaled += offset
    return scaled.reshape(image.shape)


@lru_cache(4)
def _compute_gain_and_offset(
    transform: FundusTransform,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the factor and the addend that scale each value in a row of pixels for the model."""
    low, high = transform.value_range
    std = np.asarray(transform.std, dtype=np.float64)
    mean = np.asarray(transform.mean, dtype=np.float64)
    gain = ((high - low) / 255.0 / std).astype(np.float32)
    offset = ((low - mean) / std).astype(np.float32)
    return np.tile(gain, transform.width_px), np.tile(offset, transform.width_px)

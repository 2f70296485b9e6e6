"""Turn a decoded photograph into a model's input, as its ``FundusTransform`` says."""

from __future__ import annotations

from math import ceil, floor, log2
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from drdeploy.grader.fundus.decode import ImageLimits, read_header
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


def model_input(
    transform: FundusTransform,
    data: bytes,
    *,
    limits: ImageLimits = ImageLimits(),
    eye_px: int = 0,
) -> NDArray[np.float32]:
    """Go from a photograph's file to a model's input: read, decode, find the eye, transform.

    Args:
        transform: What the model was trained with.
        data: The file.
        limits: How large it may be.
        eye_px: Least diameter of the eye for a gradability check; 0 if there is none.

    Returns:
        Shape ``(height_px, width_px, 3)``, C-contiguous.

    Raises:
        RequestRefused: The file cannot be used.
    """
    header = read_header(data, limits=limits)
    return apply(transform, decode_photograph(header, transform, eye_px=eye_px))


def apply(transform: FundusTransform, photograph: DecodedPhotograph) -> NDArray[np.float32]:
    """Crop, resize, filter and scale, in the order that the transform documents.

    Returns:
        Shape ``(height_px, width_px, 3)``, C-contiguous.
    """
    image, view = _shrink_by_averaging(transform, photograph)
    if transform.crop == "field_of_view":
        resized = _crop_and_resize(transform, image, view)
    elif (transform.width_px, transform.height_px) == (image.shape[1], image.shape[0]):
        resized = image
    else:
        stretched = Image.fromarray(image).resize(
            (transform.width_px, transform.height_px), _RESAMPLING[transform.interpolation]
        )
        resized = np.asarray(stretched)
    if transform.filter == "graham":
        return _scale_values(transform, _filter_eye(transform, resized, image, view))
    return _scale_values(transform, resized)


def _shrink_by_averaging(
    transform: FundusTransform, photograph: DecodedPhotograph
) -> tuple[NDArray[np.uint8], FieldOfView]:
    """Shrink a picture much larger than the input by a power of two, as a JPEG decoder does.

    So the input hardly depends on how far the photograph was decoded.  Networks are sensitive to
    it: a tenth of a level in the mean can move a probability by 0.02.
    """
    image, view = photograph.image, photograph.view
    extent_px = view.side_px if transform.crop == "field_of_view" else min(image.shape[:2])
    spare = extent_px / transform.least_eye_px
    if transform.interpolation == "nearest" or spare < 2:
        return image, view
    factor = 2 ** floor(log2(spare))
    return np.asarray(Image.fromarray(image).reduce(factor)), view.shrunk(factor)


def _crop_and_resize(
    transform: FundusTransform, image: NDArray[np.uint8], view: FieldOfView
) -> NDArray[np.uint8]:
    """Cut out the square around the eye, black where it reaches beyond the frame, and resize it.

    The square keeps its fractions of a pixel.  If they were rounded, the eye would move by a pixel
    between two decodes of the same photograph.
    """
    left = (view.left + view.right - view.side_px) / 2
    top = (view.top + view.bottom - view.side_px) / 2
    first_column, first_row = floor(left), floor(top)
    left, top = left - first_column, top - first_row
    columns, rows = ceil(left + view.side_px), ceil(top + view.side_px)
    square = _cut_out(image, (first_row, first_row + rows), (first_column, first_column + columns))
    resized = Image.fromarray(square).resize(
        (transform.width_px, transform.height_px),
        _RESAMPLING[transform.interpolation],
        box=(left, top, left + view.side_px, top + view.side_px),
    )
    return np.asarray(resized)


def _cut_out(
    image: NDArray[np.uint8], rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut these rows and columns out of the frame, black where they lie outside."""
    part = image[max(0, rows[0]) : rows[1], max(0, columns[0]) : columns[1]]
    cut = np.zeros((rows[1] - rows[0], columns[1] - columns[0], 3), dtype=np.uint8)
    above, before = max(0, -rows[0]), max(0, -columns[0])
    cut[above : above + part.shape[0], before : before + part.shape[1]] = part
    return cut


def _filter_eye(
    transform: FundusTransform,
    resized: NDArray[np.uint8],
    image: NDArray[np.uint8],
    view: FieldOfView,
) -> NDArray[np.float32]:
    """Graham's filter over the eye as it lies in the resized picture."""
    # Few models use the filter, and a cold start need not import it for the others.
    from drdeploy.grader.fundus.graham import Eye, graham

    if transform.crop == "field_of_view":  # the eye touches all four sides
        radius_x, radius_y = transform.width_px / 2, transform.height_px / 2
        return graham(resized.astype(np.float32), Eye(radius_x, radius_y, radius_x, radius_y))
    scale_x = transform.width_px / image.shape[1]
    scale_y = transform.height_px / image.shape[0]
    eye = Eye(
        centre_x=(view.left + view.right) / 2 * scale_x,
        centre_y=(view.top + view.bottom) / 2 * scale_y,
        radius_x=view.side_px / 2 * scale_x,
        radius_y=view.side_px / 2 * scale_y,
    )
    return graham(resized.astype(np.float32), eye)


def _scale_values(transform: FundusTransform, image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Apply value range, channel order, mean and standard deviation as one multiply-add."""
    low, high = transform.value_range
    std = np.asarray(transform.std, dtype=np.float64)
    mean = np.asarray(transform.mean, dtype=np.float64)
    gain = ((high - low) / 255.0 / std).astype(np.float32)
    offset = ((low - mean) / std).astype(np.float32)
    ordered = image[..., ::-1] if transform.channel_order == "bgr" else image
    # Whole rows at once: looping over three channels at a time takes NumPy ten times as long.
    rows = np.ascontiguousarray(ordered).reshape(len(image), -1)
    scaled: NDArray[np.float32] = np.multiply(rows, np.tile(gain, image.shape[1]), dtype=np.float32)
    scaled += np.tile(offset, image.shape[1])
    return scaled.reshape(image.shape)

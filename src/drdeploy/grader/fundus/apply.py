"""Do to a photograph what a :class:`~drdeploy.grader.fundus.transform.FundusTransform` says."""

from __future__ import annotations

from math import ceil, floor, log2
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from drdeploy.grader.fundus.decode import ImageLimits, decode_pixels, read_header, reduction
from drdeploy.grader.fundus.field_of_view import FieldOfView, field_of_view
from drdeploy.grader.fundus.graham import Eye, graham

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.transform import FundusTransform

OVERSAMPLING = 1.5
"""How much larger than the model's input the eye stays when a photograph is decoded small."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def apply(
    transform: FundusTransform, image: NDArray[np.uint8], view: FieldOfView | None = None
) -> NDArray[np.float32]:
    """Model input from a photograph, in the order that the transform documents.

    Args:
        transform: What the model was trained with.
        image: RGB, shape ``(h, w, 3)``.
        view: Where the eye is in it, if that is known already.

    Returns:
        Shape ``(height_px, width_px, 3)``, C-contiguous.
    """
    if view is None and (transform.crop == "field_of_view" or transform.filter == "graham"):
        view = field_of_view(image)
    image, view = _averaged(transform, image, view)
    eye = _inscribed(transform)
    if transform.crop == "field_of_view":
        resized = _cropped(transform, image, view)
    else:
        resized = _stretched(transform, image)
        eye = _stretched_eye(transform, view, image.shape[1], image.shape[0])
    if transform.filter == "graham":
        return _scaled(transform, graham(resized.astype(np.float32), eye))
    return _scaled(transform, resized)


def decode_for(
    transform: FundusTransform,
    data: bytes,
    limits: ImageLimits = ImageLimits(),
    *,
    eye_px: int = 0,
) -> NDArray[np.uint8]:
    """Decode a photograph no larger than the transform needs: :func:`see`, but its pixels alone.

    Raises:
        RequestRefused: As :func:`~drdeploy.grader.fundus.decode.decode`.
    """
    return see(transform, read_header(data, limits=limits), eye_px=eye_px).image


class DecodedPhotograph(NamedTuple):
    """A decoded photograph.

    Attributes:
        image: RGB, shape ``(h, w, 3)``.
        view: Where the eye is in it, if that had to be found out.
    """

    image: NDArray[np.uint8]
    view: FieldOfView | None


def see(transform: FundusTransform, header: ImageHeader, *, eye_px: int = 0) -> DecodedPhotograph:
    """Decode no more of a photograph than the transform needs, its eye no smaller than ``eye_px``.

    The eye stays at least ``OVERSAMPLING`` times as large as the model's input, so that the input
    is nearly the one of a full decode.  How large the eye is shows only in the picture: it is
    decoded once for the case that the eye fills the frame, and again, larger, where it does not.
    A transform with ``nearest`` picks single pixels of the photograph, so it gets all of them.

    Args:
        transform: What the model was trained with.
        header: Of the file, within the limits.
        eye_px: Least diameter of the eye, for whatever else looks at it; 0 if nothing does.

    Raises:
        RequestRefused: As :func:`~drdeploy.grader.fundus.decode.decode`.
    """
    if transform.interpolation == "nearest":
        return DecodedPhotograph(decode_pixels(header), None)
    needed_px = max(_needed_px(transform), eye_px)
    image = decode_pixels(header, min_side_px=needed_px)
    looks_for_eye = transform.crop == "field_of_view" or eye_px > 0
    if not looks_for_eye or reduction(header, needed_px) == 1:
        return DecodedPhotograph(image, None)
    view = field_of_view(image)
    larger_px = ceil(needed_px / (view.side_px / min(image.shape[:2])))
    if reduction(header, larger_px) < reduction(header, needed_px):
        return DecodedPhotograph(decode_pixels(header, min_side_px=larger_px), None)
    return DecodedPhotograph(image, view)


def _averaged(
    transform: FundusTransform, image: NDArray[np.uint8], view: FieldOfView | None
) -> tuple[NDArray[np.uint8], FieldOfView]:
    """What is much larger than the input shrinks by a power of two first, as a decoder does it.

    So the input hardly depends on how far the photograph was decoded, and networks are sensitive:
    a tenth of a level in the mean can move a probability by 0.02.
    """
    height_px, width_px = image.shape[:2]
    view = view or FieldOfView.whole(width_px, height_px)
    extent_px = view.side_px if transform.crop == "field_of_view" else min(height_px, width_px)
    spare = extent_px / _needed_px(transform)
    if transform.interpolation == "nearest" or spare < 2:
        return image, view
    factor = 2 ** floor(log2(spare))
    return np.asarray(Image.fromarray(image).reduce(factor)), view.shrunk(factor)


def _needed_px(transform: FundusTransform) -> int:
    """How large the eye must at least be decoded."""
    return ceil(OVERSAMPLING * max(transform.height_px, transform.width_px))


def _stretched(transform: FundusTransform, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (transform.width_px, transform.height_px)
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, _RESAMPLING[transform.interpolation]))


def _cropped(
    transform: FundusTransform, image: NDArray[np.uint8], view: FieldOfView
) -> NDArray[np.uint8]:
    """The square around the view, black where it reaches beyond the frame.

    The square keeps its fractions of a pixel: rounded to the model's pixels, the eye would jump by
    one between two decodes of the same photograph.
    """
    left = (view.left + view.right - view.side_px) / 2
    top = (view.top + view.bottom - view.side_px) / 2
    first_column, first_row = floor(left), floor(top)
    left, top = left - first_column, top - first_row
    columns, rows = ceil(left + view.side_px), ceil(top + view.side_px)
    square = _cut(image, (first_row, first_row + rows), (first_column, first_column + columns))
    resized = Image.fromarray(square).resize(
        (transform.width_px, transform.height_px),
        _RESAMPLING[transform.interpolation],
        box=(left, top, left + view.side_px, top + view.side_px),
    )
    return np.asarray(resized)


def _cut(
    image: NDArray[np.uint8], rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[np.uint8]:
    """The part of the frame between these rows and columns, black where they lie outside."""
    part = image[max(0, rows[0]) : rows[1], max(0, columns[0]) : columns[1]]
    cut = np.zeros((rows[1] - rows[0], columns[1] - columns[0], 3), dtype=np.uint8)
    above, before = max(0, -rows[0]), max(0, -columns[0])
    cut[above : above + part.shape[0], before : before + part.shape[1]] = part
    return cut


def _inscribed(transform: FundusTransform) -> Eye:
    """The eye after the crop: it touches all four sides."""
    radius_x, radius_y = transform.width_px / 2, transform.height_px / 2
    return Eye(radius_x, radius_y, radius_x, radius_y)


def _stretched_eye(
    transform: FundusTransform, view: FieldOfView, width_px: int, height_px: int
) -> Eye:
    """The eye where the whole frame was stretched: an ellipse."""
    scale_x, scale_y = transform.width_px / width_px, transform.height_px / height_px
    return Eye(
        centre_x=(view.left + view.right) / 2 * scale_x,
        centre_y=(view.top + view.bottom) / 2 * scale_y,
        radius_x=view.side_px / 2 * scale_x,
        radius_y=view.side_px / 2 * scale_y,
    )


def _scaled(transform: FundusTransform, image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Value range, channel order, mean and standard deviation, as one multiply-add."""
    low, high = transform.value_range
    std = np.asarray(transform.std, dtype=np.float64)
    mean = np.asarray(transform.mean, dtype=np.float64)
    gain = ((high - low) / 255.0 / std).astype(np.float32)
    offset = ((low - mean) / std).astype(np.float32)
    ordered = image[..., ::-1] if transform.channel_order == "bgr" else image
    # Whole rows at once: NumPy's loop over three channels at a time takes ten times as long.
    rows = np.ascontiguousarray(ordered).reshape(len(image), -1)
    scaled: NDArray[np.float32] = np.multiply(rows, np.tile(gain, image.shape[1]), dtype=np.float32)
    scaled += np.tile(offset, image.shape[1])
    return scaled.reshape(image.shape)

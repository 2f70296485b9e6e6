"""A photograph, decoded no larger than needed, and where the eye is in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from drdeploy.grader.fundus.decode import decode_pixels, reduction
from drdeploy.grader.fundus.field_of_view import FieldOfView, field_of_view

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.transform import FundusTransform


@dataclass(frozen=True, eq=False)
class DecodedPhotograph:
    """A decoded photograph and where the eye is in it.

    The gradability check and the transform both start from it.

    Attributes:
        image: RGB, shape ``(h, w, 3)``.
        view: Where the eye is in it; the whole frame if there is no dark surround, or if neither
            the transform nor the gradability check needs to know.
        reduction: How many times smaller the image is than the picture in the file.
    """

    image: NDArray[np.uint8]
    view: FieldOfView
    reduction: float = 1.0

    @classmethod
    def of(cls, image: NDArray[np.uint8], *, reduction: float = 1.0) -> DecodedPhotograph:
        """Find the eye in pixels that are decoded already."""
        return cls(image, field_of_view(image), reduction)


def decode_photograph(
    header: ImageHeader, transform: FundusTransform, *, eye_px: int = 0
) -> DecodedPhotograph:
    """Decode a photograph no larger than a model needs it, and find the eye in it.

    Args:
        header: Of the file, checked against the limits.
        transform: How the photograph will become the model's input.
        eye_px: Least diameter of the eye for the gradability check; 0 if there is none.

    Raises:
        RequestRefused: The file does not decode.
    """
    if transform.interpolation == "nearest":
        # It picks single pixels, and a smaller decode would have averaged these away.
        needed_px = None
    else:
        needed_px = max(transform.least_eye_px, eye_px)
    image = decode_pixels(header, min_side_px=needed_px)
    if eye_px or transform.needs_eye:
        view = field_of_view(image)
    else:
        view = FieldOfView.whole(image.shape[1], image.shape[0])
    is_scaled_to_eye = eye_px > 0 or transform.crop == "field_of_view"
    if needed_px is not None and is_scaled_to_eye:
        # How large the eye is shows only in the picture. So it was decoded for an eye that fills
        # the frame, as nearly all do; a smaller eye needs a larger decode.
        larger_px = ceil(needed_px / (view.side_px / min(image.shape[:2])))
        factor, larger_factor = reduction(header, needed_px), reduction(header, larger_px)
        if larger_factor < factor:
            image = decode_pixels(header, min_side_px=larger_px)
            view = view.enlarged(factor // larger_factor, image.shape[1], image.shape[0])
    longer_side_px = max(header.width_px, header.height_px)
    return DecodedPhotograph(image, view, longer_side_px / max(image.shape[:2]))

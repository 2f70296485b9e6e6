"""Decode a photograph no larger than the model needs, and find the eye in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from drdeploy.grader.fundus.decode import choose_reduction_factor, decode_picture_of_header
from drdeploy.grader.fundus.eye_copies import EyeCopies
from drdeploy.grader.fundus.field_of_view import FieldOfView, find_field_of_view
from drdeploy.grader.fundus.surround import paint_surround_black

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.fundus.formats.header import ImageHeader
    from drdeploy.grader.fundus.transform import FundusTransform


@dataclass(frozen=True, eq=False)
class DecodedPhotograph:
    """A decoded photograph, and the place of the eye in it.

    The gradability check and the transform both start from a decoded photograph.

    Attributes:
        picture: The picture in mode ``RGB``.
        view: Where the eye is in the picture. The view covers the whole frame if no eye is found,
            or if neither the transform nor the gradability check needs to know where the eye is.
        reduction: How many times the picture in the file is larger than ``picture`` on each side.
    """

    picture: Image.Image
    view: FieldOfView
    reduction: float = 1.0

    @classmethod
    def from_pixels(cls, image: NDArray[np.uint8], *, reduction: float = 1.0) -> DecodedPhotograph:
        """Return decoded pixels together with the position of the eye."""
        picture = Image.fromarray(image)
        view = find_field_of_view(picture)
        return cls(paint_surround_black(picture, view), view, reduction)

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture as an array of shape ``(h, w, 3)``."""
        return np.asarray(self.picture)

    @cached_property
    def eye_copies(self) -> EyeCopies:
        """Small copies of the eye, made when they are first needed."""
        return EyeCopies.make_shrunk_copies_of_picture(self.picture, self.view)


def decode_photograph(
    header: ImageHeader, transform: FundusTransform, *, eye_px: int = 0
) -> DecodedPhotograph:
    """Decode a photograph at the smallest scale that the model's input allows, and find the eye.

    Args:
        header: Header of the file, checked against the limits.
        transform: How the photograph will become the model's input.
        eye_px: The smallest diameter of the eye at which gradability can be checked; 0 if
            gradability is not checked.

    Raises:
        RequestRefused: The file cannot be decoded.
    """
    if transform.interpolation == "nearest":
        # "nearest" picks single pixels, which decoding at a smaller scale would have averaged away.
        needed_px = None
    else:
        needed_px = max(transform.minimum_eye_diameter_px, eye_px)
    picture = decode_picture_of_header(header, min_side_px=needed_px)
    if eye_px or transform.needs_position_of_eye:
        view = find_field_of_view(picture)
    else:
        view = FieldOfView.covering_whole_frame(*picture.size)
    is_scaled_to_eye = eye_px > 0 or transform.crop == "field_of_view"
    if needed_px is not None and is_scaled_to_eye:
        # The size of the eye is known only after decoding. The first decoding assumed an eye that
        # fills the frame, as nearly all eyes do; a smaller eye must be decoded at a larger scale.
        shorter_px = min(view.eye_width_px, view.eye_height_px)
        larger_px = ceil(needed_px / (shorter_px / min(picture.size)))
        factor, larger_factor = (
            choose_reduction_factor(header, needed_px),
            choose_reduction_factor(header, larger_px),
        )
        if larger_factor < factor:
            picture = decode_picture_of_header(header, min_side_px=larger_px)
            view = view.scaled_up(factor // larger_factor, *picture.size)
    picture = paint_surround_black(picture, view)
    longer_side_px = max(header.width_px, header.height_px)
    return DecodedPhotograph(picture, view, longer_side_px / max(picture.size))

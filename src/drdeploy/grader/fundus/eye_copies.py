"""Small copies of the eye, on which gradability and appearance are measured.

Scaling and blurring take longer than measuring, so each copy of a photograph is made only once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from drdeploy.grader.fundus.field_of_view import FieldOfView

DETAIL_PX = 256
"""Diameter of the eye in the copy on which detail is measured; the eye in the decoded photograph
should not be smaller."""
COLOUR_PX = 64
"""Diameter of the eye in the copy on which colour is measured."""
FINE_BLUR_PX = 2.0
"""Standard deviation of the blur that removes vessels and small lesions."""


@dataclass(frozen=True, eq=False)
class EyeCopies:
    """Two small copies of the box around a whole eye.

    Attributes:
        colour: RGB; the eye has a diameter of :data:`COLOUR_PX`.
        green: The green channel; the eye has a diameter of :data:`DETAIL_PX`.
    """

    colour: Image.Image
    green: Image.Image

    @classmethod
    def make_shrunk_copies_of_picture(cls, picture: Image.Image, view: FieldOfView) -> EyeCopies:
        """Cut out the box around the whole eye and shrink it; areas outside the frame are black."""
        left, top = round(view.eye_left), round(view.eye_top)
        width, height = max(1, round(view.eye_width_px)), max(1, round(view.eye_height_px))
        eye = picture.crop((left, top, left + width, top + height))
        return cls(
            eye.resize((COLOUR_PX, COLOUR_PX), Image.Resampling.BOX, reducing_gap=1.0),
            eye.getchannel("G").resize(
                (DETAIL_PX, DETAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0
            ),
        )

    @cached_property
    def finely_blurred(self) -> Image.Image:
        """The green copy, blurred by :data:`FINE_BLUR_PX`."""
        return self.green.filter(ImageFilter.GaussianBlur(FINE_BLUR_PX))

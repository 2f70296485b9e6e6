"""The part of a manifest that describes how a photograph becomes the model's input."""

from __future__ import annotations

from math import ceil
from typing import Literal

import msgspec

OVERSAMPLING = 1.5
"""The decoded eye must be at least this many times as large as the model's input.

Decoding at this scale takes a fraction of the time of decoding at full size, and gives nearly the
same input.
"""

CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)
"""ImageNet mean of each channel in the order BGR, with which VGG and ResNet v1 were trained."""


class FundusTransform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The preprocessing of a photograph for a model.

    The steps have this order: crop, resize to ``height_px`` x ``width_px``, filter, value range,
    channel order, subtract the mean, divide by the standard deviation.

    Attributes:
        height_px: Height of the model's input.
        width_px: Width of the model's input.
        crop: How the photograph is cut: ``field_of_view`` cuts away the surround and pads the eye
            to a square, so that it keeps its shape; ``none`` stretches the whole frame.
        filter: The filter that is applied. ``graham`` subtracts the local mean colour (B. Graham,
            Kaggle report 2015), and ``none`` changes nothing.
        interpolation: How pixels are interpolated; every method except ``nearest`` uses
            antialiasing.
        value_range: The values to which the pixel values 0 and 255 are mapped.
        channel_order: Order of the three channels that the model expects.
        mean: Value that is subtracted from each channel after scaling, in the model's channel
            order.
        std: Value by which each channel is divided after subtracting the mean, in the model's
            channel order.
    """

    height_px: int = 224
    width_px: int = 224
    crop: Literal["none", "field_of_view"] = "field_of_view"
    filter: Literal["none", "graham"] = "none"
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    value_range: tuple[float, float] = (-1.0, 1.0)
    channel_order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def needs_position_of_eye(self) -> bool:
        """Whether the model's input depends on the position of the eye."""
        return self.crop == "field_of_view" or self.filter == "graham"

    @property
    def minimum_eye_diameter_px(self) -> int:
        """The least diameter of the eye, in pixels, in a photograph decoded at a smaller size."""
        return ceil(OVERSAMPLING * max(self.height_px, self.width_px))


STUDY_TRANSFORM = FundusTransform(crop="none", interpolation="nearest")
"""The 2023 study's preprocessing: stretch the image to 224 x 224, and scale it to [-1, 1]."""

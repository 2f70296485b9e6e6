"""Describe how a photograph becomes a model's input.  The description travels in the manifest."""

from __future__ import annotations

from math import ceil
from typing import Literal

import msgspec

OVERSAMPLING = 1.5
"""How much larger than the model's input the eye must be decoded: then the input is nearly that of
a full decode, at a fraction of its time."""

CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)
"""ImageNet mean per channel in the order BGR, which VGG and ResNet v1 were trained with."""


class FundusTransform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that is done to a photograph before the model sees it, in this order.

    crop -> resize to ``height_px`` x ``width_px`` -> filter -> value range -> channel order
    -> subtract the mean, divide by the standard deviation.

    Attributes:
        height_px: Height of the model's input.
        width_px: Width of the model's input.
        crop: ``field_of_view`` cuts away the black surround and pads to a square, so that the
            eye keeps its shape; ``none`` stretches the whole frame.
        filter: ``graham`` subtracts the local mean colour (B. Graham, Kaggle report 2015).
        interpolation: How pixels are interpolated; with antialiasing, except for ``nearest``.
        value_range: What the pixel values 0 and 255 become.
        channel_order: Order of the three channels that the model expects.
        mean: Subtracted from each channel after scaling, in the model's channel order.
        std: What each channel is divided by then, in the model's channel order.
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
    def needs_eye(self) -> bool:
        """Whether the model's input depends on where the eye is."""
        return self.crop == "field_of_view" or self.filter == "graham"

    @property
    def least_eye_px(self) -> int:
        """Diameter in pixels that the eye must keep when a photograph is decoded smaller."""
        return ceil(OVERSAMPLING * max(self.height_px, self.width_px))


STUDY_TRANSFORM = FundusTransform(crop="none", interpolation="nearest")
"""What the original study did to every image: stretch it to 224 x 224, scale it to [-1, 1]."""

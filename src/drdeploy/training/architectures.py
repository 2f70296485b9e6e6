"""The networks, and the preprocessing that each was designed for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.fundus.transform import CAFFE_BGR_MEAN, FundusTransform

SCALED_RGB: Final = FundusTransform(value_range=(-1.0, 1.0))
"""Keras's mode ``tf``: RGB scaled to [-1, 1]."""

CAFFE_BGR: Final = FundusTransform(
    value_range=(0.0, 255.0), channel_order="bgr", mean=CAFFE_BGR_MEAN
)
"""Keras's mode ``caffe``: BGR in 0 to 255, minus ImageNet's mean."""


@dataclass(frozen=True)
class Architecture:
    """A network with the study's head.

    Attributes:
        name: As in ``keras.applications``, whose function of that name builds the base.
        parameter_count: With the study's head for five classes.
        transform: How a photograph becomes its input.
    """

    name: str
    parameter_count: int
    transform: FundusTransform

    def at_side(self, side_px: int) -> Architecture:
        """The same network for larger or smaller input; its weights fit every size."""
        transform = msgspec.structs.replace(self.transform, height_px=side_px, width_px=side_px)
        return replace(self, transform=transform)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of its input."""
        return (self.transform.height_px, self.transform.width_px, 3)


ARCHITECTURES: Final = {
    architecture.name.lower(): architecture
    for architecture in (
        Architecture("MobileNet", parameter_count=3_377_221, transform=SCALED_RGB),
        Architecture("VGG19", parameter_count=20_107_205, transform=CAFFE_BGR),
    )
}
"""By lower-case name: one small network and one large one, as the original study chose."""


def find_architecture(name: str) -> Architecture:
    """Look up a network, whatever its name's case.

    Raises:
        InvalidInput: There is no such network.
    """
    try:
        return ARCHITECTURES[name.lower()]
    except KeyError:
        known = ", ".join(architecture.name for architecture in ARCHITECTURES.values())
        raise InvalidInput(
            f"No architecture is called '{name}'", remedy=f"Choose one of {known}"
        ) from None

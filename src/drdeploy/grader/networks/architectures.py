"""The 27 networks that the 2023 study compared, each with the preprocessing that it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.transform import CAFFE_BGR_MEAN, FundusTransform

STUDY_SIDE_PX: Final = 224
"""Side of every network's input in the 2023 study. The study replaced the classifier of each
network, so the remaining weights fit every input size."""

Preprocessing = Literal["tf", "caffe", "torch", "in-graph"]
"""Kinds of preprocessing, under the names that Keras uses; an ``in-graph`` network scales its input
itself."""

TRANSFORMS: Final[dict[Preprocessing, FundusTransform]] = {
    "tf": FundusTransform(value_range=(-1.0, 1.0)),
    "caffe": FundusTransform(value_range=(0.0, 255.0), channel_order="bgr", mean=CAFFE_BGR_MEAN),
    "torch": FundusTransform(
        value_range=(0.0, 1.0), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "in-graph": FundusTransform(value_range=(0.0, 255.0)),
}
"""For each kind of preprocessing, the transform from a photograph to the network's input."""


@dataclass(frozen=True)
class Architecture:
    """A network that the 2023 study compared, with the study's last layers.

    Attributes:
        name: Name of the function in ``keras.applications`` that builds the base.
        parameter_count: Number of weights, including the study's last layers for five classes.
        preprocessing: Kind of preprocessing with which the network's designers trained it.
        side_px: Height and width of the network's input.
    """

    name: str
    parameter_count: int
    preprocessing: Preprocessing
    side_px: int = STUDY_SIDE_PX

    def with_input_side(self, side_px: int) -> Architecture:
        """Return the architecture with another input size; the number of weights stays the same."""
        return replace(self, side_px=side_px)

    @property
    def transform(self) -> FundusTransform:
        """The preprocessing that turns a photograph into the network's input."""
        return msgspec.structs.replace(
            TRANSFORMS[self.preprocessing], height_px=self.side_px, width_px=self.side_px
        )

    @property
    def shape_of_input(self) -> tuple[int, int, int]:
        """The height, width and channels of the network's input."""
        return (self.side_px, self.side_px, 3)


ARCHITECTURES: Final = {
    architecture.name.lower(): architecture
    for architecture in (
        Architecture("DenseNet121", 7_185_861, "torch"),
        Architecture("DenseNet169", 12_873_157, "torch"),
        Architecture("DenseNet201", 18_585_029, "torch"),
        Architecture("EfficientNetB0", 4_230_696, "in-graph"),
        Architecture("EfficientNetB1", 6_756_364, "in-graph"),
        Architecture("EfficientNetB2", 7_966_078, "in-graph"),
        Architecture("EfficientNetB3", 10_997_428, "in-graph"),
        Architecture("EfficientNetB4", 17_920_484, "in-graph"),
        Architecture("EfficientNetB5", 28_792_956, "in-graph"),
        Architecture("EfficientNetB6", 41_272_340, "in-graph"),
        Architecture("EfficientNetB7", 64_442_652, "in-graph"),
        Architecture("InceptionResNetV2", 54_550_629, "tf"),
        Architecture("InceptionV3", 22_082_213, "tf"),
        Architecture("MobileNet", 3_377_221, "tf"),
        Architecture("MobileNetV2", 2_439_109, "tf"),
        Architecture("MobileNetV3Large", 3_136_517, "in-graph"),
        Architecture("MobileNetV3Small", 1_030_133, "in-graph"),
        Architecture("NASNetMobile", 4_422_169, "tf"),
        Architecture("ResNet50", 23_867_141, "caffe"),
        Architecture("ResNet101", 42_937_605, "caffe"),
        Architecture("ResNet152", 58_650_373, "caffe"),
        Architecture("ResNet50V2", 23_844_229, "tf"),
        Architecture("ResNet101V2", 42_905_989, "tf"),
        Architecture("ResNet152V2", 58_611_077, "tf"),
        Architecture("VGG16", 14_797_509, "caffe"),
        Architecture("VGG19", 20_107_205, "caffe"),
        Architecture("Xception", 21_140_909, "tf"),
    )
}
"""The networks that the 2023 study compared, by lower-case name.  For hosting, the study chose
MobileNet, a small network, and VGG19, a large network."""


def find_architecture(name: str) -> Architecture:
    """Find a network by its name in upper or lower case.

    Raises:
        InvalidInput: No network has this name.
    """
    try:
        return ARCHITECTURES[name.lower()]
    except KeyError:
        known = ", ".join(architecture.name for architecture in ARCHITECTURES.values())
        raise InvalidInput(
            f"The architecture '{name}' is not known", remedy=f"Choose one of {known}"
        ) from None

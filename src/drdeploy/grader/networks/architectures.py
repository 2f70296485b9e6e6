"""The 27 networks of the study, and the preprocessing that each was designed for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.transform import CAFFE_BGR_MEAN, FundusTransform

STUDY_SIDE_PX: Final = 224
"""Side of every network's input in the study.  Without the original classifier on top, a network's
weights fit every input size, so none had to keep the size that it was designed for."""

Preprocessing = Literal["tf", "caffe", "torch", "in-graph"]
"""Kinds of preprocessing by Keras's names; ``in-graph`` networks scale their input themselves."""

TRANSFORMS: Final[dict[Preprocessing, FundusTransform]] = {
    "tf": FundusTransform(value_range=(-1.0, 1.0)),
    "caffe": FundusTransform(value_range=(0.0, 255.0), channel_order="bgr", mean=CAFFE_BGR_MEAN),
    "torch": FundusTransform(
        value_range=(0.0, 1.0), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "in-graph": FundusTransform(value_range=(0.0, 255.0)),
}
"""What is left to do outside the network for each kind of preprocessing."""


@dataclass(frozen=True)
class Architecture:
    """A network with the study's head.

    Attributes:
        name: Of the function in ``keras.applications`` that builds the base.
        parameter_count: With the study's head for five classes.
        preprocessing: What its designers trained it with.
        side_px: Height and width of its input.
    """

    name: str
    parameter_count: int
    preprocessing: Preprocessing
    side_px: int = STUDY_SIDE_PX

    def at_side(self, side_px: int) -> Architecture:
        """Return the same network for another input size; its weights fit every size."""
        return replace(self, side_px=side_px)

    @property
    def transform(self) -> FundusTransform:
        """How a photograph becomes its input."""
        return msgspec.structs.replace(
            TRANSFORMS[self.preprocessing], height_px=self.side_px, width_px=self.side_px
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of its input."""
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
"""The networks that the original study compared, by lower-case name.  For hosting it chose two:
MobileNet, a small one, and VGG19, a large one."""


def find_architecture(name: str) -> Architecture:
    """Find a network by its name in upper or lower case.

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

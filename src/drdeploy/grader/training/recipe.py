"""How a network is trained: every choice in one place, from a preset or a TOML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0)]


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a photograph may look like instead; each drawn anew for every photograph and epoch.

    An eye has no upright: it may be mirrored and turned by any angle.  Cameras differ in light
    and colour, hence the rest.

    Attributes:
        flips: Mirror half of the photographs.
        rotation_deg: Turn by up to so many degrees either way.
        zoom: Smallest and largest scale of the eye.
        shift: Move by up to this share of the side.
        stretch: Change the aspect by up to this share.
        brightness: Range of the natural log of the gain of all channels.
        colour: Range of the natural log of the gain of each channel.
        gamma: Range of the natural log of the exponent.
        saturation: Range of the change of saturation.
    """

    flips: bool = True
    rotation_deg: NotNegative = 180.0
    zoom: tuple[Positive, Positive] = (0.9, 1.15)
    shift: Share = 0.04
    stretch: Share = 0.05
    brightness: NotNegative = 0.25
    colour: NotNegative = 0.15
    gamma: NotNegative = 0.25
    saturation: NotNegative = 0.3


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to train.

    Attributes:
        trainable: ``head`` leaves the base as it is; ``all`` trains it too, after the first
            ``head_epochs``.  Batch normalisation stays in inference mode either way: with a few
            hundred photographs its statistics are better left alone, and in the folded ImageNet
            weights of this project they are already part of the convolutions.
        epochs: All of them, ``head_epochs`` included.
        head_epochs: At the start, with the base frozen: a random head must not spoil it.
        batch_size: Photographs per step.
        learning_rate: At its peak, of AdamW (Loshchilov and Hutter, ICLR 2019); it rises over
            ``warm_up_epochs`` and falls to zero along a cosine.
        weight_decay: Of AdamW.
        clip_norm: Largest norm of each variable's gradient.
        class_weight_power: A grade's photographs weigh as the inverse of its share to this
            power: 0 treats photographs alike, 1 treats grades alike.
        smoothing: Share of the label that goes to the neighbouring grades, the nearer the more.
        ordinal_weight: Of the squared error of the expected grade, added to the cross-entropy:
            two grades off is worse than one.
        patience: Stop when validation kappa has not risen for so many epochs, and take the best
            epoch's weights; 0 trains to the end.  With a schedule that ends at zero the last
            epoch is as good, and out-of-fold figures stay free of that choice.
        augmentation: None shows every photograph as it is.
    """

    trainable: Literal["head", "all"] = "all"
    epochs: Count = 16
    head_epochs: CountOrNone = 1
    batch_size: Count = 16
    learning_rate: Positive = 3e-4
    warm_up_epochs: CountOrNone = 2
    weight_decay: NotNegative = 1e-4
    clip_norm: Positive = 1.0
    class_weight_power: Share = 0.5
    smoothing: Share = 0.1
    ordinal_weight: NotNegative = 0.3
    patience: CountOrNone = 0
    augmentation: Augmentation | None = Augmentation()


STUDY: Final = Recipe(
    trainable="head",
    epochs=20,
    head_epochs=0,
    batch_size=32,
    learning_rate=1e-3,
    warm_up_epochs=0,
    weight_decay=0.0,
    class_weight_power=0.0,
    smoothing=0.0,
    ordinal_weight=0.0,
    augmentation=None,
)
"""The original study's way: frozen base, no class weights.  Its augmentation was silently
ignored by the notebook that it built on, so there is none."""

FINE_TUNED: Final = Recipe()
"""End to end, every grade counted, errors weighed by their distance."""

PRESETS: Final = {"study": STUDY, "fine-tuned": FINE_TUNED}


def find_recipe(preset: str = "fine-tuned", file: Path | None = None) -> Recipe:
    """A preset, or a TOML file with the fields of :class:`Recipe`.

    Raises:
        InvalidInput: There is no such preset or file, or a field is wrong.
    """
    if file is None:
        if preset not in PRESETS:
            raise InvalidInput(
                f"No preset is called '{preset}'", remedy=f"Choose one of {', '.join(PRESETS)}"
            )
        return PRESETS[preset]
    if not file.is_file():
        raise InvalidInput("There is no such recipe", where=str(file))
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Recipe)
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise InvalidInput(f"The recipe cannot be used: {err}", where=str(file)) from err

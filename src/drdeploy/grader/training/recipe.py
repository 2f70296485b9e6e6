"""Every choice of a training, from a preset or a TOML file."""

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
    """Ranges of random changes, drawn anew for every photograph and epoch.

    Disease looks the same in a mirrored or turned eye, so any angle is allowed.  Light and colour
    are changed because cameras differ in them.

    Attributes:
        flips: Mirror half of the photographs.
        rotation_deg: Turn by up to so many degrees in either direction.
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
    """How a network is trained.

    Attributes:
        trainable: ``head`` leaves the base as it is; ``all`` trains it too, after the first
            ``head_epochs``.  Batch normalisation stays in inference mode in either case: a few
            hundred photographs would make its statistics worse, and in the folded ImageNet
            weights of this project they are already part of the convolutions.
        epochs: How many, including ``head_epochs``.
        head_epochs: How many at the start with the base frozen, so that the gradients of a random
            head do not damage it.
        batch_size: Photographs in a step.
        learning_rate: Peak of AdamW's (Loshchilov and Hutter, ICLR 2019).
        warm_up_epochs: In these the learning rate rises to its peak; then it falls to zero along
            a cosine.
        weight_decay: Of AdamW.
        clip_norm: Largest norm of the gradient of each variable.
        class_weight_power: Photographs are weighed by the inverse of their grade's share to this
            power: 0 weighs all photographs alike, 1 all grades.
        smoothing: Share of the label that is spread over the neighbouring grades.
        ordinal_weight: Weight of the squared error of the expected grade, which is added to the
            cross-entropy: being two grades off is worse than one.
        patience: Stop when validation kappa has not risen for so many epochs, and use the weights
            of the best epoch; 0 trains to the end.  As the learning rate ends at zero, the last
            epoch is as good, and no choice is made that would flatter the out-of-fold figures.
        augmentation: Random changes of the photographs; None makes none.
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
"""What the original study did: a frozen base, no class weights.  The notebook that it built on
silently ignored its augmentation, so there is none here."""

FINE_TUNED: Final = Recipe()
"""All layers are trained, rare grades are weighed up, and errors count by their distance."""

PRESETS: Final = {"study": STUDY, "fine-tuned": FINE_TUNED}


def find_recipe(preset: str = "fine-tuned", file: Path | None = None) -> Recipe:
    """Return a preset, or read a TOML file with the fields of :class:`Recipe`.

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

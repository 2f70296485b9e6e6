"""All settings of a training, from a preset or a TOML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.files import explain_unusable_path, read_toml_file

if TYPE_CHECKING:
    from pathlib import Path

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0)]
TrainingPrecision = Literal["float32", "bfloat16"]


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ranges of the changes that augmentation makes to photographs at random in every epoch.

    Disease looks the same in a mirrored or rotated eye, so any angle is allowed.  Light and colour
    are changed because they differ between cameras.

    Attributes:
        flips: Whether to mirror half of the photographs.
        rotation_deg: Largest rotation in either direction, in degrees.
        zoom: Smallest and largest scale of the eye.
        shift: Largest shift, as a share of the side.
        stretch: Largest change of the aspect ratio, as a share.
        brightness: Largest absolute natural logarithm of the factor by which every channel is
            multiplied.
        colour: Largest absolute natural logarithm of a second factor, which is drawn separately for
            each channel.
        gamma: Largest absolute natural logarithm of the exponent to which values are raised.
        saturation: Largest change of saturation, as a share.
    """

    flips: bool = True
    rotation_deg: NotNegative = 180.0
    zoom: tuple[_Positive, _Positive] = (0.9, 1.15)
    shift: _Share = 0.04
    stretch: _Share = 0.05
    brightness: NotNegative = 0.25
    colour: NotNegative = 0.15
    gamma: NotNegative = 0.25
    saturation: NotNegative = 0.3


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings with which a network is trained.

    Attributes:
        trainable: Which layers are trained. ``head`` trains only the last layers. ``all`` trains
            the base too, once the first ``head_epochs`` are over. Batch normalisation is never
            trained: it keeps the statistics that it came with, because a few hundred photographs
            would make them worse.
        frozen_up_to: Name of the layer of the base up to which all layers stay frozen, such as
            ``block3_pool`` of VGG16 and VGG19; empty freezes no layer.  The output of the frozen
            layers is computed only once for each photograph and epoch, and all folds use it.
        epochs: Number of epochs, including ``head_epochs``.
        head_epochs: Number of epochs at the start in which only the last layers are trained. While
            the last layers are still random, their gradients would damage the base.
        batch_size: Number of photographs in a step.
        learning_rate: Largest learning rate of AdamW (Loshchilov and Hutter, ICLR 2019).
        head_learning_rate: Learning rate during the first ``head_epochs``. After these epochs, the
            learning rate rises to ``learning_rate``. If ``head_learning_rate`` is 0, the learning
            rate rises to ``learning_rate`` from the first epoch on.
        warm_up_epochs: Epochs in which the learning rate rises to ``learning_rate``, before it
            falls to zero along a cosine.
        weight_decay: Weight decay of AdamW.
        clip_norm: Largest norm of the gradient of each variable.
        class_weight_power: Photographs are weighted by this power of the inverse share of their
            grade: 0 gives all photographs the same weight, 1 gives all grades the same weight.
        smoothing: Share of each label that is spread over the grade and its neighbouring grades.
        ordinal_weight: Weight of the squared error of the expected grade, which is added to the
            cross-entropy, because an error of two grades is worse than an error of one grade.
        patience: Stop when validation kappa has not risen for this many epochs, and use the weights
            of the best epoch. With 0, the default, the network trains to the end: choosing the best
            epoch would make the out-of-fold results look better than they are.
        precision: With ``bfloat16``, a processor multiplies numbers of 16 bits instead of 32, if it
            has instructions for this (AMX or AVX-512 BF16). A large network then trains faster. On
            other processors, ``bfloat16`` means ``float32``. Weights, losses and predictions keep
            32 bits. A GPU multiplies numbers of 16 bits with either setting.
        augmentation: Ranges of the random changes; None changes no photograph.
    """

    trainable: Literal["head", "all"] = "all"
    frozen_up_to: str = ""
    epochs: _Count = 16
    head_epochs: CountOrNone = 1
    batch_size: _Count = 16
    learning_rate: _Positive = 3e-4
    head_learning_rate: NotNegative = 0.0
    warm_up_epochs: CountOrNone = 2
    weight_decay: NotNegative = 1e-4
    clip_norm: _Positive = 1.0
    class_weight_power: _Share = 0.5
    smoothing: _Share = 0.1
    ordinal_weight: NotNegative = 0.3
    patience: CountOrNone = 0
    precision: TrainingPrecision = "float32"
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
"""The 2023 study's recipe: a frozen base and no class weights. There is no augmentation, because
the augmentation in the study's notebook had no effect.
"""

FINE_TUNED: Final = Recipe()
"""All layers except batch normalisation are trained, rare grades get a larger weight, and an error
of several grades costs more than an error of one grade.
"""

FINE_TUNED_VGG: Final = Recipe(
    frozen_up_to="block3_pool",
    epochs=8,
    head_epochs=2,
    batch_size=8,
    learning_rate=1e-4,
    head_learning_rate=1e-3,
    warm_up_epochs=1,
    precision="bfloat16",
)
"""Of the base, this recipe trains only the last two blocks of VGG16 or VGG19, which hold seven
eighths of the base's weights. The training takes less than an hour on two cores. Networks without
batch normalization need a smaller learning rate than ``fine-tuned`` has. The recipe has fewer
epochs than ``fine-tuned``, each with twice as many steps.
"""

PRESETS: Final = {
    "study": STUDY,
    "fine-tuned": FINE_TUNED,
    "fine-tuned-vgg": FINE_TUNED_VGG,
}


def read_recipe_or_preset(preset: str = "fine-tuned", file: Path | None = None) -> Recipe:
    """Return a preset, or read a TOML file with the fields of :class:`Recipe`.

    Raises:
        InvalidInput: The preset or the file does not exist, or a field is wrong.
    """
    if file is None:
        if preset not in PRESETS:
            raise InvalidInput(
                f"The preset '{preset}' does not exist",
                remedy=f"Choose one of {', '.join(PRESETS)}",
            )
        return PRESETS[preset]
    if not file.is_file():
        raise InvalidInput(
            explain_unusable_path(file, "The recipe file does not exist", wanted="file"),
            where=str(file),
            remedy="Give a TOML file with --recipe, or choose a recipe with --preset",
        )
    try:
        return msgspec.convert(read_toml_file(file), Recipe)
    except OSError as err:
        raise InvalidInput(
            f"The recipe file cannot be read: {err.strerror}",
            where=str(file),
            remedy="Give a TOML file that you may read",
        ) from err
    except ValueError as err:
        what = str(err).replace("`", "'")
        raise InvalidInput(
            f"The recipe is not valid: {what}",
            where=str(file),
            remedy="Correct the file, or choose a recipe with --preset",
        ) from err

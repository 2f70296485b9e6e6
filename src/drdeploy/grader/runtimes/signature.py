"""Compare a model's input and output with its manifest, and split batches for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import ModelLoadFailed, PredictionFailed
from drdeploy.grader.grading.outputs import ONE_VALUE, explain_wrong_class_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import InputLayout, ModelManifest
    from drdeploy.grader.fundus.transform import FundusTransform

Shape = tuple[int | None, ...]
"""The lengths of a tensor's axes; None for any length.  Empty if the model declares no shape."""

RGB_CHANNELS = 3
BATCH_SIZE_MAX = 256
"""The largest batch size that is allowed for a model with a fixed batch size. A model with a fixed
batch size takes as long for a single photograph as for a whole batch.
"""
FLOATS = frozenset({"float16", "float32", "float64"})
INTEGERS = frozenset({"uint8", "int32", "int64"})


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model.

    Attributes:
        name: Name of the input or output in the model.
        shape: The length of each axis; None if the model does not declare it.
        dtype: Name of the element type.
    """

    name: str
    shape: Shape
    dtype: str

    def __str__(self) -> str:
        lengths = " x ".join("any" if one is None else str(one) for one in self.shape)
        return f"'{self.name}' ({lengths or 'no shape declared'})"


@dataclass(frozen=True)
class ModelSignature:
    """What batches a model takes, and which of its outputs holds the predictions.

    Attributes:
        image_shape: Height, width and channels, as the manifest's transform makes them.
        is_channels_first: Whether the model takes ``(n, 3, height, width)``.
        batch_size: The only batch size that the model takes; None for any.
        dtype: Element type of the model's input.
        output: Position of the output with one value per class.
    """

    image_shape: tuple[int, int, int]
    is_channels_first: bool
    batch_size: int | None
    dtype: np.dtype[Any]
    output: int = 0

    def predict_in_model_shape(
        self, batch: NDArray[np.float32], predict: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> NDArray[np.float32]:
        """Predict a batch ``(n, height, width, 3)`` in the layout and batch size of the model.

        Raises:
            PredictionFailed: The batch does not have the shape of the model's input.
        """
        if batch.ndim != 4 or batch.shape[1:] != self.image_shape:
            raise PredictionFailed(
                f"The batch has shape {batch.shape}, but the model takes {self.image_shape} images"
            )
        data = np.moveaxis(batch, 3, 1) if self.is_channels_first else batch
        if self.dtype.kind in "iu":
            data = np.rint(data).clip(0, 255)
        data = np.ascontiguousarray(data, dtype=self.dtype)
        size = self.batch_size
        if size is None or len(data) == size:
            return np.asarray(predict(data), dtype=np.float32)
        # A model of one batch size: the last piece is filled up with zeros.
        padding = np.zeros((-len(data) % size, *data.shape[1:]), data.dtype)
        padded = np.concatenate([data, padding])
        outputs = [predict(piece) for piece in np.split(padded, len(padded) // size)]
        return np.concatenate(outputs)[: len(data)].astype(np.float32)


def check_and_read_signature(
    manifest: ModelManifest, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> ModelSignature:
    """Check a model's inputs and outputs against its manifest.

    Raises:
        ModelLoadFailed: The model does not classify RGB photographs, or its input size, its output
            or its number of classes differs from the manifest.
    """
    taken = find_image_input(manifest, inputs)
    transform = manifest.transform
    signature = ModelSignature(
        image_shape=(transform.height_px, transform.width_px, RGB_CHANNELS),
        is_channels_first=_choose_layout(manifest, taken) == "nchw",
        batch_size=taken.shape[0],
        dtype=np.dtype(taken.dtype),
        output=_find_output_of_probabilities(manifest, outputs),
    )
    _refuse_fractions_for_integer_input(manifest, taken, transform)
    _check_input_size(manifest, taken, signature)
    _check_class_count(manifest, outputs[signature.output])
    return signature


def find_image_input(manifest: ModelManifest, inputs: Sequence[Tensor]) -> Tensor:
    """Return the model's only input, which must take a batch of pictures.

    Raises:
        ModelLoadFailed: There are several inputs, or the input does not take pictures.
    """
    if len(inputs) != 1:
        raise make_model_refused_error(
            manifest,
            f"The model takes {len(inputs)} inputs, not one image: "
            f"{_describe_tensors_of_model(inputs)}",
            "Export a model whose only input is the photograph",
        )
    (taken,) = inputs
    if taken.dtype not in FLOATS | INTEGERS:
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} takes values of type {taken.dtype}, which cannot hold "
            "pixels",
            "Export the model with an input of float32",
        )
    if len(taken.shape) != 4:
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} is not a batch of RGB images",
            "Export the model with an input of batch x 3 x height x width, or of "
            "batch x height x width x 3",
        )
    if taken.shape[0] is not None and not 1 <= taken.shape[0] <= BATCH_SIZE_MAX:
        raise make_model_refused_error(
            manifest,
            f"The model takes batches of {taken.shape[0]} images, not of 1 to {BATCH_SIZE_MAX}",
            "Export the model for batches of any size",
        )
    return taken


def find_layouts(shape: Shape) -> tuple[InputLayout, ...]:
    """Return the layouts, NHWC or NCHW, in which a tensor of this shape can hold RGB images."""
    _, first, _, last = shape
    if last == RGB_CHANNELS:
        return ("nhwc",)
    if first == RGB_CHANNELS:
        return ("nchw",)
    unsaid: tuple[tuple[InputLayout, int | None], ...] = (("nchw", first), ("nhwc", last))
    return tuple(layout for layout, side in unsaid if side is None)


def make_model_refused_error(manifest: ModelManifest, what: str, remedy: str) -> ModelLoadFailed:
    """Make the error for a model that does not fit its manifest, or cannot grade photographs."""
    return ModelLoadFailed(what, where=manifest.name, remedy=remedy)


def _choose_layout(manifest: ModelManifest, taken: Tensor) -> InputLayout:
    layouts = find_layouts(taken.shape)
    if not layouts:
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} is not a batch of RGB images: no axis has 3 channels",
            "Export a model that takes colour photographs",
        )
    said = manifest.input_layout
    if said is not None and said not in layouts:
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} has a different order of axes than '{said}'",
            "Leave out --input-layout",
        )
    if said is None and len(layouts) > 1:
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} does not say which axis has the 3 channels",
            "Pack the model with --input-layout nchw if it was made with PyTorch, or nhwc if it "
            "was made with TensorFlow",
        )
    return said or layouts[0]


def _find_output_of_probabilities(manifest: ModelManifest, outputs: Sequence[Tensor]) -> int:
    names = [output.name for output in outputs]
    wanted = manifest.output_name
    if wanted is None and len(outputs) == 1:
        return 0
    if wanted is not None and names.count(wanted) == 1:
        return names.index(wanted)
    what = (
        f"The model has {len(outputs)} outputs: {_describe_tensors_of_model(outputs)}"
        if wanted is None
        else f"The model has no output '{wanted}': {_describe_tensors_of_model(outputs)}"
    )
    raise make_model_refused_error(
        manifest,
        what,
        "Pack the model with --output-name NAME, where NAME is the output with one value per class",
    )


def _describe_tensors_of_model(tensors: Sequence[Tensor], most: int = 6) -> str:
    more = f" and {len(tensors) - most} more" if len(tensors) > most else ""
    return ", ".join(map(str, tensors[:most])) + more


def _refuse_fractions_for_integer_input(
    manifest: ModelManifest, taken: Tensor, transform: FundusTransform
) -> None:
    """Refuse a transform that makes fractions if the model's integer input would round them."""
    is_plain = not any(transform.mean) and all(std == 1 for std in transform.std)
    if taken.dtype in INTEGERS and not (transform.value_range == (0, 255) and is_plain):
        raise make_model_refused_error(
            manifest,
            f"The model takes whole numbers ({taken.dtype}), but the manifest's transform "
            "makes fractions",
            "Pack the model with --value-range 0,255 and without --mean and --std",
        )


def _check_input_size(manifest: ModelManifest, taken: Tensor, signature: ModelSignature) -> None:
    height, width = taken.shape[2:4] if signature.is_channels_first else taken.shape[1:3]
    made = signature.image_shape[:2]
    if any(side not in {None, px} for side, px in zip((height, width), made, strict=True)):
        raise make_model_refused_error(
            manifest,
            f"The model's input {taken} does not fit the images of {made[0]} x {made[1]} "
            "pixels that the manifest's transform makes",
            "Pack the model, and set --height-px and --width-px to the size of the model's input",
        )


def _check_class_count(manifest: ModelManifest, answer: Tensor) -> None:
    classes = manifest.classes
    if answer.shape and len(answer.shape) != 2:
        raise make_model_refused_error(
            manifest,
            f"The model's output {answer} does not have one row per image",
            "Pack the model with --output-name and the name of an output with one value per class",
        )
    count = answer.shape[1] if answer.shape else None
    if count == 1:
        raise make_model_refused_error(manifest, *ONE_VALUE)
    if classes and count not in {None, len(classes)}:
        raise make_model_refused_error(
            manifest, *explain_wrong_class_count(count or 0, len(classes))
        )

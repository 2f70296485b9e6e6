"""Compare a model's input and output with its manifest, and batch its input accordingly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import ModelLoadFailed, PredictionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact

Shape = tuple[int | None, ...]
"""Sides of a tensor; None for a side of any length."""

RGB_CHANNELS = 3


@dataclass(frozen=True)
class Signature:
    """The shape and type in which a model takes a batch.

    Attributes:
        image_shape: Height, width and channels, as the manifest's transform makes them.
        is_channels_first: The model takes ``(n, 3, height, width)``.
        batch_size: The only batch size that it takes; None for any.
        dtype: Element type of its input.
    """

    image_shape: tuple[int, int, int]
    is_channels_first: bool
    batch_size: int | None
    dtype: np.dtype[np.float32] | np.dtype[np.float16]

    def run(
        self,
        batch: NDArray[np.float32],
        predict: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    ) -> NDArray[np.float32]:
        """Predict a batch, rearranged and split as the model takes it.

        Args:
            batch: Shape ``(n, height, width, 3)``.
            predict: Calls the model.

        Raises:
            PredictionFailed: The batch has another shape.
        """
        if batch.ndim != 4 or batch.shape[1:] != self.image_shape:
            raise PredictionFailed(f"The batch {batch.shape} is not one of {self.image_shape}")
        data = np.moveaxis(batch, 3, 1) if self.is_channels_first else batch
        data = np.ascontiguousarray(data, dtype=self.dtype)
        size = self.batch_size
        if size is None or len(data) == size:
            return np.asarray(predict(data), dtype=np.float32)
        # A model of one batch size: the last piece is filled up with zeros.
        padding = np.zeros((-len(data) % size, *data.shape[1:]), data.dtype)
        padded = np.concatenate([data, padding])
        outputs = [predict(piece) for piece in np.split(padded, len(padded) // size)]
        return np.concatenate(outputs)[: len(data)].astype(np.float32)


def read_signature(
    artifact: ModelArtifact,
    *,
    inputs: Sequence[tuple[Shape, str]],
    outputs: Sequence[Shape],
) -> Signature:
    """Check a model's inputs and outputs against its manifest.

    Args:
        artifact: The model's.
        inputs: Shape and name of the element type of each.
        outputs: Shape of each.

    Raises:
        ModelLoadFailed: The model does not classify RGB photographs, or not those of the size,
            or into the number of classes, that the manifest says.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise _refused(
            artifact,
            f"The model has {len(inputs)} inputs and {len(outputs)} outputs, not one of each",
        )
    shape, dtype = inputs[0]
    if dtype not in {"float32", "float16"}:
        raise _refused(artifact, f"The model takes {dtype}, not floating-point pixels")
    transform = artifact.manifest.transform
    signature = Signature(
        image_shape=(transform.height_px, transform.width_px, RGB_CHANNELS),
        is_channels_first=_is_channels_first(artifact, shape),
        batch_size=shape[0],
        dtype=np.dtype(dtype),
    )
    _check_size(artifact, shape, signature)
    _check_outputs(artifact, outputs[0])
    return signature


def _is_channels_first(artifact: ModelArtifact, shape: Shape) -> bool:
    if len(shape) == 4 and shape[3] in {RGB_CHANNELS, None}:
        return shape[3] is None and shape[1] == RGB_CHANNELS
    if len(shape) == 4 and shape[1] == RGB_CHANNELS:
        return True
    raise _refused(artifact, f"The model's input {shape} is not a batch of RGB images")


def _check_size(artifact: ModelArtifact, shape: Shape, signature: Signature) -> None:
    taken = shape[2:4] if signature.is_channels_first else shape[1:3]
    given = signature.image_shape[:2]
    if any(side not in {None, made} for side, made in zip(taken, given, strict=True)):
        raise _refused(
            artifact,
            f"The model takes images of {taken} pixels, the manifest's transform makes {given}",
            "Pack the model with its own height_px and width_px",
        )


def _check_outputs(artifact: ModelArtifact, shape: Shape) -> None:
    classes = artifact.manifest.classes
    if len(shape) != 2:
        raise _refused(artifact, f"The model's output {shape} is not one row per image")
    if classes and shape[1] not in {None, len(classes)}:
        raise _refused(
            artifact,
            f"The model has {shape[1]} outputs, the manifest names {len(classes)} classes",
            "Pack the model with its own class names",
        )


def _refused(artifact: ModelArtifact, what: str, remedy: str = "") -> ModelLoadFailed:
    return ModelLoadFailed(what, where=artifact.manifest.name, remedy=remedy)

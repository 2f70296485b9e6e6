"""Compute the output of a network's frozen layers once, for all folds of a training.

The first layers of a network take the most time to compute, and learn the least from a few hundred
photographs. If they stay frozen, their output for an augmented photograph is the same in every
fold. Each epoch augments every photograph once, and all folds share the outputs of the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import open_for_atomic_write
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.training.augmentation import augment_photographs
from drdeploy.grader.training.scaling import scale_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.training.prepared_photographs import PreparedPhotographs
    from drdeploy.grader.training.recipe import Recipe

BATCH_SIZE = 16


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """The output of the frozen layers for every photograph of a data set.

    The arrays stay in files of several hundred megabytes; only the rows in use are read.

    Attributes:
        augmented: For each epoch, the output for the augmented photographs, shape ``(n, …)``.
        exact: The output for the photographs without augmentation, as on a server, shape ``(n,
            …)``.
    """

    augmented: tuple[NDArray[np.float32], ...]
    exact: NDArray[np.float32]


def split_network_at_layer(network: Any, name: str) -> tuple[Any, Any]:
    """Return the network up to a layer, and the network after this layer, with shared weights.

    Raises:
        InvalidInput: The network has no such layer, or has a connection that bypasses the layer.
    """
    keras = import_tensorflow_and_keras().keras
    try:
        middle = network.get_layer(name).output
        return keras.Model(network.input, middle), keras.Model(middle, network.output)
    except ValueError as err:
        raise InvalidInput(
            f"The network {network.name} cannot be divided at the layer '{name}'",
            where="frozen_up_to in the recipe",
            remedy="Name a layer that no connection bypasses, such as block3_pool of VGG19",
        ) from err


def compute_frozen_features(
    network: Any,
    transform: FundusTransform,
    prepared: PreparedPhotographs,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
) -> FrozenFeatures:
    """Compute the output of the layers up to ``recipe.frozen_up_to``, or read it from the folder.

    Args:
        network: A network whose frozen layers have their weights.
        transform: The network's transform, for its size and value range.
        prepared: The photographs.
        recipe: The recipe, which names the last frozen layer.
        seed: Seed of the augmentation.
        folder: A folder for the outputs of one run.

    Raises:
        InvalidInput: The network cannot be divided at the layer.
    """
    tf = import_tensorflow_and_keras().tensorflow
    lower, _ = split_network_at_layer(network, recipe.frozen_up_to)
    size = (transform.height_px, transform.width_px)

    def compute_from_pixels(pixels: Any, key: Any) -> Any:
        del key
        return tf.cast(lower(scale_pixel_values(pixels, transform), training=False), tf.float32)

    def compute_from_augmented_pixels(pixels: Any, key: Any) -> Any:
        return compute_from_pixels(
            augment_photographs(pixels, *size, key, recipe.augmentation), key
        )

    exact = tf.function(compute_from_pixels, autograph=False)
    augmented = tf.function(compute_from_augmented_pixels, autograph=False)
    return FrozenFeatures(
        augmented=tuple(
            _read_or_compute(folder / f"epoch_{epoch}.npy", augmented, prepared.large, seed, epoch)
            for epoch in range(recipe.epochs)
        ),
        exact=_read_or_compute(folder / "exact.npy", exact, prepared.exact, seed, 0),
    )


def _read_or_compute(
    path: Path, compute: Callable[..., Any], pixels: NDArray[np.uint8], seed: int, epoch: int
) -> NDArray[np.float32]:
    """Map the file of an array into memory; if there is none, compute the array and write it."""
    tf = import_tensorflow_and_keras().tensorflow
    if not path.is_file():
        steps = range(0, len(pixels), BATCH_SIZE)
        rows = [
            compute(
                tf.constant(pixels[at : at + BATCH_SIZE]),
                tf.constant([seed, epoch * len(pixels) + at], dtype=tf.int32),
            ).numpy()
            for at in steps
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_for_atomic_write(path) as file:
            np.save(file, np.concatenate(rows))
    found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found

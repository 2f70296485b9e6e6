"""Decode, crop and scale the photographs of a data set once, before training."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.files import open_for_atomic_write, sha256_of_bytes
from drdeploy.grader.fundus.apply import make_model_input
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.transform import FundusTransform

MARGIN = 1.15
"""The prepared photographs are larger than the network's input by this factor, which leaves a
margin for augmentation to zoom and shift.
"""


@dataclass(frozen=True, eq=False)
class PreparedPhotographs:
    """The pixels and grades of a data set's photographs, in the order of the data set.

    Attributes:
        large: RGB photographs for augmentation, shape ``(n, MARGIN * height, MARGIN * width, 3)``.
        exact: RGB photographs in the size of the network's input, shape ``(n, height, width, 3)``.
            A server prepares photographs in the same way, and then scales their values for the
            network.
        labels: Grades, shape ``(n,)``, 0 to 4.
    """

    large: NDArray[np.uint8]
    exact: NDArray[np.uint8]
    labels: NDArray[np.intp]


def prepare_photographs(
    dataset: Dataset, transform: FundusTransform, cache: Path | None = None
) -> PreparedPhotographs:
    """Decode and transform a data set, or read the pixels from the cache.

    Args:
        dataset: A data set whose photographs can all be decoded.
        transform: The network's transform.
        cache: A folder that keeps the pixels. The name of a file contains a digest of the
            photographs and the transform, so other photographs get another file.

    Raises:
        RequestRefused: A photograph cannot be decoded.
    """
    pixels = transform_ending_in_rgb_pixels(transform)
    larger = msgspec.structs.replace(
        pixels,
        height_px=math.ceil(transform.height_px * MARGIN),
        width_px=math.ceil(transform.width_px * MARGIN),
    )
    key = sha256_of_bytes(dataset.digest_with_files.encode() + msgspec.json.encode(pixels))
    path = None if cache is None else cache / f"{key}.npz"
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return PreparedPhotographs(kept["large"], kept["exact"], dataset.grades)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        both = list(
            pool.map(
                lambda one: _apply_each_transform(one.read_file_bytes(), larger, pixels),
                dataset.photographs,
            )
        )
    prepared = PreparedPhotographs(
        np.stack([one for one, _ in both]), np.stack([two for _, two in both]), dataset.grades
    )
    if path is not None:
        with open_for_atomic_write(path) as file:
            np.savez(file, large=prepared.large, exact=prepared.exact)
    return prepared


def transform_ending_in_rgb_pixels(transform: FundusTransform) -> FundusTransform:
    """Return a transform with the same crop, size and filter, whose output is RGB from 0 to 255."""
    return msgspec.structs.replace(
        transform,
        value_range=(0.0, 255.0),
        channel_order="rgb",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def _apply_each_transform(
    photograph: bytes, *transforms: FundusTransform
) -> tuple[NDArray[np.uint8], ...]:
    return tuple(_decode_to_transformed_pixels(photograph, transform) for transform in transforms)


def _decode_to_transformed_pixels(
    photograph: bytes, transform: FundusTransform
) -> NDArray[np.uint8]:
    values = make_model_input(transform, photograph, limits=LOCAL_FILE_LIMITS)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)

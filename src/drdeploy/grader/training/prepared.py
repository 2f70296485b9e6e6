"""Decode, crop and scale the photographs of a data set once, before training on them."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.files import atomic_writer, sha256_of
from drdeploy.grader.fundus.apply import model_input
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.transform import FundusTransform

MARGIN = 1.15
"""How much larger than the network's input photographs are kept, for augmentation to zoom in."""


@dataclass(frozen=True, eq=False)
class PreparedPhotographs:
    """The pixels of a data set's photographs, in its order.

    Attributes:
        large: RGB, shape ``(n, MARGIN * height, MARGIN * width, 3)``, to augment from.
        exact: RGB, shape ``(n, height, width, 3)``: the same pixels that a server makes, before
            the value range is applied.
    """

    large: NDArray[np.uint8]
    exact: NDArray[np.uint8]


def prepare(
    dataset: Dataset, transform: FundusTransform, cache: Path | None = None
) -> PreparedPhotographs:
    """Decode and transform a data set, or take it from the cache.

    Args:
        dataset: Its photographs must decode.
        transform: The network's.
        cache: A folder that keeps the pixels, by a digest of the contents and the transform.

    Raises:
        RequestRefused: A photograph cannot be decoded.
    """
    pixels = as_pixels(transform)
    larger = msgspec.structs.replace(
        pixels,
        height_px=math.ceil(transform.height_px * MARGIN),
        width_px=math.ceil(transform.width_px * MARGIN),
    )
    key = sha256_of(dataset.digest.encode() + msgspec.json.encode(pixels))
    path = None if cache is None else cache / f"{key}.npz"
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return PreparedPhotographs(kept["large"], kept["exact"])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = [one.file for one in dataset.photographs]
        both = list(pool.map(lambda file: (_pixels(file, larger), _pixels(file, pixels)), files))
    prepared = PreparedPhotographs(
        np.stack([one for one, _ in both]), np.stack([two for _, two in both])
    )
    if path is not None:
        with atomic_writer(path) as file:
            np.savez(file, large=prepared.large, exact=prepared.exact)
    return prepared


def as_pixels(transform: FundusTransform) -> FundusTransform:
    """Return a transform with the same crop, size and filter that ends in RGB from 0 to 255."""
    return msgspec.structs.replace(
        transform,
        value_range=(0.0, 255.0),
        channel_order="rgb",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def _pixels(file: Path, transform: FundusTransform) -> NDArray[np.uint8]:
    values = model_input(transform, file.read_bytes(), limits=LOCAL_FILE_LIMITS)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)

"""Check that photographs decode: a file with a sound header may be damaged further on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import RequestRefused
from drdeploy.grader.fundus.decode import decode_pixels, read_header
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from drdeploy.grader.datasets.dataset import Dataset

CHECKED_SIDE_PX = 256
"""A JPEG is decoded to about that size: every byte is still read, and it is faster."""


@dataclass(frozen=True)
class DecodeCheck:
    """The result of decoding one photograph.

    Attributes:
        size_bytes: Of the file.
        width_px: As stored; 0 if the header cannot be read.
        height_px: As stored; 0 if the header cannot be read.
        problem: Why it does not decode; empty if it does.
    """

    size_bytes: int = 0
    width_px: int = 0
    height_px: int = 0
    problem: str = ""


def decode_all(
    dataset: Dataset,
    track: Callable[[Iterable[DecodeCheck]], Iterable[DecodeCheck]] = lambda all_: all_,
) -> tuple[DecodeCheck, ...]:
    """Decode every photograph of a data set once.

    Args:
        dataset: What to decode.
        track: Wraps the results as they come, to show progress.

    Returns:
        One result per photograph, in the data set's order.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(track(pool.map(_decode, (one.file for one in dataset.photographs))))


def readable(dataset: Dataset) -> Dataset:
    """Set aside the photographs that do not decode."""
    return without_problems(dataset, decode_all(dataset))


def without_problems(dataset: Dataset, decoded: Iterable[DecodeCheck]) -> Dataset:
    """Set aside what did not decode, given the results in the data set's order."""
    reasons = {index: one.problem for index, one in enumerate(decoded) if one.problem}
    return dataset.setting_aside(reasons, "unreadable")


def _decode(file: Path) -> DecodeCheck:
    try:
        data = file.read_bytes()
        header = read_header(data, limits=LOCAL_FILE_LIMITS)
    except OSError as err:
        return DecodeCheck(problem=f"the file cannot be read: {err.strerror}")
    except RequestRefused as err:
        return DecodeCheck(len(data), problem=err.what)
    try:
        decode_pixels(header, min_side_px=CHECKED_SIDE_PX)
    except RequestRefused as err:
        return DecodeCheck(len(data), header.width_px, header.height_px, err.what)
    return DecodeCheck(len(data), header.width_px, header.height_px)

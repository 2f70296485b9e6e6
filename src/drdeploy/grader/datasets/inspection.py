"""Decode every photograph of a data set, and report problems before training.

The photographs are decoded completely, because a damaged file may still have a valid header.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput, RequestRefused
from drdeploy.grader.datasets.duplicates import find_copied_photographs, set_copies_aside
from drdeploy.grader.datasets.folds import find_leaking_groups
from drdeploy.grader.fundus.decode import decode_image_of_header, read_and_check_header
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from drdeploy.grader.datasets.dataset import Dataset, DropCause, SetAside
    from drdeploy.grader.datasets.duplicates import CopiedPhotograph

CHECKED_SIDE_PX = 256
"""The approximate size to which a JPEG is decoded. Decoding to a small size is faster, and still
reads every byte."""


@dataclass(frozen=True)
class DecodeCheck:
    """The result of decoding one photograph.

    Attributes:
        size_bytes: Size of the file.
        width_px: Width as stored; 0 if the header cannot be read.
        height_px: Height as stored; 0 if the header cannot be read.
        problem: Why the photograph cannot be decoded; empty if it can be decoded.
    """

    size_bytes: int = 0
    width_px: int = 0
    height_px: int = 0
    problem: str = ""


def check_decoding_of_all(
    dataset: Dataset,
    track: Callable[[Iterable[DecodeCheck]], Iterable[DecodeCheck]] = lambda all_: all_,
) -> tuple[DecodeCheck, ...]:
    """Decode every photograph of a data set once, and return a result for each, in the same order.

    ``track`` wraps the iteration over the results, to show progress.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(
            track(pool.map(_check_decoding_of_file, (one.file for one in dataset.photographs)))
        )


def set_undecodable_aside(dataset: Dataset) -> Dataset:
    """Set aside the photographs that cannot be decoded."""
    return set_aside_by_decode_checks(dataset, check_decoding_of_all(dataset))


def set_aside_by_decode_checks(dataset: Dataset, decoded: Iterable[DecodeCheck]) -> Dataset:
    """Set aside the photographs that could not be decoded, given the results of earlier checks."""
    reasons = {index: one.problem for index, one in enumerate(decoded) if one.problem}
    return dataset.set_photographs_aside(reasons, "unreadable")


def _check_decoding_of_file(file: Path) -> DecodeCheck:
    try:
        data = file.read_bytes()
        header = read_and_check_header(data, limits=LOCAL_FILE_LIMITS)
    except OSError as err:
        return DecodeCheck(problem=f"the file cannot be read: {err.strerror}")
    except RequestRefused as err:
        return DecodeCheck(len(data), problem=err.what)
    try:
        decode_image_of_header(header, min_side_px=CHECKED_SIDE_PX)
    except RequestRefused as err:
        return DecodeCheck(len(data), header.width_px, header.height_px, err.what)
    return DecodeCheck(len(data), header.width_px, header.height_px)


@dataclass(frozen=True)
class SizeRange:
    """The smallest, the median and the largest value of a measure, for example of the widths."""

    smallest: int
    median: int
    largest: int

    @classmethod
    def from_image_sizes(cls, values: Iterable[int]) -> SizeRange:
        """Return the smallest, median and largest of the values."""
        ordered = sorted(values)
        return cls(ordered[0], round(float(np.median(ordered))), ordered[-1])


@dataclass(frozen=True)
class DatasetInspection:
    """The result of inspecting a data set.

    Attributes:
        dataset: The data set as it was read.
        usable: The photographs that training and evaluation use. Photographs that cannot be decoded
            are left out, and so are copies.
        copies: Photographs that occur several times.
        leaking: Groups with photographs in more than one split.
        width_px: Widths of the photographs that can be decoded.
        height_px: Heights of the photographs that can be decoded.
        size_bytes: File sizes of the photographs that can be decoded.
    """

    dataset: Dataset
    usable: Dataset
    copies: tuple[CopiedPhotograph, ...]
    leaking: tuple[str, ...]
    width_px: SizeRange
    height_px: SizeRange
    size_bytes: SizeRange

    @property
    def conflicting_copies(self) -> tuple[CopiedPhotograph, ...]:
        """The photographs whose copies have different grades."""
        return tuple(copies for copies in self.copies if copies.has_conflicting_grades)

    def photographs_set_aside_for(self, *causes: DropCause) -> tuple[SetAside, ...]:
        """Return the photographs that were set aside for one of the given causes."""
        return tuple(one for one in self.usable.set_aside if one.cause in causes)


def inspect_dataset(
    dataset: Dataset,
    track: Callable[[Iterable[DecodeCheck]], Iterable[DecodeCheck]] = lambda all_: all_,
) -> DatasetInspection:
    """Decode every photograph, and look for copies and for groups that occur in several splits.

    Raises:
        InvalidInput: No photograph can be decoded.
    """
    decoded = check_decoding_of_all(dataset, track)
    readable = set_aside_by_decode_checks(dataset, decoded)
    fine = [one for one in decoded if not one.problem]
    if not fine:
        raise InvalidInput(
            f"No photograph of the data set can be decoded, for example: {decoded[0].problem}",
            where=str(dataset.folder),
            remedy="Copy the photographs again",
        )
    return DatasetInspection(
        dataset=dataset,
        usable=set_copies_aside(readable),
        copies=find_copied_photographs(dataset),
        leaking=find_leaking_groups(dataset),
        width_px=SizeRange.from_image_sizes(one.width_px for one in fine),
        height_px=SizeRange.from_image_sizes(one.height_px for one in fine),
        size_bytes=SizeRange.from_image_sizes(one.size_bytes for one in fine),
    )

"""Report what to know about a data set before training or evaluating on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.datasets.duplicates import deduplicate, find_copies
from drdeploy.grader.datasets.folds import leaking_groups
from drdeploy.grader.datasets.readability import decode_all, without_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.grader.datasets.dataset import Cause, Dataset, SetAside
    from drdeploy.grader.datasets.duplicates import CopiedPhotograph
    from drdeploy.grader.datasets.readability import DecodeCheck


@dataclass(frozen=True)
class SizeRange:
    """Smallest, median and largest of some numbers."""

    smallest: int
    median: int
    largest: int

    @classmethod
    def of(cls, values: Iterable[int]) -> SizeRange:
        """Describe one value or more."""
        ordered = sorted(values)
        return cls(ordered[0], round(float(np.median(ordered))), ordered[-1])


@dataclass(frozen=True)
class DatasetInspection:
    """A data set and what was found in it.

    Attributes:
        dataset: As it was read.
        usable: Without what does not decode and without copies: what training and evaluation use.
        copies: Photographs that are in it several times.
        leaking: Groups with photographs in more than one split.
        width_px: Of the photographs that decode.
        height_px: Of the photographs that decode.
        size_bytes: Of their files.
    """

    dataset: Dataset
    usable: Dataset
    copies: tuple[CopiedPhotograph, ...]
    leaking: tuple[str, ...]
    width_px: SizeRange
    height_px: SizeRange
    size_bytes: SizeRange

    @property
    def conflicts(self) -> tuple[CopiedPhotograph, ...]:
        """Photographs whose copies have different grades."""
        return tuple(copies for copies in self.copies if copies.is_conflict)

    def set_aside(self, *causes: Cause) -> tuple[SetAside, ...]:
        """Return the photographs that were set aside for one of these causes."""
        return tuple(one for one in self.usable.set_aside if one.cause in causes)


def inspect_dataset(
    dataset: Dataset,
    track: Callable[[Iterable[DecodeCheck]], Iterable[DecodeCheck]] = lambda all_: all_,
) -> DatasetInspection:
    """Decode every photograph, and look for copies and for groups that leak between splits.

    Args:
        dataset: As :func:`load_dataset` read it.
        track: Wraps the photographs as they are decoded, to show progress.

    Raises:
        InvalidInput: No photograph decodes.
    """
    decoded = decode_all(dataset, track)
    readable = without_problems(dataset, decoded)
    fine = [one for one in decoded if not one.problem]
    if not fine:
        raise InvalidInput(
            f"No photograph of the data set decodes: {decoded[0].problem}",
            where=str(dataset.folder),
        )
    return DatasetInspection(
        dataset=dataset,
        usable=deduplicate(readable),
        copies=find_copies(dataset),
        leaking=leaking_groups(dataset),
        width_px=SizeRange.of(one.width_px for one in fine),
        height_px=SizeRange.of(one.height_px for one in fine),
        size_bytes=SizeRange.of(one.size_bytes for one in fine),
    )

"""Find photographs that a data set holds more than once, and keep one of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph

_KEPT_FIRST = {"test": 0, "train": 2}
"""Rank of a split: the copy with the lowest one stays.  Other splits rank 1."""


@dataclass(frozen=True)
class CopiedPhotograph:
    """Two or more entries of a data set with the same content.

    Attributes:
        positions: In the data set, ascending.
        photographs: The entries.
    """

    positions: tuple[int, ...]
    photographs: tuple[LabelledPhotograph, ...]

    @property
    def is_conflict(self) -> bool:
        """Whether they have different grades."""
        return len({one.grade for one in self.photographs}) > 1

    @property
    def kept(self) -> int:
        """Position of the entry to keep: the one in ``test`` if there is one, else the first.

        The test set stays as it was published, and training loses the copy.
        """
        by_position = zip(self.positions, self.photographs, strict=True)
        return min(by_position, key=lambda pair: _KEPT_FIRST.get(pair[1].split or "", 1))[0]


def find_copies(dataset: Dataset) -> tuple[CopiedPhotograph, ...]:
    """Return every photograph whose content is in the data set more than once."""
    by_content: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(dataset.photographs):
        by_content[one.sha256].append(index)
    return tuple(
        CopiedPhotograph(tuple(positions), tuple(dataset.photographs[index] for index in positions))
        for positions in by_content.values()
        if len(positions) > 1
    )


def deduplicate(dataset: Dataset) -> Dataset:
    """Keep one of several copies, or none of them if their grades contradict each other.

    :attr:`CopiedPhotograph.kept` says which one.  The others are set aside, with the reason.
    """
    reasons: dict[int, str] = {}
    for copies in find_copies(dataset):
        if copies.is_conflict:
            grades = ", ".join(
                f"{dataset.name_of(one)}: {int(one.grade)}" for one in copies.photographs
            )
            reason = f"copies with different grades ({grades})"
            reasons |= dict.fromkeys(copies.positions, reason)
        else:
            reason = f"copy of {dataset.name_of(dataset.photographs[copies.kept])}"
            reasons |= {at: reason for at in copies.positions if at != copies.kept}
    return dataset.setting_aside(reasons, "duplicate")

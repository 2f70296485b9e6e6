"""Photographs that a data set holds more than once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph

_KEPT_FIRST = {"test": 0, "train": 2}
"""By split; any other lies between."""


@dataclass(frozen=True)
class Copies:
    """One photograph that stands in a data set several times.

    Attributes:
        positions: In the data set, ascending, two or more.
        photographs: What stands there.
    """

    positions: tuple[int, ...]
    photographs: tuple[LabelledPhotograph, ...]

    @property
    def is_conflict(self) -> bool:
        """Whether they carry different grades."""
        return len({one.grade for one in self.photographs}) > 1

    @property
    def kept(self) -> int:
        """The position that stays if they agree: the one in ``test``, else the first.

        So that the test set stays what it is, and training loses the copy.
        """
        by_position = zip(self.positions, self.photographs, strict=True)
        return min(by_position, key=lambda pair: _KEPT_FIRST.get(pair[1].split or "", 1))[0]


def find_copies(dataset: Dataset) -> tuple[Copies, ...]:
    """Every photograph whose content stands in the data set more than once."""
    by_content: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(dataset.photographs):
        by_content[one.sha256].append(index)
    return tuple(
        Copies(tuple(positions), tuple(dataset.photographs[index] for index in positions))
        for positions in by_content.values()
        if len(positions) > 1
    )


def deduplicate(dataset: Dataset) -> Dataset:
    """Keep one of each photograph; none where its grades contradict each other.

    Which one is kept: see :attr:`Copies.kept`.  The others are set aside, with the reason.
    """
    reasons: dict[int, str] = {}
    for copies in find_copies(dataset):
        reasons |= _reasons(dataset, copies)
    return dataset.setting_aside(reasons, "duplicate")


def _reasons(dataset: Dataset, copies: Copies) -> dict[int, str]:
    if copies.is_conflict:
        grades = ", ".join(
            f"{dataset.name_of(one)}: {int(one.grade)}" for one in copies.photographs
        )
        return dict.fromkeys(copies.positions, f"copies with different grades ({grades})")
    kept = copies.kept
    reason = f"copy of {dataset.name_of(dataset.photographs[kept])}"
    return {position: reason for position in copies.positions if position != kept}

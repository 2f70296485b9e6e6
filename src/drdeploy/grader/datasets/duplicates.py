"""Find photographs that occur more than once in a data set, and keep one copy of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph

_KEPT_FIRST = {"test": 0, "train": 2}
"""Ranks of splits, which decide which copy of a photograph is kept.

The copy in the split with the lowest rank is kept. A split that is not listed here has rank 1.
"""


@dataclass(frozen=True)
class CopiedPhotograph:
    """At least two entries of a data set that have the same content.

    Attributes:
        positions: Positions of the entries in the data set, ascending.
        photographs: The entries.
    """

    positions: tuple[int, ...]
    photographs: tuple[LabelledPhotograph, ...]

    @property
    def has_conflicting_grades(self) -> bool:
        """Whether the copies have different grades."""
        return len({one.grade for one in self.photographs}) > 1

    @property
    def position_to_keep(self) -> int:
        """The position of the copy to keep: in ``test`` if possible, else outside ``train``.

        If a photograph is in the training set and in the test set, the copy in the training set is
        set aside. The published test set is then used unchanged. Of several copies in one split,
        the first is kept.
        """
        by_position = zip(self.positions, self.photographs, strict=True)
        return min(by_position, key=lambda pair: _KEPT_FIRST.get(pair[1].split or "", 1))[0]


def find_copied_photographs(dataset: Dataset) -> tuple[CopiedPhotograph, ...]:
    """Return every photograph whose content is in the data set more than once."""
    by_content: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(dataset.photographs):
        by_content[one.sha256].append(index)
    return tuple(
        CopiedPhotograph(tuple(positions), tuple(dataset.photographs[index] for index in positions))
        for positions in by_content.values()
        if len(positions) > 1
    )


def set_copies_aside(dataset: Dataset) -> Dataset:
    """Keep one copy of each photograph; if its copies have different grades, leave all of them out.

    :attr:`CopiedPhotograph.position_to_keep` chooses the copy that is kept.  Copies that are not
    kept are set aside, with the reason.
    """
    reasons: dict[int, str] = {}
    for copies in find_copied_photographs(dataset):
        if copies.has_conflicting_grades:
            grades = ", ".join(f"{one.name}: {int(one.grade)}" for one in copies.photographs)
            reason = f"this photograph and its copies have different grades ({grades})"
            reasons |= dict.fromkeys(copies.positions, reason)
        else:
            kept = dataset.photographs[copies.position_to_keep].name
            reasons |= {
                at: f"copy of {kept}"
                if one.name != kept
                else "copy of a file with the same content"
                for at, one in zip(copies.positions, copies.photographs, strict=True)
                if at != copies.position_to_keep
            }
    return dataset.set_photographs_aside(reasons, "duplicate")

"""Photographs that a data set holds more than once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.training.datasets.dataset import Dataset, LabelledPhotograph


def duplicate_sets(dataset: Dataset) -> list[tuple[LabelledPhotograph, ...]]:
    """Photographs with the same content, two or more each, in the data set's order."""
    by_content: dict[str, list[LabelledPhotograph]] = defaultdict(list)
    for one in dataset.photographs:
        by_content[one.sha256].append(one)
    return [tuple(same) for same in by_content.values() if len(same) > 1]


def is_conflict(same: tuple[LabelledPhotograph, ...]) -> bool:
    """Whether the same photograph carries different grades."""
    return len({one.grade for one in same}) > 1


def deduplicate(dataset: Dataset) -> Dataset:
    """Keep one of each photograph; none where its grades contradict each other.

    Of duplicates in several splits the one in ``test`` is kept, so that the test set stays
    what it is and training loses the copy.
    """
    dropped: dict[LabelledPhotograph, str] = {}
    for same in duplicate_sets(dataset):
        if is_conflict(same):
            grades = ", ".join(f"{one.image_id}: {int(one.grade)}" for one in same)
            dropped |= dict.fromkeys(same, f"duplicates with different grades ({grades})")
            continue
        kept = next((one for one in same if one.split == "test"), same[0])
        reason = f"duplicate of {kept.image_id}"
        dropped |= {one: reason for one in same if one is not kept}
    return dataset.without(dropped)

"""Count photographs, and their patients or sessions, at each step of an evaluation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.datasets import SetAside
    from drdeploy.grader.evaluation.predictions import GradedSet


@dataclass(frozen=True)
class PhotographFlow:
    """How many photographs were left at each step.

    Attributes:
        listed: Photographs that the table or folder lists for the split.
        set_aside: Photographs that were set aside before grading, by cause.
        given: Photographs that were given to the grader.
        read: Photographs that could be decoded; None if only predictions are known.
        ungradable: Photographs without a grade, by reason.
        graded: Photographs with a grade.
        groups_given: Patients or sessions of the photographs that were given to the grader.
        groups_graded: Patients or sessions with at least one grade.
        group_unit: What a group is: ``patient``, ``session`` or ``group``; empty if no groups are
            known.
    """

    listed: int
    set_aside: dict[str, int]
    given: int
    read: int | None
    ungradable: dict[str, int]
    graded: int
    groups_given: int
    groups_graded: int
    group_unit: str


def count_photographs_at_each_step(
    graded: GradedSet, set_aside: Sequence[SetAside] = ()
) -> PhotographFlow:
    """Count the photographs at each step of an evaluation."""
    return PhotographFlow(
        listed=len(graded) + len(set_aside),
        set_aside=dict(Counter(one.cause for one in set_aside)),
        given=len(graded),
        read=None if graded.is_read is None else int(graded.is_read.sum()),
        ungradable=dict(Counter(reason for reason in graded.reasons if reason)),
        graded=int(graded.is_gradable.sum()),
        groups_given=np.unique(graded.groups).size,
        groups_graded=np.unique(graded.groups[graded.is_gradable]).size,
        group_unit=graded.group_unit,
    )

"""Evaluate a grader in subgroups: by camera, site, field, quality, or any column of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grader.evaluation.evaluation import Evaluation, evaluate_graded_set

if TYPE_CHECKING:
    from drdeploy.grader.artifacts import Clinical
    from drdeploy.grader.evaluation.predictions import GradedSet

MOST_VALUES = 20
"""The largest number of different values in a column of subgroups. A column with more values, for
example of names, is refused.
"""


@dataclass(frozen=True, eq=False)
class Subgroup:
    """The results of a grader on the photographs that share one value in a column.

    Attributes:
        value: The value; empty for photographs without a value.
        given: How many photographs were given to the grader.
        evaluation: The results.
    """

    value: str
    given: int
    evaluation: Evaluation


def evaluate_subgroups(
    graded: GradedSet, column: str, clinical: Clinical | None, *, seed: int = 0
) -> tuple[Subgroup, ...]:
    """Evaluate a grader for each value of a column, in alphabetical order of the values.

    The predictive values of a subgroup are computed for the share of diseased eyes in it.

    Raises:
        InvalidInput: The column has only one value, or more than :data:`MOST_VALUES`.
    """
    values = graded.columns[column]
    distinct = np.unique(values)
    if not 2 <= distinct.size <= MOST_VALUES:
        raise InvalidInput(
            f"The column '{column}' has {distinct.size} different "
            f"value{'s' * (distinct.size != 1)}; subgroups need 2 to {MOST_VALUES}",
            where="--by",
            remedy="Choose a column with few values, such as the camera or the site",
        )
    found = []
    for value in distinct:
        part = graded.select_by_position(np.flatnonzero(values == value))
        found.append(
            Subgroup(str(value), len(part), evaluate_graded_set(part, clinical, seed=seed))
        )
    return tuple(found)

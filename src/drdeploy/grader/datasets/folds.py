"""Split a data set without splitting a capture session; every part gets all grades if possible."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput, format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.datasets.dataset import Dataset

MOST_PARTS = 20
"""The largest number of folds for a single split into a training and a validation part. Each of the
two parts consists of at least one fold.
"""


@dataclass(frozen=True, eq=False)
class Fold:
    """The positions of the photographs for training and for validation.

    Attributes:
        train: Positions of the training photographs, shape ``(n_train,)``, ascending.
        validation: Positions of the validation photographs, shape ``(n_validation,)``, ascending.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def split_into_grouped_folds(dataset: Dataset, k: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """Split a data set into ``k`` folds for cross-validation, without splitting any group.

    Each photograph is a validation photograph in exactly one fold.

    The grades are spread evenly as far as the groups allow (scikit-learn's
    ``StratifiedGroupKFold``).

    Raises:
        InvalidInput: ``k`` is below two, or is larger than the number of groups, or than the number
            of photographs of the most frequent grade. This error is also raised if the groups
            differ so much in size that a fold would be empty.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    most = _largest_number_of_folds(dataset)
    if not 2 <= k <= most:
        raise _too_many_folds_error(dataset, k, most)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    placeholder = np.zeros((len(dataset), 1))
    with warnings.catch_warnings():
        # scikit-learn warns that some folds lack a rare grade. Users know their rare grades, and
        # the warning changes nothing.
        warnings.filterwarnings("ignore", message="The least populated class", append=False)
        folds = tuple(
            Fold(np.sort(train), np.sort(validation))
            for train, validation in splitter.split(placeholder, dataset.grades, dataset.groups)
        )
    # A few large groups can leave a fold empty although there are as many groups as folds.
    if any(not len(fold.validation) for fold in folds):
        raise _too_many_folds_error(dataset, k, k - 1)
    return folds


def split_once_by_group(dataset: Dataset, validation_share: float = 0.2, seed: int = 0) -> Fold:
    """Split a data set into a training part and a validation part, without splitting any group.

    Args:
        dataset: The data set to split.
        validation_share: Share of the photographs for validation. The resulting share may differ a
            little, because groups are never split.
        seed: The seed of the random split.

    Raises:
        InvalidInput: The share is not between 0 and 1, or there are too few groups for the share.
    """
    if not 0 < validation_share < 1:
        raise InvalidInput(
            f"A validation share of {validation_share:g} leaves no photographs for training, "
            "or none for validation",
            remedy="Give a share between 0 and 1, for example 0.2",
        )
    # 0.3 is 3 of 10 folds: the nearest fraction that leaves neither side empty.
    most = max(2, min(MOST_PARTS, _largest_number_of_folds(dataset)))
    nearest = Fraction(validation_share).limit_denominator(most)
    share = min(max(nearest, Fraction(1, most)), 1 - Fraction(1, most))
    folds = split_into_grouped_folds(dataset, share.denominator, seed)
    validation = np.sort(np.concatenate([f.validation for f in folds[: share.numerator]]))
    return Fold(np.setdiff1d(np.arange(len(dataset)), validation), validation)


def _largest_number_of_folds(dataset: Dataset) -> int:
    """Return the largest number of folds into which a data set can be split."""
    return min(len(set(dataset.groups)), max(dataset.count_per_grade().values()))


def _too_many_folds_error(dataset: Dataset, k: int, most: int) -> InvalidInput:
    groups = len(set(dataset.groups))
    remedy = (
        f"Choose {'2' if most == 2 else f'2 to {most}'} folds with --folds"
        if most >= 2
        else "Use more photographs"
    )
    return InvalidInput(
        f"{format_count(len(dataset), 'photograph')} in {format_count(groups, 'group')} cannot be "
        f"split into {k} folds",
        where=str(dataset.folder),
        remedy=remedy,
    )


def find_leaking_groups(dataset: Dataset) -> tuple[str, ...]:
    """Return the groups with photographs in more than one split.

    A network that is trained on one photograph of a group also learns what the group's other
    photographs look like. ``dataset.select_training_part(apart_from="test")`` leaves out the
    training photographs of these groups.
    """
    splits_of: dict[str, set[str | None]] = {}
    for one in dataset.photographs:
        splits_of.setdefault(one.group, set()).add(one.split)
    return tuple(sorted(group for group, splits in splits_of.items() if len(splits) > 1))

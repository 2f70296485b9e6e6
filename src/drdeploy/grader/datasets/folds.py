"""Split a data set so that a capture session stays together and every part has all grades."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.datasets.dataset import Dataset

MOST_PARTS = 20
"""The smallest share that :func:`grouped_split` can split off is one part of that many."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Which photographs of a data set train and which validate, by position.

    Attributes:
        train: Shape ``(n_train,)``, ascending.
        validation: Shape ``(n_validation,)``, ascending.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def grouped_folds(dataset: Dataset, k: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """Split into ``k`` folds: every photograph validates once, no group is on both sides.

    The grades are spread evenly as far as the groups allow (scikit-learn's
    ``StratifiedGroupKFold``).

    Raises:
        InvalidInput: ``k`` is below two, or too large for the groups and grades that there are.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    most = _most_folds(dataset)
    if not 2 <= k <= most:
        raise _too_many(dataset, k, most)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    placeholder = np.zeros((len(dataset), 1))
    with warnings.catch_warnings():
        # Some folds may lack a rare grade. Users know their rare grades, and it changes nothing.
        warnings.filterwarnings("ignore", message="The least populated class", append=False)
        folds = tuple(
            Fold(np.sort(train), np.sort(validation))
            for train, validation in splitter.split(placeholder, dataset.grades, dataset.groups)
        )
    # A few large groups can leave a fold empty although there are as many groups as folds.
    if any(not len(fold.validation) for fold in folds):
        raise _too_many(dataset, k, k - 1)
    return folds


def grouped_split(dataset: Dataset, validation_share: float = 0.2, seed: int = 0) -> Fold:
    """Split once into training and validation, with the same rules as the folds.

    Args:
        dataset: What to split.
        validation_share: Share of the photographs that validate; met as closely as the groups
            allow, in steps of a twentieth or finer.
        seed: Another seed gives another split.

    Raises:
        InvalidInput: The share is not between 0 and 1, or there are too few groups for it.
    """
    if not 0 < validation_share < 1:
        raise InvalidInput(
            f"A validation share of {validation_share:g} leaves one side empty",
            remedy="Give a share between 0 and 1, for example 0.2",
        )
    # 0.3 is 3 of 10 folds: the nearest fraction that leaves neither side empty.
    most = max(2, min(MOST_PARTS, _most_folds(dataset)))
    nearest = Fraction(validation_share).limit_denominator(most)
    share = min(max(nearest, Fraction(1, most)), 1 - Fraction(1, most))
    folds = grouped_folds(dataset, share.denominator, seed)
    validation = np.sort(np.concatenate([f.validation for f in folds[: share.numerator]]))
    return Fold(np.setdiff1d(np.arange(len(dataset)), validation), validation)


def _most_folds(dataset: Dataset) -> int:
    """No more folds than groups, nor than photographs of the most frequent grade."""
    return min(len(set(dataset.groups)), max(dataset.counts().values()))


def _too_many(dataset: Dataset, k: int, most: int) -> InvalidInput:
    groups = len(set(dataset.groups))
    remedy = f"Choose 2 to {most} folds" if most >= 2 else "Bring more photographs"
    return InvalidInput(
        f"{len(dataset)} photographs in {groups} groups cannot be split into {k} folds",
        where=str(dataset.folder),
        remedy=remedy,
    )


def leaking_groups(dataset: Dataset) -> tuple[str, ...]:
    """Return the groups with photographs in more than one split.

    Training on one of their photographs tells the network about the others.
    ``dataset.training_part(apart_from="test")`` leaves such photographs out.
    """
    splits_of: dict[str, set[str | None]] = {}
    for one in dataset.photographs:
        splits_of.setdefault(one.group, set()).add(one.split)
    return tuple(sorted(group for group, splits in splits_of.items() if len(splits) > 1))

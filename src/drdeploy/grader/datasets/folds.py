"""Splits that keep a capture session together and every grade's share alike."""

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
"""The finest share of :func:`grouped_split` is one part of that many."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in a data set.

    Attributes:
        train: Shape ``(n_train,)``, ascending.
        validation: Shape ``(n_validation,)``, ascending.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def grouped_folds(dataset: Dataset, k: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """K folds: every photograph is validated once, no group stands on both sides.

    Stratified by grade as far as the groups allow (scikit-learn's ``StratifiedGroupKFold``).

    Raises:
        InvalidInput: ``k`` is below two, or too many for the groups and grades that there are.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    most = _most_folds(dataset)
    if not 2 <= k <= most:
        raise _too_many(dataset, k, most)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    placeholder = np.zeros((len(dataset), 1))
    with warnings.catch_warnings():  # a grade with fewer photographs than folds is no news
        warnings.filterwarnings("ignore", message="The least populated class", append=False)
        folds = tuple(
            Fold(np.sort(train), np.sort(validation))
            for train, validation in splitter.split(placeholder, dataset.grades, dataset.groups)
        )
    if any(not len(fold.validation) for fold in folds):  # a few large groups
        raise _too_many(dataset, k, k - 1)
    return folds


def grouped_split(dataset: Dataset, validation_share: float = 0.2, seed: int = 0) -> Fold:
    """One split into training and validation, grouped and stratified like the folds.

    Args:
        dataset: What to split.
        validation_share: About that share of the photographs validates; met as closely as
            the groups allow, in steps of a twentieth or finer.
        seed: Another seed is another split.

    Raises:
        InvalidInput: The share is not between 0 and 1, or there are too few groups for it.
    """
    if not 0 < validation_share < 1:
        raise InvalidInput(
            f"A validation share of {validation_share:g} leaves one side empty",
            remedy="Give a share between 0 and 1, for example 0.2",
        )
    share = _as_parts(validation_share, min(MOST_PARTS, _most_folds(dataset)))
    folds = grouped_folds(dataset, share.denominator, seed)
    validation = np.sort(np.concatenate([f.validation for f in folds[: share.numerator]]))
    return Fold(np.setdiff1d(np.arange(len(dataset)), validation), validation)


def _as_parts(share: float, most: int) -> Fraction:
    """The nearest fraction of at most that many parts that leaves neither side empty."""
    parts = Fraction(share).limit_denominator(max(most, 2))
    finest = Fraction(1, max(most, 2))
    return min(max(parts, finest), 1 - finest)


def _most_folds(dataset: Dataset) -> int:
    """Not more than groups, nor than photographs of the most frequent grade."""
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
    """Groups with photographs in more than one split: a test set that training has seen.

    ``dataset.training_part(apart_from="test")`` is free of them.
    """
    splits_of: dict[str, set[str | None]] = {}
    for one in dataset.photographs:
        splits_of.setdefault(one.group, set()).add(one.split)
    return tuple(sorted(group for group, splits in splits_of.items() if len(splits) > 1))

"""Splits that keep a capture session together and every grade's share alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.training.datasets.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in a data set.

    Attributes:
        train: Shape ``(n_train,)``, ascending.
        validation: Shape ``(n_validation,)``, ascending.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]


def grouped_folds(dataset: Dataset, k: int = 5, *, seed: int = 0) -> tuple[Fold, ...]:
    """K folds: every photograph is validated once, no group stands on both sides.

    Stratified by grade as far as the groups allow (scikit-learn's ``StratifiedGroupKFold``).

    Raises:
        InvalidInput: ``k`` is below two, or there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = len(set(dataset.groups))
    if not 2 <= k <= groups:
        raise InvalidInput(
            f"{groups} capture sessions cannot be split into {k} folds",
            where=str(dataset.folder),
            remedy=f"Choose 2 to {groups} folds",
        )
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    placeholder = np.zeros((len(dataset), 1))
    return tuple(
        Fold(np.sort(train), np.sort(validation))
        for train, validation in splitter.split(placeholder, dataset.grades, dataset.groups)
    )


def leaking_groups(dataset: Dataset) -> tuple[str, ...]:
    """Groups with photographs in more than one split: a test set that training has seen."""
    splits_of: dict[str, set[str | None]] = {}
    for one in dataset.photographs:
        splits_of.setdefault(one.group, set()).add(one.split)
    return tuple(sorted(group for group, splits in splits_of.items() if len(splits) > 1))

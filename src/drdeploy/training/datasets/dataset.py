"""The nouns of a data set."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.grading import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledPhotograph:
    """One eye with its grade.

    Attributes:
        file: Where it is.
        image_id: What the data set calls it.
        grade: The label.
        split: ``train``, ``test``, …; None where the data set has no splits.
        group: Capture session or patient: photographs of one group are not independent.
        sha256: Of the photograph's bytes, or of those that it was made from.
    """

    file: Path
    image_id: str
    grade: Grade
    split: str | None
    group: str
    sha256: str


@dataclass(frozen=True)
class SetAside:
    """A photograph that is not used, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """Labelled photographs in a fixed order.

    Attributes:
        name: The folder's name.
        folder: Where it was read from.
        layout: Which layout that is.
        photographs: What is used.
        set_aside: What is not.
    """

    name: str
    folder: Path
    layout: str
    photographs: tuple[LabelledPhotograph, ...]
    set_aside: tuple[SetAside, ...] = ()

    def __len__(self) -> int:
        return len(self.photographs)

    @cached_property
    def grades(self) -> NDArray[np.intp]:
        """Labels, shape ``(n,)``, 0 to 4."""
        return np.array([int(one.grade) for one in self.photographs], dtype=np.intp)

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """Capture session or patient, shape ``(n,)``."""
        return np.array([one.group for one in self.photographs], dtype=np.str_)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits, sorted; empty where it has none."""
        return tuple(sorted({one.split for one in self.photographs if one.split is not None}))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over contents, labels and order: the same digest is the same data."""
        digest = hashlib.sha256()
        for one in self.photographs:
            digest.update(f"{one.sha256} {int(one.grade)} {one.group}\n".encode())
        return digest.hexdigest()

    def counts(self) -> dict[Grade, int]:
        """How many photographs each grade has."""
        counted = Counter(one.grade for one in self.photographs)
        return {grade: counted[grade] for grade in Grade}

    def of_split(self, name: str) -> Dataset:
        """The photographs of one split.

        Raises:
            InvalidInput: It has no such split.
        """
        chosen = tuple(one for one in self.photographs if one.split == name)
        if not chosen:
            known = ", ".join(self.splits) or "none"
            raise InvalidInput(
                f"The data set has no split '{name}'",
                where=str(self.folder),
                remedy=f"Its splits: {known}",
            )
        return replace(self, name=f"{self.name}/{name}", photographs=chosen)

    def training_part(self) -> Dataset:
        """Its split ``train``, or all of it where it has no splits."""
        return self.of_split("train") if "train" in self.splits else self

    def take(self, indices: Iterable[int]) -> Dataset:
        """Some of its photographs, in the order of ``indices``."""
        return replace(self, photographs=tuple(self.photographs[index] for index in indices))

    def without(self, dropped: dict[LabelledPhotograph, str]) -> Dataset:
        """Set photographs aside, each with its reason."""
        kept = tuple(one for one in self.photographs if one not in dropped)
        aside = tuple(SetAside(str(one.file), why) for one, why in dropped.items())
        return replace(self, photographs=kept, set_aside=self.set_aside + aside)

"""The nouns of a data set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of
from drdeploy.grader.grading import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
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


Cause = Literal["missing", "unreadable", "grade", "duplicate", "group"]
"""Why a photograph is not used: there is no file, no image or no grade; it is there twice; or
photographs of its group must stay unseen."""


@dataclass(frozen=True)
class SetAside:
    """A photograph that is not used, and why, in one word and in a sentence."""

    file: str
    reason: str
    cause: Cause


@dataclass(frozen=True)
class Dataset:
    """Labelled photographs in a fixed order.

    Attributes:
        name: The folder's name.
        folder: Where it was read from.
        layout: Which layout that is.
        photographs: What is used.
        set_aside: What is not.
        notes: What else was left unread, in sentences: a table without labels, photographs that
            no table names.
    """

    name: str
    folder: Path
    layout: str
    photographs: tuple[LabelledPhotograph, ...]
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()

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
    def knows_groups(self) -> bool:
        """Whether it names sessions or patients; if not, only copies share a group."""
        return any(one.group != one.sha256 for one in self.photographs)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits, sorted; empty where it has none."""
        return tuple(sorted({one.split for one in self.photographs if one.split is not None}))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over contents, labels and order: the same digest is the same data."""
        lines = (f"{one.sha256} {int(one.grade)} {one.group}\n" for one in self.photographs)
        return sha256_of("".join(lines).encode())

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

    def training_part(self, *, apart_from: str | None = None) -> Dataset:
        """Its split ``train``, or all of it where it has no splits.

        Args:
            apart_from: A split, usually ``test``, that must stay unseen: training photographs
                of a group that has photographs in that split too are set aside.
        """
        part = self.of_split("train") if "train" in self.splits else self
        if apart_from is None or apart_from not in self.splits:
            return part
        seen = {one.group for one in self.photographs if one.split == apart_from}
        reasons = {
            index: f"its group {one.group} also has photographs in '{apart_from}'"
            for index, one in enumerate(part.photographs)
            if one.group in seen
        }
        return part.setting_aside(reasons, "group")

    def take(self, indices: Iterable[int]) -> Dataset:
        """Some of its photographs, in the order of ``indices``."""
        return replace(self, photographs=tuple(self.photographs[index] for index in indices))

    def setting_aside(self, reasons: Mapping[int, str], cause: Cause) -> Dataset:
        """Without the photographs at some positions, each with its reason."""
        kept = (index for index in range(len(self)) if index not in reasons)
        aside = tuple(
            SetAside(str(self.photographs[index].file), why, cause)
            for index, why in reasons.items()
        )
        return replace(self.take(kept), set_aside=self.set_aside + aside)

    def name_of(self, photograph: LabelledPhotograph) -> str:
        """Its file within the data set: names alone may stand in several splits."""
        return name_within(self.folder, photograph.file)


def name_within(folder: Path, file: Path) -> str:
    """A path below the folder, with slashes; or the whole path where it is elsewhere."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()

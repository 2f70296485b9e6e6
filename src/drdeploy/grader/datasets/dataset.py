"""A data set: labelled photographs in a fixed order, and what was set aside."""

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
    """A photograph of one eye with the grade that an expert gave it.

    Attributes:
        file: Where it is.
        image_id: What the data set calls it.
        grade: The label.
        split: ``train``, ``test`` or another; None if the data set has no splits.
        group: Capture session or patient: photographs of one group are not independent.
        sha256: Of the file, or of the original that it was made from.
    """

    file: Path
    image_id: str
    grade: Grade
    split: str | None
    group: str
    sha256: str


Cause = Literal["missing", "unreadable", "grade", "duplicate", "group"]
"""Why a photograph is not used: its file is missing, does not decode or has no grade; it is a copy;
or its group also has photographs in a split that training must not see."""


@dataclass(frozen=True)
class SetAside:
    """A photograph that is not used.

    Attributes:
        file: Its path.
        reason: Why, in a sentence.
        cause: The same as one word, for programs.
    """

    file: str
    reason: str
    cause: Cause


@dataclass(frozen=True)
class Dataset:
    """Labelled photographs in a fixed order.

    Attributes:
        name: The folder's name.
        folder: Where it was read from.
        layout: Which layout the folder has.
        photographs: Those that are used.
        set_aside: Those that are not.
        notes: What else was not read, in sentences: a table without labels, photographs that no
            table names.
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
        """Whether sessions or patients are known; if not, only copies share a group."""
        return any(one.group != one.sha256 for one in self.photographs)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits, sorted; empty if it has none."""
        return tuple(sorted({one.split for one in self.photographs if one.split is not None}))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over contents, labels and order: the same digest means the same data."""
        lines = (f"{one.sha256} {int(one.grade)} {one.group}\n" for one in self.photographs)
        return sha256_of("".join(lines).encode())

    def counts(self) -> dict[Grade, int]:
        """Count the photographs of each grade."""
        counted = Counter(one.grade for one in self.photographs)
        return {grade: counted[grade] for grade in Grade}

    def of_split(self, name: str) -> Dataset:
        """Return the photographs of one split.

        Raises:
            InvalidInput: There is no such split.
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
        """Return the split ``train``, or everything if there are no splits.

        Args:
            apart_from: A split, usually ``test``, that training must not see: photographs of a
                group that also has photographs in that split are set aside.
        """
        part = self.of_split("train") if "train" in self.splits else self
        if apart_from is None or apart_from not in self.splits:
            return part
        held_out = {one.group for one in self.photographs if one.split == apart_from}
        reasons = {
            index: f"its group {one.group} also has photographs in '{apart_from}'"
            for index, one in enumerate(part.photographs)
            if one.group in held_out
        }
        return part.setting_aside(reasons, "group")

    def take(self, indices: Iterable[int]) -> Dataset:
        """Return some of the photographs, in the order of ``indices``."""
        return replace(self, photographs=tuple(self.photographs[index] for index in indices))

    def setting_aside(self, reasons: Mapping[int, str], cause: Cause) -> Dataset:
        """Return the data set without the photographs at these positions, each with its reason."""
        kept = (index for index in range(len(self)) if index not in reasons)
        aside = tuple(
            SetAside(str(self.photographs[index].file), why, cause)
            for index, why in reasons.items()
        )
        return replace(self.take(kept), set_aside=self.set_aside + aside)

    def name_of(self, photograph: LabelledPhotograph) -> str:
        """Return a photograph's path within the data set; file names may repeat across splits."""
        return name_within(self.folder, photograph.file)


def name_within(folder: Path, file: Path) -> str:
    """Return a path relative to the folder, with slashes; the whole path if it lies elsewhere."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()

"""A data set: labelled photographs in a fixed order, and the photographs that are not used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import sha256_of_bytes
from drdeploy.grader.grading import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledPhotograph:
    """A photograph of one eye with the grade that an expert gave it.

    Attributes:
        file: Path of the photograph.
        image_id: Name of the photograph in the data set.
        grade: The label.
        split: ``train``, ``test`` or another split, or None if the data set has no splits.
        group: The capture session or the patient. Photographs of one group resemble each other, so
            they are not independent.
        sha256: SHA-256 of the file. If the table states the SHA-256 of the original from which the
            file was made, that SHA-256 stands here instead.
        file_sha256: SHA-256 of the file itself, if ``sha256`` is that of the original; else empty.
        name: Name of the photograph in results.
        group_name: Name of the group in results.
        cells: The photograph's row in the table of labels, as pairs of column name and content. An
            evaluation can use these cells to form subgroups, for example by camera.
    """

    file: Path
    image_id: str
    grade: Grade
    split: str | None
    group: str
    sha256: str
    file_sha256: str = ""
    name: str = ""
    group_name: str = ""
    cells: tuple[tuple[str, str], ...] = ()

    def read_file_bytes(self) -> bytes:
        """Return the file's bytes.

        Raises:
            InvalidInput: The file can no longer be read.
        """
        try:
            return self.file.read_bytes()
        except OSError as err:
            raise InvalidInput(
                f"The photograph can no longer be read: {err.strerror}",
                where=self.name,
                remedy="Restore the file, and run the command again",
            ) from err


DropCause = Literal["missing", "unreadable", "grade", "duplicate", "group"]
"""Why a photograph is not used.

The file may be missing, undecodable, without a grade, or a copy. The cause ``group`` means that
photographs of the same group are in another split, from which this one must be kept apart.
"""


@dataclass(frozen=True)
class SetAside:
    """A photograph that was set aside, with the reason.

    Attributes:
        file: Path of the photograph. Results never show this path.
        name: Name of the photograph in results.
        reason: Why the photograph was set aside, in a sentence.
        cause: The reason as one word, for programs.
        split: The split of the photograph, or None if it has none.
    """

    file: Path
    name: str
    reason: str
    cause: DropCause
    split: str | None = None


_CAUSES: dict[DropCause, str] = {
    "missing": "missing",
    "unreadable": "unreadable",
    "grade": "without an ICDR grade",
    "duplicate": "copies",
    "group": "of a patient or session in another split",
}


def write_note_on_photographs_set_aside(set_aside: Sequence[SetAside]) -> list[str]:
    """Return a sentence that counts the photographs that were set aside, by cause, if any were."""
    if not set_aside:
        return []
    counted = Counter(_CAUSES[one.cause] for one in set_aside)
    causes = ", ".join(f"{cause}: {count:,}" for cause, count in counted.items())
    note = f"Photographs that were set aside: {len(set_aside):,} ({causes}). `drdeploy dataset"
    return [f"{note} inspect` lists them."]


@dataclass(frozen=True)
class Dataset:
    """Labelled photographs in a fixed order.

    Attributes:
        name: The name of the data set's folder.
        folder: Folder that the data set was read from.
        layout: Name of the folder's layout.
        photographs: The photographs that are used.
        set_aside: The photographs that are not used.
        notes: Sentences about anything else that was left out, for example a table without labels,
            or photographs that no table names.
        group_unit: What a group is: ``patient``, ``session``, or ``group`` if the table does not
            say. Empty without groups.
    """

    name: str
    folder: Path
    layout: str
    photographs: tuple[LabelledPhotograph, ...]
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    group_unit: str = ""

    def __len__(self) -> int:
        return len(self.photographs)

    @cached_property
    def grades(self) -> NDArray[np.intp]:
        """The labels (grades 0 to 4) of the photographs, in shape ``(n,)``."""
        return np.array([int(one.grade) for one in self.photographs], dtype=np.intp)

    @cached_property
    def groups(self) -> NDArray[np.str_]:
        """The capture session or patient of each photograph, in shape ``(n,)``."""
        return np.array([one.group for one in self.photographs], dtype=np.str_)

    @cached_property
    def group_names(self) -> NDArray[np.str_]:
        """The group of each photograph, as results name it, in shape ``(n,)``."""
        return np.array([one.group_name for one in self.photographs], dtype=np.str_)

    @property
    def knows_groups(self) -> bool:
        """Whether sessions or patients are known.

        If they are not known, each group consists of one photograph and its copies.
        """
        return any(one.group != one.sha256 for one in self.photographs)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the data set's splits, sorted; empty if there are none."""
        return tuple(sorted({one.split for one in self.photographs if one.split is not None}))

    def has_split(self, name: str) -> bool:
        """Whether the data set has a split, even if none of the split's photographs is used."""
        splits = {one.split for one in self.photographs} | {one.split for one in self.set_aside}
        return name in splits

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the contents, labels, groups and order of the photographs."""
        lines = (f"{one.sha256} {int(one.grade)} {one.group}\n" for one in self.photographs)
        return sha256_of_bytes("".join(lines).encode())

    @cached_property
    def digest_with_files(self) -> str:
        """The digest, extended by the SHA-256 of each file that was made from another file.

        Two data sets have the same :attr:`digest` if their photographs were made from the same
        originals, for example with different sizes in pixels.
        """
        if not any(one.file_sha256 for one in self.photographs):
            return self.digest
        lines = (f"{one.file_sha256}\n" for one in self.photographs)
        return sha256_of_bytes("".join([self.digest, *lines]).encode())

    def count_per_grade(self) -> dict[Grade, int]:
        """Count the photographs of each grade."""
        counted = Counter(one.grade for one in self.photographs)
        return {grade: counted[grade] for grade in Grade}

    def select_split(self, name: str) -> Dataset:
        """Return one split: its photographs, and those of its photographs that are not used.

        Raises:
            InvalidInput: The data set does not have the split, or none of its photographs is used.
        """
        chosen = tuple(one for one in self.photographs if one.split == name)
        aside = tuple(one for one in self.set_aside if one.split == name)
        if not chosen and aside:
            raise InvalidInput(
                f"No photograph of the split '{name}' can be used, for example {aside[0].name}: "
                f"{aside[0].reason}",
                where=str(self.folder),
                remedy="Check that the files of this split are in the folder",
            )
        if not chosen:
            known = ", ".join(self.splits) or "none"
            raise InvalidInput(
                f"The data set has no split '{name}'",
                where=str(self.folder),
                remedy=f"The splits are: {known}",
            )
        return replace(self, name=f"{self.name}/{name}", photographs=chosen, set_aside=aside)

    def select_training_part(self, *, apart_from: str | None = None) -> Dataset:
        """Return the split ``train``, or the whole data set if it has no such split.

        If there is a split ``test`` but no split ``train``, the photographs outside of ``test`` are
        returned, with a note.

        Args:
            apart_from: A split that training must not see, usually ``test``. Photographs of a
                session or patient that also occurs in this split are set aside.

        Raises:
            InvalidInput: No photograph of the split ``train`` is used.
        """
        part = self.select_split("train") if self.has_split("train") else self._leave_test_out()
        if apart_from is None or apart_from not in self.splits:
            return part
        held_out = {one.group for one in self.photographs if one.split == apart_from}
        reasons = {
            index: f"its group {one.group_name} also has photographs in '{apart_from}'"
            for index, one in enumerate(part.photographs)
            if one.group in held_out
        }
        return part.set_photographs_aside(reasons, "group")

    def _leave_test_out(self) -> Dataset:
        """Return the photographs outside of the split ``test``; all if there are no others."""
        chosen = tuple(one for one in self.photographs if one.split != "test")
        if not chosen or len(chosen) == len(self):
            return self
        aside = tuple(one for one in self.set_aside if one.split != "test")
        note = "There is no split 'train', so the photographs outside of the split 'test' are used."
        return replace(self, photographs=chosen, set_aside=aside, notes=(*self.notes, note))

    def select_by_index(self, indices: Iterable[int]) -> Dataset:
        """Return some of the photographs, in the order of ``indices``."""
        return replace(self, photographs=tuple(self.photographs[index] for index in indices))

    def set_photographs_aside(self, reasons: Mapping[int, str], cause: DropCause) -> Dataset:
        """Return the data set with the photographs at the given positions set aside."""
        kept = (index for index in range(len(self)) if index not in reasons)
        aside = tuple(
            SetAside(one.file, one.name, why, cause, one.split)
            for index, why in reasons.items()
            for one in [self.photographs[index]]
        )
        return replace(self.select_by_index(kept), set_aside=self.set_aside + aside)

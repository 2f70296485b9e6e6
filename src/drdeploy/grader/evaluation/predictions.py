"""Labels and predicted probabilities of photographs, from which every figure is computed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput, PredictionFailed, RequestRefused
from drdeploy.files import cell_text, safe_cell
from drdeploy.grader.datasets.load import GRADES
from drdeploy.grader.datasets.tables import read_rows
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import SUM_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.inference import InferenceService

PROBABILITY_COLUMNS = tuple(f"p{int(grade)}" for grade in Grade)
COLUMNS = ("file", "group", "icdr_grade", "gradable", "reason", *PROBABILITY_COLUMNS)
NEEDED_COLUMNS = ("file", "icdr_grade", *PROBABILITY_COLUMNS)
"""Columns that any table must have.  Without the column ``group``, every photograph is a group."""


@dataclass(frozen=True, eq=False)
class GradedSet:
    """Labels and predictions of photographs in a fixed order.

    Attributes:
        files: The path of each within its data set.
        groups: Capture session or patient, shape ``(n,)``.
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Shape ``(n, 5)``; NaN for a photograph without a grade.
        reasons: Why a photograph has no grade; empty if it has one.
    """

    files: tuple[str, ...]
    groups: NDArray[np.str_]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def is_gradable(self) -> NDArray[np.bool_]:
        """Whether each photograph has a grade, shape ``(n,)``."""
        return np.array([not reason for reason in self.reasons], dtype=bool)

    @classmethod
    def of(cls, dataset: Dataset, probabilities: NDArray[np.floating]) -> GradedSet:
        """Combine a data set with the probabilities of all its photographs, shape ``(n, 5)``."""
        return cls(
            files=names_of(dataset),
            groups=dataset.groups,
            labels=dataset.grades,
            probabilities=np.asarray(probabilities, dtype=np.float64),
            reasons=("",) * len(dataset),
        )

    def write(self, path: Path) -> None:
        """Write a CSV with a row for every photograph."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for at, name in enumerate(self.files):
                reason = self.reasons[at]
                shares = ["" if reason else f"{p:.9g}" for p in self.probabilities[at]]
                is_gradable = "false" if reason else "true"
                label = int(self.labels[at])
                texts = map(safe_cell, (name, str(self.groups[at]), label, is_gradable, reason))
                writer.writerow([*texts, *shares])

    @classmethod
    def read(cls, path: Path) -> GradedSet:
        """Read what :meth:`write` wrote, or another table with :data:`NEEDED_COLUMNS`.

        Raises:
            InvalidInput: There is no such file, it lacks a column, or a row has no grade or no
                probabilities.
        """
        if not path.is_file():
            raise InvalidInput("There is no such file of predictions", where=str(path))
        rows = read_rows(path, *NEEDED_COLUMNS)
        if not rows:
            raise InvalidInput("The table has no row", where=str(path))
        read = [_parse_row(row, f"{path}: row {place}") for place, row in enumerate(rows, 1)]
        return cls(
            files=tuple(cell_text(row["file"]) for row in rows),
            groups=np.array(
                [cell_text(row.get("group") or row["file"]) for row in rows], dtype=np.str_
            ),
            labels=np.array([label for label, _, _ in read], dtype=np.intp),
            probabilities=np.array([shares for _, shares, _ in read], dtype=np.float64),
            reasons=tuple(reason for _, _, reason in read),
        )

    def take(self, positions: Sequence[int] | NDArray[np.intp]) -> GradedSet:
        """Return some of the photographs, in the order of ``positions``."""
        chosen = np.asarray(positions, dtype=np.intp)
        return GradedSet(
            files=tuple(self.files[at] for at in chosen),
            groups=self.groups[chosen],
            labels=self.labels[chosen],
            probabilities=self.probabilities[chosen],
            reasons=tuple(self.reasons[at] for at in chosen),
        )


def _parse_row(row: dict[str, str], where: str) -> tuple[int, list[float], str]:
    """Read a row of the table: label, probabilities, and the reason if there are none."""
    label = GRADES.get(row["icdr_grade"])
    if label is None:
        raise InvalidInput(f"'{row['icdr_grade']}' is not an ICDR grade from 0 to 4", where=where)
    if row.get("gradable", "true") != "true":
        return label, [float("nan")] * len(Grade), cell_text(row.get("reason") or "not gradable")
    try:
        shares = [float(row[name]) for name in PROBABILITY_COLUMNS]
    except ValueError as err:
        raise InvalidInput(f"A probability is not a number: {err}", where=where) from err
    if not (min(shares) >= 0 and abs(sum(shares) - 1) <= SUM_TOLERANCE):  # NaN fails both
        raise InvalidInput(
            "These are not probabilities",
            where=where,
            remedy="p0 to p4 are at least 0 and sum to one; gradable is false where there are none",
        )
    return label, shares, ""


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the paths of a data set's photographs, relative to its folder."""
    return tuple(dataset.name_of(one) for one in dataset.photographs)


def predict_dataset(
    service: InferenceService,
    dataset: Dataset,
    *,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> GradedSet:
    """Grade every photograph exactly as a server does.

    A photograph that cannot be read or graded has the reason in place of probabilities.

    Args:
        service: A loaded ICDR grader.
        dataset: The photographs.
        track: Wraps the files, to show progress.

    Raises:
        InvalidInput: The model is not an ICDR grader.
    """
    if not service.manifest.is_icdr:
        raise InvalidInput(
            "Only an ICDR grader can be evaluated on ICDR grades",
            where=service.manifest.name,
            remedy="Pack the model with `drdeploy artifact pack --icdr`",
        )
    probabilities = np.full((len(dataset), len(Grade)), np.nan)
    reasons: list[str] = []
    for at, file in enumerate(track([one.file for one in dataset.photographs])):
        try:
            [inference] = service.infer([file.read_bytes()])
        except (RequestRefused, PredictionFailed) as err:
            reasons.append(err.sentence)
            continue
        if inference.prediction is None:
            reasons.append(inference.ungradable or "not gradable")
        else:
            reasons.append("")
            probabilities[at] = inference.prediction.probabilities
    return GradedSet(
        files=names_of(dataset),
        groups=dataset.groups,
        labels=dataset.grades,
        probabilities=probabilities,
        reasons=tuple(reasons),
    )

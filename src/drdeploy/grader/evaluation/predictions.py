"""The labels and predicted probabilities of photographs, from which all results are computed."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput, PredictionFailed, RequestRefused
from drdeploy.files import (
    escape_formula_in_csv_cell,
    explain_unusable_path,
    open_text_for_atomic_write,
    unescape_formula_in_csv_cell,
)
from drdeploy.grader.datasets.columns import find_column, read_dataset_column
from drdeploy.grader.datasets.grade_names import parse_grade
from drdeploy.grader.datasets.tables import (
    is_missing_value,
    read_table_rows,
    simplify_column_name,
)
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.outputs import SUM_TOLERANCE
from drdeploy.photograph_names import quote_cell_if_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.inference import InferenceService
    from drdeploy.photograph_names import PhotographNames

    # For each operating point, by name and grade, which photographs it flags, in shape ``(n,)``.
    FlagsByPoint = Mapping[tuple[str, int], NDArray[np.bool_]]

PROBABILITY_COLUMNS = tuple(f"p{int(grade)}" for grade in Grade)
COLUMNS = ("file", "group", "icdr_grade", "gradable", "reason", *PROBABILITY_COLUMNS)
UNLIKE_TRAINING = "unlike_training"
"""Column that says whether a photograph is unlike the training photographs: ``yes`` or ``no``."""
NEEDED_COLUMNS = ("file", "icdr_grade", *PROBABILITY_COLUMNS)
"""Columns that a table of predictions must have.  Without the column ``group``, every photograph is
its own group."""
_OPTIONAL_COLUMNS = ("group", "gradable", "reason")
_YES, _NO = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})
"""How programs write in the column ``gradable`` that a photograph has a grade, or has none."""


@dataclass(frozen=True, eq=False)
class GradedSet:
    """The labels and predictions of photographs in a fixed order.

    Attributes:
        files: The name of each photograph.
        groups: Name of each photograph's capture session or patient, shape ``(n,)``.
        labels: Shape ``(n,)``, 0 to 4.
        probabilities: Shape ``(n, 5)``; NaN for a photograph without a grade.
        reasons: Why a photograph has no grade; empty if it has one.
        group_unit: What a group is: ``patient``, ``session``, or ``group`` if nothing more is
            known. Empty without groups.
        columns: Further columns of the table of labels, each in shape ``(n,)``.
        is_read: Whether each photograph could be decoded, shape ``(n,)``, or None if not known.
    """

    files: tuple[str, ...]
    groups: NDArray[np.str_]
    labels: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    reasons: tuple[str, ...]
    group_unit: str = ""
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    is_read: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.files)

    @property
    def is_gradable(self) -> NDArray[np.bool_]:
        """Whether each photograph has a grade, in shape ``(n,)``."""
        return np.array([not reason for reason in self.reasons], dtype=bool)

    @classmethod
    def from_dataset(cls, dataset: Dataset, probabilities: NDArray[np.floating]) -> GradedSet:
        """Combine a data set with the probabilities of its photographs, in shape ``(n, 5)``."""
        return cls(
            files=list_photograph_names(dataset),
            groups=dataset.group_names,
            labels=dataset.grades,
            probabilities=np.asarray(probabilities, dtype=np.float64),
            reasons=("",) * len(dataset),
            group_unit=dataset.group_unit,
        )

    def write_csv(self, path: Path) -> None:
        """Write a CSV file with a row for every photograph."""
        with open_text_for_atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            further = [name for name in self.columns if name not in COLUMNS]
            writer.writerow([*COLUMNS, *map(escape_formula_in_csv_cell, further)])
            for at, name in enumerate(self.files):
                reason = self.reasons[at]
                shares = ["" if reason else f"{p:.9g}" for p in self.probabilities[at]]
                is_gradable = "false" if reason else "true"
                label = int(self.labels[at])
                # Without groups, the cell is empty, because a photograph is no patient.
                group = str(self.groups[at]) if self.group_unit else ""
                texts = map(escape_formula_in_csv_cell, (name, group, label, is_gradable, reason))
                cells = [
                    escape_formula_in_csv_cell(str(self.columns[name][at])) for name in further
                ]
                writer.writerow([*texts, *shares, *cells])

    @classmethod
    def read_csv(cls, path: Path, columns: Mapping[str, str] | None = None) -> GradedSet:
        """Read a file that :meth:`write_csv` wrote, or a table that has :data:`NEEDED_COLUMNS`.

        Args:
            path: The file.
            columns: Further columns to read. Each is mapped to the command-line option that asked
                for it, for error messages.

        Raises:
            InvalidInput: The file is missing or lacks a column, or a row lacks its grade or its
                probabilities.
        """
        if not path.is_file():
            raise InvalidInput(
                explain_unusable_path(
                    path, "The file of predictions does not exist", wanted="file"
                ),
                where=str(path),
                remedy="Give a CSV file that `drdeploy model train` or `drdeploy model evaluate "
                "--out` wrote",
            )
        rows = _name_optional_columns(read_table_rows(path, *NEEDED_COLUMNS))
        if not rows:
            raise InvalidInput(
                "The table of predictions is empty",
                where=str(path),
                remedy="Give a table with a row for each photograph",
            )
        read = [
            _parse_prediction_row(row, f"{path}: row {place}") for place, row in enumerate(rows, 1)
        ]
        return cls(
            files=tuple(unescape_formula_in_csv_cell(row["file"]) for row in rows),
            groups=np.array(
                [unescape_formula_in_csv_cell(_read_group(row) or row["file"]) for row in rows],
                dtype=np.str_,
            ),
            labels=np.array([label for label, _, _ in read], dtype=np.intp),
            probabilities=np.array([shares for _, shares, _ in read], dtype=np.float64),
            reasons=tuple(reason for _, _, reason in read),
            group_unit="group" if any(map(_read_group, rows)) else "",
            columns={
                wanted: np.array(
                    [
                        unescape_formula_in_csv_cell(
                            row[find_column(wanted, row, option=option, where=str(path))]
                        )
                        for row in rows
                    ],
                    dtype=np.str_,
                )
                for wanted, option in (columns or {}).items()
            },
        )

    def with_photograph_names(self, names: PhotographNames) -> GradedSet:
        """Return the predictions with new names for photographs and groups, made by ``names``."""
        files = tuple(names.name_of_table_entry("photo", file) for file in self.files)
        groups = np.array(
            [names.name_of_table_entry("group", str(one)) for one in self.groups], dtype=np.str_
        )
        return replace(self, files=files, groups=groups)

    def select_by_position(self, positions: Sequence[int] | NDArray[np.intp]) -> GradedSet:
        """Return some of the photographs, in the order of ``positions``."""
        chosen = np.asarray(positions, dtype=np.intp)
        return GradedSet(
            files=tuple(self.files[at] for at in chosen),
            groups=self.groups[chosen],
            labels=self.labels[chosen],
            probabilities=self.probabilities[chosen],
            reasons=tuple(self.reasons[at] for at in chosen),
            group_unit=self.group_unit,
            columns={name: cells[chosen] for name, cells in self.columns.items()},
            is_read=None if self.is_read is None else self.is_read[chosen],
        )


def _name_optional_columns(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give each optional column the name that this module uses, whatever its capital letters."""
    own = {name: simplify_column_name(name) for name in (rows[0] if rows else ())}
    own = {name: column for name, column in own.items() if column in _OPTIONAL_COLUMNS}
    return [{own.get(name, name): cell for name, cell in row.items()} for row in rows]


def _read_group(row: dict[str, str]) -> str:
    group = row.get("group", "")
    return "" if is_missing_value(group) else group


def _parse_prediction_row(row: dict[str, str], where: str) -> tuple[int, list[float], str]:
    """Return a row's label, probabilities, and the reason if there are no probabilities."""
    label = parse_grade(row["icdr_grade"])
    if label is None:
        found = quote_cell_if_number(row["icdr_grade"])
        raise InvalidInput(
            f"{found} is not an ICDR grade from 0 to 4",
            where=where,
            remedy="Write the label into the column icdr_grade, or remove the row",
        )
    gradable = row.get("gradable", "").lower() or "true"
    if gradable not in _YES | _NO:
        raise InvalidInput(
            f"{quote_cell_if_number(gradable)} in the column gradable is neither true nor false",
            where=where,
            remedy="Write true if the photograph has a grade, otherwise false",
        )
    if gradable in _NO:
        return (
            label,
            [float("nan")] * len(Grade),
            unescape_formula_in_csv_cell(row.get("reason") or "not gradable"),
        )
    try:
        shares = [float(row[name].replace(",", ".")) for name in PROBABILITY_COLUMNS]
    except ValueError as err:
        columns = ", ".join(PROBABILITY_COLUMNS)
        what = f"A value in the columns {columns} is not a number"
        raise InvalidInput(
            what, where=where, remedy="Correct the row, or set gradable to false"
        ) from err
    if not (min(shares) >= 0 and abs(sum(shares) - 1) <= SUM_TOLERANCE):  # NaN fails both
        raise InvalidInput(
            "The values p0 to p4 are not probabilities",
            where=where,
            remedy="Make p0, p1, p2, p3 and p4 probabilities that add up to 1, or set gradable "
            "to false",
        )
    return label, shares, ""


def list_photograph_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of a data set's photographs."""
    return tuple(one.name for one in dataset.photographs)


def predict_dataset(
    service: InferenceService,
    dataset: Dataset,
    *,
    columns: Mapping[str, str] | None = None,
    track: Callable[[Sequence[Path]], Sequence[Path]] = lambda files: files,
) -> GradedSet:
    """Grade every photograph of a data set exactly as a server does.

    If a photograph cannot be read or graded, the result has a reason instead of probabilities. The
    manifest may have a rule that finds photographs unlike the training photographs. The result then
    has a column ``unlike_training``, which holds ``yes`` or ``no``, or nothing for a photograph
    without a grade. The result also keeps the columns of the table of labels that are keys of
    ``columns``. The values of ``columns`` are the command-line options that asked for these
    columns; an error can quote the options. ``track`` wraps the iteration over the files, to show
    progress.

    Raises:
        InvalidInput: The model is not an ICDR grader, or the table lacks a column.
    """
    cells = {
        wanted: read_dataset_column(dataset, wanted, option=option)
        for wanted, option in (columns or {}).items()
    }
    if not service.manifest.is_icdr:
        raise InvalidInput(
            "Only an ICDR grader can be evaluated on ICDR grades",
            where=service.manifest.name,
            remedy="Pack the model with `drdeploy artifact pack --icdr`",
        )
    probabilities = np.full((len(dataset), len(Grade)), np.nan)
    reasons: list[str] = []
    is_read = np.ones(len(dataset), dtype=bool)
    flags = np.full(len(dataset), "", dtype="U3")
    for at, file in enumerate(track([one.file for one in dataset.photographs])):
        try:
            [inference] = service.infer([file.read_bytes()])
        except OSError as err:
            is_read[at] = False
            reasons.append(f"The file cannot be read: {err.strerror}.")
            continue
        except (RequestRefused, PredictionFailed) as err:
            is_read[at] = not isinstance(err, RequestRefused)
            reasons.append(err.sentence)
            continue
        if inference.prediction is None:
            reasons.append(inference.ungradable or "not gradable")
        else:
            reasons.append("")
            probabilities[at] = inference.prediction.probabilities
            flags[at] = "yes" if inference.is_unlike_training else "no"
    if service.manifest.familiarity is not None:
        cells[UNLIKE_TRAINING] = flags
    return GradedSet(
        files=list_photograph_names(dataset),
        groups=dataset.group_names,
        labels=dataset.grades,
        probabilities=probabilities,
        reasons=tuple(reasons),
        group_unit=dataset.group_unit,
        columns=cells,
        is_read=is_read,
    )

"""Read a results folder as one validated frame that marks the rows that do not count.

A row counts if it is not a warm-up, its outcome is ``ok``, and its kind of start is right.  In a
cold scenario only cold starts count, and in a warm scenario only warm starts.  Rows that do not
count are kept too, with the reason in the column ``left_out``.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.files import parse_json, read_bytes_up_to_limit, unescape_formula_in_csv_cell
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE
from drdeploy.study.measurements.validation import (
    FIRST_LINE,
    convert_and_validate_rows,
    make_bad_line_error,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILE_BYTES_MAX = 256 * MIB
"""A file of measurements, or of facts about runs, is read only if it is not larger than this. A
file of this size holds a million rows."""

LINE = "line"
"""The column that holds the line number of each row in its file."""
WARM_UP = "warm_up"
UNGRADABLE = "ungradable"

_MACHINE_FACTS = ("cpu_model", "cpu_count", "machine")
"""The facts about the machine in ``environment.json`` that a latency depends on."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """The rows of a results folder, and the facts about its runs.

    Attributes:
        frame: One row per invocation, with the columns and types of the schema.  The column
            ``line`` gives the row's line in the file.  The column ``left_out`` is empty if the
            row counts.
        environment: The facts of each run by ``run_id``; empty if there is no ``environment.json``.
        source: The file that the rows were read from.
        notes: One sentence for each kind of line that was skipped while reading.
    """

    frame: pd.DataFrame
    environment: Mapping[str, Mapping[str, Any]]
    source: Path
    notes: tuple[str, ...] = field(default=())

    @property
    def counted(self) -> pd.DataFrame:
        """The rows that count in the analysis: no warm-up, no failure, no wrong kind of start."""
        return self.frame[self.frame["left_out"] == ""]

    @property
    def left_out(self) -> dict[str, int]:
        """The number of rows left out of the analysis for each reason, the most frequent first."""
        reasons = self.frame.loc[self.frame["left_out"] != "", "left_out"]
        return dict(Counter(reasons).most_common())

    def differences(self) -> dict[str, list[str]]:
        """Return each condition of measurement that is not the same for all rows, with its values.

        The conditions are the platform, the isolation, the machine, and the model of each trial.
        """
        known = self.frame[self.frame["model_digest"] != ""]
        digests = known.groupby("trial")["model_digest"].nunique()
        found = {
            "platform": _list_distinct_values(self.frame["platform"]),
            "isolation": _list_distinct_values(self.frame["isolation"]),
            "machine": sorted(set(self._list_machine_facts_of_each_run())),
            "model digest within a trial": sorted(map(str, digests[digests > 1].index)),
        }
        return {
            name: values
            for name, values in found.items()
            if len(values) > (0 if "trial" in name else 1)  # each listed trial is a fault
        }

    def require_comparable(self) -> None:
        """Refuse to compare rows that were measured under different conditions.

        Raises:
            AnalysisError: The rows differ in platform, isolation or machine, or the model of a
                trial changed.
        """
        differences = self.differences()
        if differences:
            found = "; ".join(f"{name}: {', '.join(v)}" for name, v in differences.items())
            raise AnalysisError(
                f"Rows that were measured under different conditions are not compared ({found})",
                where=str(self.source),
                remedy="Report the rows of each condition from a separate folder, or pass "
                "--mixed if you study the difference between the conditions",
            )

    def _list_machine_facts_of_each_run(self) -> Iterator[str]:
        for run_id in _list_distinct_values(self.frame["run_id"]):
            facts = self.environment.get(run_id, {})
            known = {name: facts[name] for name in _MACHINE_FACTS if name in facts}
            if known:
                yield json.dumps(known, sort_keys=True, default=str)


def load_results_folder(results: Path) -> Measurements:
    """Read ``measurements.csv`` and ``environment.json`` from a results folder.

    Args:
        results: The folder, or the path of its ``measurements.csv``.

    Raises:
        AnalysisError: The file does not exist, has no row, or has a row that contradicts the
            schema.
    """
    source = results / MEASUREMENTS_FILE if results.is_dir() else results
    frame, notes = _read_csv_rows_and_notes(source)
    return make_measurements_from_frame(frame, source, _read_environment_file(source.parent), notes)


def make_measurements_from_frame(
    frame: pd.DataFrame,
    source: Path,
    environment: Mapping[str, Mapping[str, Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> Measurements:
    """Validate rows in memory, and mark the rows that do not count.

    Args:
        frame: Rows with the columns of ``measurements.csv``; optional columns may be missing.
        source: The file that error messages name.
        environment: The facts of each run by ``run_id``.
        notes: Sentences for :attr:`Measurements.notes`.

    Raises:
        AnalysisError: There is no row, or a row contradicts the schema.
    """
    rows = convert_and_validate_rows(frame, source)
    # Two identical rows are one invocation that was written twice: no two invocations start at
    # exactly the same time.
    repeated = rows.duplicated(keep="first")
    count = int(repeated.sum())
    if count:
        lines = f"{count} line{'s' * (count > 1)}"
        verb = "are identical copies" if count > 1 else "is an identical copy"
        were = "were" if count > 1 else "was"
        notes = (*notes, f"{lines} of the file {verb} of an earlier line and {were} not used.")
    rows = rows[~repeated].copy()
    rows[LINE] = rows.index + FIRST_LINE
    rows = rows.reset_index(drop=True)
    # If a container does not identify itself, the kind of start is not known. An instance that is
    # always on was warm in any case.
    implied = rows["scenario"].isin(["warm", "real-time", "realtime", "asynchronous"]) & (
        rows["start"] == ""
    )
    rows["start"] = rows["start"].mask(implied, "warm")
    reason = rows["outcome"].mask(rows["outcome"] == "ok", "")
    expected = rows["scenario"].map({"cold": "cold", "warm": "warm"}).fillna(rows["start"])
    reason = reason.mask((reason == "") & (rows["start"] != expected), "wrong_start")
    rows["left_out"] = reason.mask(rows["is_warmup"], WARM_UP)
    return Measurements(rows, environment or {}, source, notes)


def _read_csv_rows_and_notes(source: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    try:
        # Excel writes a byte order mark.
        text = read_bytes_up_to_limit(source, FILE_BYTES_MAX).decode("utf-8-sig")
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else str(err)
        if isinstance(err, UnicodeDecodeError):
            reason = "The text is not UTF-8"
        raise AnalysisError(
            f"The measurements cannot be read: {reason}",
            where=str(source),
            remedy="Give a results folder that `drdeploy study run` wrote",
        ) from err
    try:
        lines = [
            [unescape_formula_in_csv_cell(cell) for cell in row]
            for row in csv.reader(io.StringIO(text))
        ]
    except csv.Error as err:
        raise AnalysisError(
            f"The file of measurements is not valid CSV: {err}",
            where=str(source),
            remedy="Give a results folder that `drdeploy study run` wrote",
        ) from err
    header, *rows = lines or [[]]
    twice = next((name for name, times in Counter(header).items() if times > 1), None)
    if twice is not None:
        raise AnalysisError(
            f"The file of measurements has several columns named '{twice}'",
            where=str(source),
            remedy="Keep one of the columns",
        )
    # A killed run may leave an incomplete last line, which is not a measurement.
    torn = bool(rows) and len(rows[-1]) < len(header) and not text.endswith("\n")
    rows = rows[:-1] if torn else rows
    for line, row in enumerate(rows, start=FIRST_LINE):
        if len(row) != len(header):
            problem = f"the line has {len(row)} fields, but the header has {len(header)}"
            raise make_bad_line_error(source, line, problem)
    notes = ("The last line of the file is incomplete and was not read.",) if torn else ()
    return pd.DataFrame(rows, columns=header, dtype=str), notes


def _read_environment_file(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / ENVIRONMENT_FILE
    if not path.is_file():
        return {}
    try:
        facts = parse_json(read_bytes_up_to_limit(path, FILE_BYTES_MAX))
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The file with the facts about the runs cannot be read as JSON",
            where=str(path),
            remedy=(
                "Move the file to another folder to make a report without the facts about the runs"
            ),
        ) from err
    if not isinstance(facts, dict):
        return {}
    return {str(run): known for run, known in facts.items() if isinstance(known, dict)}


def _list_distinct_values(column: pd.Series) -> list[str]:
    return sorted({str(value) for value in column if str(value)})

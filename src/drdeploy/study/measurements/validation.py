"""Turn rows into a pandas frame with the types of the schema, and refuse invalid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.study.measurements.measurement import REQUIRED, SCHEMA
from drdeploy.study.measurements.schema import ONE_PER_TRIAL

if TYPE_CHECKING:
    from pathlib import Path

FIRST_LINE = 2
"""The number of the line that holds the first row; line 1 is the header."""


def convert_and_validate_rows(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return the rows with all columns and types of the schema.

    Numbers become floats, with NaN for an empty cell. Every other missing value becomes an empty
    string.

    Args:
        frame: The rows in the order of the file, as text or as numbers.
        source: The file that error messages name.

    Raises:
        AnalysisError: There is no row, a column is missing, or a value does not fit its column. The
            error is also raised if values of a row contradict each other, or if rows of a trial do.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing and len(frame.columns):
        raise AnalysisError(
            f"The measurements lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            where=str(source),
            remedy="Run the study again with this version of drdeploy. If another tool wrote the "
            "file, rename its columns",
        )
    if frame.empty:
        raise AnalysisError(
            "The results folder contains no measurements yet",
            where=str(source),
            remedy="Run `drdeploy study run`, which adds a row for each request",
        )
    rows = _convert_columns(frame.reset_index(drop=True), source)
    _require_valid_values(rows, source)
    return rows


def make_bad_line_error(source: Path, line: int, problem: str) -> AnalysisError:
    """Return the error about one line of the file."""
    return AnalysisError(
        f"A measurement is not valid: {problem}",
        where=f"{source}, line {line}",
        remedy="Correct the line or remove it",
    )


def _convert_columns(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    rows = frame.copy()
    for column in SCHEMA:
        if column.name not in rows:
            rows[column.name] = np.nan if column.is_number else ""
        elif column.is_number:
            cells = rows[column.name]
            numbers = pd.to_numeric(cells, errors="coerce")
            is_given = cells.notna() & (cells.astype(str).str.strip() != "")
            is_wrong = is_given & ~np.isfinite(numbers)
            _refuse_first_wrong_row(is_wrong, cells, "not a number", source)
            rows[column.name] = numbers.astype(float)
    numeric = [column.name for column in SCHEMA if column.is_number]
    for name in rows.columns.difference(numeric):
        rows[name] = rows[name].fillna("").astype(str)
    for column in SCHEMA:
        if column.kind is bool:
            cells = rows[column.name]
            lowered = cells.str.lower()  # pandas and spreadsheets write True and TRUE
            _refuse_first_wrong_row(
                ~lowered.isin(["true", "false"]), cells, "not true or false", source
            )
            rows[column.name] = lowered == "true"
    return rows


def _require_valid_values(rows: pd.DataFrame, source: Path) -> None:
    for column in SCHEMA:
        cells = rows[column.name]
        if column.choices:
            known = ", ".join(filter(None, column.choices))
            _refuse_first_wrong_row(
                ~cells.isin(column.choices), cells, f"not one of {known}", source
            )
        if column.unit == "s":
            _refuse_first_wrong_row(cells < 0, cells, "negative", source)
    took_no_time = (rows["outcome"] == "ok") & ~(rows["total_latency_s"] > 0)
    if took_no_time.any():
        line = _find_first_wrong_row(took_no_time) + FIRST_LINE
        raise make_bad_line_error(source, line, "a successful invocation has no total latency")
    _require_facts_of_jobs(rows, source)
    _require_one_value_per_trial(rows, source)


def _require_facts_of_jobs(rows: pd.DataFrame, source: Path) -> None:
    """Refuse a row of a transform job if it lacks a value on which its time or cost depends."""
    of_jobs = (rows["scenario"] == "batch") & (rows["outcome"] == "ok")
    for name in ("photograph_count", "instance_count", "startup_s"):
        least = 0 if name == "startup_s" else 1
        is_wrong = of_jobs & ~(rows[name] >= least)
        if is_wrong.any():
            line = _find_first_wrong_row(is_wrong) + FIRST_LINE
            raise make_bad_line_error(source, line, f"a transform job has no valid {name}")


def _require_one_value_per_trial(rows: pd.DataFrame, source: Path) -> None:
    for trial, of_trial in rows.groupby("trial"):
        for column in SCHEMA:
            if ONE_PER_TRIAL not in column.rules:
                continue
            # The row of a failed invocation may lack values that its container would have reported.
            known = of_trial[column.name].replace("", np.nan).dropna()
            if len(known.unique()) > 1:
                raise AnalysisError(
                    f"The rows of the trial '{trial}' have different values of '{column.name}'",
                    where=str(source),
                    remedy="Give the rows of each configuration their own trial id",
                )


def _refuse_first_wrong_row(
    is_wrong: pd.Series, cells: pd.Series, problem: str, source: Path
) -> None:
    """Raise an error for the first wrong row, if there is one."""
    if is_wrong.any():
        row = _find_first_wrong_row(is_wrong)
        value = cells.iloc[row]
        problem = f"{cells.name} is {value!r}, which is {problem}"
        raise make_bad_line_error(source, row + FIRST_LINE, problem)


def _find_first_wrong_row(is_wrong: pd.Series) -> int:
    return int(np.argmax(is_wrong.to_numpy()))

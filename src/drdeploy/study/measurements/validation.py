"""Rows as a pandas frame: typed by the schema, and refused where they contradict it."""

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
"""The line of the file that the first row is in; the header is before it."""


def validated(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Return rows as the schema types them, with every column of it.

    Numbers become floats (NaN where a cell is empty), texts are never missing, and columns that
    the schema does not know stay as texts.

    Args:
        frame: In the order of the file, as text or as numbers.
        source: The file, for messages.

    Raises:
        AnalysisError: A column is missing, there is no row, a value does not fit its column, or
            a row contradicts itself or its trial.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing and len(frame.columns):
        raise AnalysisError(
            f"The measurements lack the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            where=str(source),
            remedy="Measure again with this version, or rename the columns of an imported file",
        )
    if frame.empty:
        raise AnalysisError(
            "There is no measurement yet",
            where=str(source),
            remedy="Run `drdeploy study run`; it appends one row per invocation",
        )
    rows = _typed(frame.reset_index(drop=True), source)
    _require_sense(rows, source)
    return rows


def bad_line(source: Path, line: int, problem: str) -> AnalysisError:
    """Return the error for one line of the file."""
    return AnalysisError(
        f"A measurement makes no sense: {problem}",
        where=f"{source}, line {line}",
        remedy="Correct or remove the line; measurements are otherwise never edited",
    )


def _typed(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    rows = frame.copy()
    for column in SCHEMA:
        if column.name not in rows:
            rows[column.name] = np.nan if column.is_number else ""
        elif column.is_number:
            cells = rows[column.name]
            numbers = pd.to_numeric(cells, errors="coerce")
            is_given = cells.notna() & (cells.astype(str).str.strip() != "")
            _refuse(is_given & ~np.isfinite(numbers), cells, "no number", source)
            rows[column.name] = numbers.astype(float)
    numeric = [column.name for column in SCHEMA if column.is_number]
    for name in rows.columns.difference(numeric):
        rows[name] = rows[name].fillna("").astype(str)
    for column in SCHEMA:
        if column.kind is bool:
            cells = rows[column.name]
            lowered = cells.str.lower()  # pandas and spreadsheets write True and TRUE
            _refuse(~lowered.isin(["true", "false"]), cells, "not true or false", source)
            rows[column.name] = lowered == "true"
    return rows


def _require_sense(rows: pd.DataFrame, source: Path) -> None:
    for column in SCHEMA:
        cells = rows[column.name]
        if column.choices:
            known = ", ".join(filter(None, column.choices))
            _refuse(~cells.isin(column.choices), cells, f"not one of {known}", source)
        if column.unit == "s":
            _refuse(cells < 0, cells, "negative", source)
    took_no_time = (rows["outcome"] == "ok") & ~(rows["total_latency_s"] > 0)
    if took_no_time.any():
        line = _first(took_no_time) + FIRST_LINE
        raise bad_line(source, line, "the invocation succeeded without a total latency")
    _require_one_value_per_trial(rows, source)


def _require_one_value_per_trial(rows: pd.DataFrame, source: Path) -> None:
    for trial, of_trial in rows.groupby("trial"):
        for column in SCHEMA:
            if ONE_PER_TRIAL not in column.rules:
                continue
            # A row of a failed invocation may lack what its container would have said.
            known = of_trial[column.name].replace("", np.nan).dropna()
            if len(known.unique()) > 1:
                raise AnalysisError(
                    f"Trial {trial} has rows with different {column.name}",
                    where=str(source),
                    remedy="Give each configuration a trial of its own, "
                    "in a results folder of its own",
                )


def _refuse(is_wrong: pd.Series, cells: pd.Series, problem: str, source: Path) -> None:
    """Raise for the first row that is wrong, if there is one."""
    if is_wrong.any():
        row = _first(is_wrong)
        value = cells.iloc[row]
        raise bad_line(source, row + FIRST_LINE, f"{cells.name} is {value!r}, {problem}")


def _first(is_wrong: pd.Series) -> int:
    return int(np.argmax(is_wrong.to_numpy()))

"""What a row of ``measurements.csv`` must be: its columns, their types, and sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = (
    *("study", "trial", "platform", "isolation", "model", "weights", "precision", "profile"),
    *("endpoint_kind", "memory_mb", "instance_type", "scenario", "sequence", "is_warmup", "start"),
    *("outcome", "status", "started_at", "total_latency_s", "container_latency_s"),
    "prediction_s",
)
OPTIONAL_TEXT = ("architecture", "image", "error", "photograph", "label", "model_digest", "run_id")
OPTIONAL_NUMBERS = (
    *("vcpu", "decode_s", "transform_s", "payload_bytes"),
    *("model_setup_s", "model_latency_s", "overhead_latency_s"),
)

NUMBERS = (
    *("memory_mb", "sequence", "total_latency_s", "container_latency_s", "prediction_s"),
    *OPTIONAL_NUMBERS,
)
OUTCOMES = frozenset({
    *("ok", "throttled", "model_error", "unavailable", "timeout", "client_error"),
    *("wrong_start", "ungradable"),
})  # fmt: skip
DESCRIBES_A_TRIAL = (
    *("platform", "isolation", "model", "architecture", "weights", "precision", "profile"),
    *("endpoint_kind", "memory_mb", "instance_type", "vcpu", "scenario"),
)
"""Columns that say what was measured; each has one value within a trial."""

_COMPARABILITY = frozenset({"platform", "isolation"})  # judged by Measurements.differences


def require_columns(frame: pd.DataFrame, source: Path) -> None:
    """Raise :class:`AnalysisError` where a column is missing or there is no row."""
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


def typed(frame: pd.DataFrame, source: Path) -> pd.DataFrame:
    """Numbers as floats, texts never missing, optional columns filled; raises AnalysisError."""
    rows = frame.copy()
    for name in OPTIONAL_TEXT:
        rows[name] = rows.get(name, "")
    for name in NUMBERS:
        rows[name] = _numbers(rows[name], source) if name in rows else np.nan
    for name in rows.columns.difference(list(NUMBERS)):
        rows[name] = rows[name].fillna("").astype(str)
    rows["is_warmup"] = _booleans(rows["is_warmup"], source)
    return rows


def _numbers(column: pd.Series, source: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    given = column.notna() & (column.astype(str).str.strip() != "")
    wrong = given & ~np.isfinite(numbers)
    if wrong.any():
        line = _first(wrong)
        raise no_sense(source, line + 2, f"{column.name} is {column.iloc[line]!r}, no number")
    return numbers.astype(float)


def _booleans(column: pd.Series, source: Path) -> pd.Series:
    lowered = column.astype(str).str.lower()
    wrong = ~lowered.isin(["true", "false"])
    if wrong.any():
        line = _first(wrong)
        told = f"{column.name} is {column.iloc[line]!r}, not true or false"
        raise no_sense(source, line + 2, told)
    return lowered == "true"


def require_sense(frame: pd.DataFrame, source: Path) -> None:
    """Raise :class:`AnalysisError` for a row that contradicts itself or its trial."""
    succeeded = frame["outcome"] == "ok"
    faults = {
        "the outcome is unknown": ~frame["outcome"].isin(OUTCOMES),
        "the invocation succeeded without a total latency": succeeded
        & ~(frame["total_latency_s"] > 0),
        "a time is negative": (frame[[n for n in NUMBERS if n.endswith("_s")]] < 0).any(axis=1),
    }
    for fault, wrong in faults.items():
        if wrong.any():
            raise no_sense(source, _first(wrong) + 2, fault)
    for trial, rows in frame.groupby("trial"):
        _require_one_trial(str(trial), rows, source)


def _require_one_trial(trial: str, rows: pd.DataFrame, source: Path) -> None:
    for name in DESCRIBES_A_TRIAL:
        told = rows[name].replace("", np.nan).nunique()  # a failure may not know everything
        if told > 1 and name not in _COMPARABILITY:
            raise AnalysisError(
                f"Trial {trial} has rows with different {name}",
                where=str(source),
                remedy="Give each configuration a trial of its own, in a results folder of its own",
            )


def no_sense(source: Path, line: int, fault: str) -> AnalysisError:
    """The error for one line of the file."""
    return AnalysisError(
        f"A measurement makes no sense: {fault}",
        where=f"{source}, line {line}",
        remedy="Correct or remove the line; measurements are otherwise never edited",
    )


def _first(wrong: pd.Series) -> int:
    return int(np.argmax(wrong.to_numpy()))

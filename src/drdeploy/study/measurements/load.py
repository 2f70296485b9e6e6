"""Read a results folder as one validated frame that marks the rows that do not count.

A row counts when it is no warm-up, its outcome is ``ok``, and the container started as its
scenario asks: a cold scenario counts cold starts alone, a warm one never counts a cold start.
Every other row is kept too, with the reason in the column ``left_out``.
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
from drdeploy.files import cell_text
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE
from drdeploy.study.measurements.validation import FIRST_LINE, bad_line, validated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LINE = "line"
"""The column with the line of the file that a row is in, so that a number can be traced."""
WARM_UP = "warm_up"
UNGRADABLE = "ungradable"

_MACHINE_FACTS = ("cpu_model", "cpu_count", "machine")
"""The facts of ``environment.json`` that a latency depends on."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """The rows and facts of a results folder.

    Attributes:
        frame: One row per invocation, typed by the schema, with its ``line`` in the file;
            ``left_out`` is empty where the row counts.
        environment: Facts per ``run_id``; empty where there is no ``environment.json``.
        source: The file that the rows came from.
        notes: Sentences about what was skipped while reading.
    """

    frame: pd.DataFrame
    environment: Mapping[str, Mapping[str, Any]]
    source: Path
    notes: tuple[str, ...] = field(default=())

    @property
    def counted(self) -> pd.DataFrame:
        """The rows that count."""
        return self.frame[self.frame["left_out"] == ""]

    @property
    def left_out(self) -> dict[str, int]:
        """How many rows do not count, per reason, the most frequent first."""
        reasons = self.frame.loc[self.frame["left_out"] != "", "left_out"]
        return dict(Counter(reasons).most_common())

    def differences(self) -> dict[str, list[str]]:
        """Return what differs between rows that ought to come from one place: name -> values."""
        known = self.frame[self.frame["model_digest"] != ""]
        digests = known.groupby("trial")["model_digest"].nunique()
        found = {
            "platform": _distinct(self.frame["platform"]),
            "isolation": _distinct(self.frame["isolation"]),
            "machine": sorted(set(self._machines())),
            "model digest within a trial": sorted(map(str, digests[digests > 1].index)),
        }
        return {
            name: values
            for name, values in found.items()
            if len(values) > (0 if "trial" in name else 1)  # there, values are the trials at fault
        }

    def require_comparable(self) -> None:
        """Refuse to compare rows from different places.

        Raises:
            AnalysisError: Platform, isolation or machine differ, or a trial's model changed.
        """
        differences = self.differences()
        if differences:
            found = "; ".join(f"{name}: {', '.join(v)}" for name, v in differences.items())
            raise AnalysisError(
                f"Rows that were measured under different conditions are not compared ({found})",
                where=str(self.source),
                remedy="Report them apart, or pass --mixed if the difference is what you study",
            )

    def _machines(self) -> Iterator[str]:
        for run_id in _distinct(self.frame["run_id"]):
            facts = self.environment.get(run_id, {})
            known = {name: facts[name] for name in _MACHINE_FACTS if name in facts}
            if known:
                yield json.dumps(known, sort_keys=True, default=str)


def load(results: Path) -> Measurements:
    """Read ``measurements.csv`` (or that file itself) and ``environment.json`` beside it.

    Raises:
        AnalysisError: There is no such file, no row, or a row that the schema refuses.
    """
    source = results / MEASUREMENTS_FILE if results.is_dir() else results
    frame, notes = _read_rows(source)
    return from_frame(frame, source, _read_environment(source.parent), notes)


def from_frame(
    frame: pd.DataFrame,
    source: Path,
    environment: Mapping[str, Mapping[str, Any]] | None = None,
    notes: tuple[str, ...] = (),
) -> Measurements:
    """Validate rows that are in memory already, for example those of another study.

    Args:
        frame: Columns as in ``measurements.csv``; the optional ones may be missing.
        source: Where they came from, for messages.
        environment: Facts per ``run_id``.
        notes: Sentences to carry along.

    Raises:
        AnalysisError: As :func:`load`.
    """
    rows = validated(frame, source)
    # Two identical rows are one invocation that was written twice: no two have the same start.
    repeated = rows.duplicated(keep="first")
    count = int(repeated.sum())
    if count:
        lines = f"{count} line{'s' * (count > 1)}"
        notes = (*notes, f"{lines} stood in the file twice, word for word; counted once.")
    rows = rows[~repeated].copy()
    rows[LINE] = rows.index + FIRST_LINE
    rows = rows.reset_index(drop=True)
    # A container that does not identify itself leaves the start open; an instance that is always
    # on was warm all the same.
    implied = rows["scenario"].isin(["warm", "real-time", "realtime"]) & (rows["start"] == "")
    rows["start"] = rows["start"].mask(implied, "warm")
    reason = rows["outcome"].mask(rows["outcome"] == "ok", "")
    expected = rows["scenario"].map({"cold": "cold", "warm": "warm"}).fillna(rows["start"])
    reason = reason.mask((reason == "") & (rows["start"] != expected), "wrong_start")
    rows["left_out"] = reason.mask(rows["is_warmup"], WARM_UP)
    return Measurements(rows, environment or {}, source, notes)


def _read_rows(source: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    try:
        text = source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "It is not text in UTF-8"
        raise AnalysisError(
            f"The measurements cannot be read: {reason}",
            where=str(source),
            remedy="Name the folder that `drdeploy study run` wrote",
        ) from err
    try:
        lines = [[cell_text(cell) for cell in row] for row in csv.reader(io.StringIO(text))]
    except csv.Error as err:
        raise AnalysisError(f"The measurements are no CSV: {err}", where=str(source)) from err
    header, *rows = lines or [[]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise AnalysisError(f"The measurements have two columns '{twice}'", where=str(source))
    # A run that was killed leaves a last line without its end: not yet a measurement.
    torn = bool(rows) and len(rows[-1]) < len(header) and not text.endswith("\n")
    rows = rows[:-1] if torn else rows
    for line, row in enumerate(rows, start=FIRST_LINE):
        if len(row) != len(header):
            raise bad_line(source, line, f"{len(row)} fields where the header has {len(header)}")
    notes = ("The last line was cut off while it was written; it is left out.",) if torn else ()
    return pd.DataFrame(rows, columns=header, dtype=str), notes


def _read_environment(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / ENVIRONMENT_FILE
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The facts about the environment are not JSON",
            where=str(path),
            remedy="Move the file away to report without them",
        ) from err
    if not isinstance(facts, dict):
        return {}
    return {str(run): known for run, known in facts.items() if isinstance(known, dict)}


def _distinct(column: pd.Series) -> list[str]:
    return sorted({str(value) for value in column if str(value)})

"""The 2023 study's raw rows as measurements, from this package or from a folder.

The package holds them in one file; the study published one file per experiment, and a folder of
those is read as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.files import shipped
from drdeploy.study.measurements.load import Measurements, from_frame, load
from drdeploy.study.measurements.results import MEASUREMENTS_FILE
from drdeploy.units import MIB_PER_GIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STUDY_NAME = "thesis-2023"
"""What a command takes in place of a results folder."""
STUDY_FOLDER = shipped(f"studies/{STUDY_NAME}")
PUBLISHED_FILE, ROWS_FILE = "published.csv", "raw_rows.csv"
COLUMNS = {
    "fullLatency": "total_latency_s",
    "requestLatency": "container_latency_s",
    "predictionLatency": "prediction_s",
}
"""The study's columns, in seconds, and what they are called here."""
WARM, COLD = "warm-up", "cold-start"
FAMILIES = ("m4", "m5", "m6g", "c7g")

_SERVERLESS = re.compile(rf"(?P<start>{WARM}|{COLD})-(?P<model>\w+)-(?P<memory_gb>\d+)gb")
_REAL_TIME = re.compile(r"(?P<model>\w+)-(?P<family>[a-z]\d[a-z]*)")


@dataclass(frozen=True)
class Experiment:
    """One model on one endpoint configuration, measured warm or cold.

    Attributes:
        name: As the study named its file, ``cold-start-VGG19-2gb``; the trial's name here.
        memory_mb: Memory of a serverless endpoint; 0 for an instance.
        family: Instance family, ``m5``; empty for a serverless endpoint.
    """

    name: str
    model: str
    start: str
    memory_mb: int = 0
    family: str = ""

    @property
    def instance_type(self) -> str:
        """``ml.m5.xlarge``: the study used no other size."""
        return f"ml.{self.family}.xlarge" if self.family else ""

    @property
    def size(self) -> str:
        """``1024 MB`` or ``ml.m5.xlarge``."""
        return self.instance_type or f"{self.memory_mb} MB"


def experiment_of(name: str) -> Experiment | None:
    """Parse an experiment's name; None if the study has no such names."""
    if parts := _SERVERLESS.fullmatch(name):
        start = "warm" if parts["start"] == WARM else "cold"
        return Experiment(
            name, parts["model"], start, memory_mb=MIB_PER_GIB * int(parts["memory_gb"])
        )
    if parts := _REAL_TIME.fullmatch(name):
        return Experiment(name, parts["model"], "warm", family=parts["family"])
    return None


def load_results(results: Path) -> Measurements:
    """Read what a command names: a results folder, :data:`STUDY_NAME`, or the study's own files.

    Raises:
        AnalysisError: There are no measurements, or they make no sense.
    """
    if str(results) == STUDY_NAME and not results.exists():
        return load_study()
    if results.is_file() or (results / MEASUREMENTS_FILE).exists():
        return load(results)
    names = [path.stem for path in results.glob("*.csv")]
    holds_raw_rows = (results / ROWS_FILE).exists() or any(map(experiment_of, names))
    return load_study(results) if holds_raw_rows else load(results)


def load_study(folder: Path = STUDY_FOLDER) -> Measurements:
    """Read the study's raw rows: those in this package, or every raw file in a folder.

    A file whose name is not that of an experiment is skipped, and one whose row numbers are not
    0, 1, 2, ... is used as it stands; the notes of the measurements say so.

    Raises:
        AnalysisError: There are no raw rows, a column is missing, or a value is not a time.
    """
    tables = _tables(folder)
    if not tables:
        raise AnalysisError(
            "There are no raw rows of the study in this folder",
            where=str(folder),
            remedy=f"Name the folder with {WARM}-MODEL-Ngb.csv, {COLD}-MODEL-Ngb.csv and "
            "MODEL-INSTANCE.csv, or no folder for the packaged rows",
        )
    frames = [_as_measurements(tables[one], one) for one in sorted(tables, key=_order)]
    notes = tuple(_notes(folder, tables))
    return from_frame(pd.concat(frames, ignore_index=True), folder, notes=notes)


def _tables(folder: Path) -> dict[Experiment, pd.DataFrame]:
    """The raw rows of each experiment, from the one packed file or from a file each."""
    if (folder / ROWS_FILE).exists():
        packed = _read(folder / ROWS_FILE)
        tables = {str(name): rows for name, rows in packed.groupby("experiment", sort=False)}
    else:
        paths = sorted(folder.glob("*.csv"))
        tables = {path.stem: _read(path) for path in paths if experiment_of(path.stem)}
    return {found: rows for name, rows in tables.items() if (found := experiment_of(name))}


def _order(experiment: Experiment) -> tuple[int, str]:
    """Instances in the order of the study's price table, then the serverless experiments."""
    family = experiment.family
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), experiment.name)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The raw rows cannot be read: this is not a CSV file with a header and rows",
            where=str(path),
            remedy="Download the file again",
        ) from err
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or table.empty:
        what = f"lacks {', '.join(missing)}" if missing else "holds no row"
        raise AnalysisError(
            f"The file of raw rows {what}",
            where=str(path),
            remedy=f"It needs a first column with the row number, and {', '.join(COLUMNS)}",
        )
    for name in COLUMNS:
        seconds = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~(np.isfinite(seconds) & (seconds > 0))
        if wrong.any():
            line = int(np.argmax(wrong))
            raise AnalysisError(
                f"{name} is {table[name].iloc[line]!r}, not a time in seconds",
                where=f"{path}, line {line + 2}",
                remedy="Download the file again; raw rows are never edited",
            )
    return table


def _as_measurements(raw: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    facts: dict[str, Any] = {
        "study": "original",
        "trial": experiment.name,
        "platform": "aws",
        "isolation": "managed",
        "model": experiment.model,
        "architecture": experiment.model,
        "weights": "trained",
        "precision": "fp32",
        "profile": "classic",
        "endpoint_kind": "realtime" if experiment.family else "serverless",
        "memory_mb": experiment.memory_mb or np.nan,
        "instance_type": experiment.instance_type,
        "scenario": "real-time" if experiment.family else experiment.start,
        "start": experiment.start,
        "is_warmup": False,
        "outcome": "ok",
        "status": 200,
        "started_at": "",  # the study did not publish when
    }
    rows = raw[list(COLUMNS)].rename(columns=COLUMNS).reset_index(drop=True).astype(float)
    return rows.assign(sequence=rows.index + 1, **facts)


def _notes(folder: Path, tables: Mapping[Experiment, pd.DataFrame]) -> Iterator[str]:
    names = {path.name for path in folder.glob("*.csv") if not experiment_of(path.stem)}
    skipped = sorted(names - {PUBLISHED_FILE, ROWS_FILE})
    if skipped:
        yield f"Skipped, because the name is not that of an experiment: {', '.join(skipped)}."
    for experiment, table in tables.items():
        numbers, expected = table.index.tolist(), list(range(len(table)))
        missing = sorted(set(expected) - set(numbers))
        repeated = sorted({number for number in numbers if numbers.count(number) > 1})
        if numbers != expected:
            yield (
                f"{experiment.name}.csv: the row numbers are not consecutive (missing "
                f"{_listed(missing)}; more than once {_listed(repeated)}), so the rows may come "
                f"from more than one series; all {len(table)} are used as they stand."
            )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"

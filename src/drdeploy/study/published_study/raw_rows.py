"""Read the 2023 study's raw rows as measurements, from the package or from a folder.

The package holds the raw rows of all experiments in one file. The study published one file per
experiment, and a folder with the published files can be read too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.files import path_of_shipped_file
from drdeploy.study.measurements.load import (
    Measurements,
    load_results_folder,
    make_measurements_from_frame,
)
from drdeploy.study.measurements.results import MEASUREMENTS_FILE
from drdeploy.units import MIB_PER_GIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

STUDY_NAME = "thesis-2023"
"""Where a command takes a results folder, this name stands for the packaged rows."""
STUDY_FOLDER = path_of_shipped_file(f"studies/{STUDY_NAME}")
STUDY_OF_ROWS = "original"
"""The study's name in the column ``study`` of its measurements."""
PUBLISHED_FILE, ROWS_FILE = "published.csv", "raw_rows.csv"
COLUMNS = {
    "fullLatency": "total_latency_s",
    "requestLatency": "container_latency_s",
    "predictionLatency": "prediction_s",
}
"""The columns of the study's files, and the names of the same columns in measurements."""
WARM, COLD = "warm-up", "cold-start"
FAMILIES = ("m4", "m5", "m6g", "c7g")

_SERVERLESS = re.compile(rf"(?P<start>{WARM}|{COLD})-(?P<model>\w+)-(?P<memory_gb>\d+)gb")
_REAL_TIME = re.compile(r"(?P<model>\w+)-(?P<family>[a-z]\d[a-z]*)")


@dataclass(frozen=True)
class StudyExperiment:
    """One model on one endpoint configuration, measured warm or cold.

    Attributes:
        name: The name of the study's file, for example ``cold-start-VGG19-2gb``, which is also
            the id of the trial in the measurements.
        memory_mb: The memory of a serverless endpoint; 0 for a real-time endpoint.
        family: The instance family, for example ``m5``; empty for a serverless endpoint.
    """

    name: str
    model: str
    start: str
    memory_mb: int = 0
    family: str = ""

    @property
    def instance_type(self) -> str:
        """The instance type, for example ``ml.m5.xlarge``; empty for a serverless endpoint.

        All instances of the study have the size ``xlarge``.
        """
        return f"ml.{self.family}.xlarge" if self.family else ""

    @property
    def memory_or_instance_type(self) -> str:
        """The memory or the instance type, for example ``1024 MB`` or ``ml.m5.xlarge``."""
        return self.instance_type or f"{self.memory_mb} MB"


def parse_experiment_name(name: str) -> StudyExperiment | None:
    """Parse the name of an experiment; return None if it is not the name of an experiment."""
    if parts := _SERVERLESS.fullmatch(name):
        start = "warm" if parts["start"] == WARM else "cold"
        return StudyExperiment(
            name, parts["model"], start, memory_mb=MIB_PER_GIB * int(parts["memory_gb"])
        )
    if parts := _REAL_TIME.fullmatch(name):
        return StudyExperiment(name, parts["model"], "warm", family=parts["family"])
    return None


def load_results_or_published_study(results: Path) -> Measurements:
    """Read the measurements of a results folder, or the raw rows of the published study.

    Args:
        results: A results folder, its ``measurements.csv``, a folder with the study's files, or
            :data:`STUDY_NAME` for the rows in the package.

    Raises:
        AnalysisError: There are no measurements, or a row contradicts the schema.
    """
    if str(results) == STUDY_NAME and not results.exists():
        return load_raw_rows_of_study()
    if results.is_file() or (results / MEASUREMENTS_FILE).exists():
        return load_results_folder(results)
    names = [path.stem for path in results.glob("*.csv")]
    holds_raw_rows = (results / ROWS_FILE).exists() or any(map(parse_experiment_name, names))
    return load_raw_rows_of_study(results) if holds_raw_rows else load_results_folder(results)


def load_raw_rows_of_study(folder: Path = STUDY_FOLDER) -> Measurements:
    """Read the study's raw rows from the package, or from all raw files in a folder.

    A file whose name is not the name of an experiment is skipped. If one file holds the rows of all
    experiments, the files of single experiments are skipped, too. If the row numbers of a file are
    not 0, 1, 2 and so on, all its rows are used nevertheless. The notes of the measurements mention
    all such files.

    Raises:
        AnalysisError: There are no raw rows, a column is missing, a row does not name its
            experiment, or a value cannot be read as a time.
    """
    tables = _read_raw_rows_by_experiment(folder)
    if not tables:
        raise AnalysisError(
            "The folder contains no raw rows of the study",
            where=str(folder),
            remedy=f"Give the folder that holds files such as {WARM}-VGG19-1gb.csv and "
            f"{COLD}-VGG19-1gb.csv, or omit the folder to use the packaged rows",
        )
    frames = [
        _convert_to_measurement_columns(tables[one], one)
        for one in sorted(tables, key=_experiment_sort_key)
    ]
    notes = tuple(_write_sentences_on_skipped_files_and_gaps(folder, tables))
    return make_measurements_from_frame(pd.concat(frames, ignore_index=True), folder, notes=notes)


def _read_raw_rows_by_experiment(folder: Path) -> dict[StudyExperiment, pd.DataFrame]:
    """Return the raw rows of each experiment, from the packaged file or from the study's files."""
    if (folder / ROWS_FILE).exists():
        packed = _read_raw_file(folder / ROWS_FILE)
        _require_names_of_experiments(packed, folder / ROWS_FILE)
        tables = {str(name): rows for name, rows in packed.groupby("experiment", sort=False)}
    else:
        paths = sorted(folder.glob("*.csv"))
        tables = {
            path.stem: _read_raw_file(path) for path in paths if parse_experiment_name(path.stem)
        }
    return {found: rows for name, rows in tables.items() if (found := parse_experiment_name(name))}


def _require_names_of_experiments(packed: pd.DataFrame, path: Path) -> None:
    """Refuse the file of all rows if a row does not name its experiment."""
    names = packed["experiment"].astype(str).unique() if "experiment" in packed else [""]
    unknown = [name for name in names if not parse_experiment_name(name)]
    if unknown:
        raise AnalysisError(
            f"The file holds rows of {unknown[0]!r}, which is not the name of an experiment",
            where=str(path),
            remedy="Write names such as 'warm-up-VGG19-1gb' or 'VGG19-m5' into the column "
            "'experiment'",
        )


def _experiment_sort_key(experiment: StudyExperiment) -> tuple[int, str]:
    """Return a key that sorts experiments: instances in the study's order, then serverless ones."""
    family = experiment.family
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), experiment.name)


def _read_raw_file(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The file of raw rows is not a CSV file with a header and rows",
            where=str(path),
            remedy="Download the file again",
        ) from err
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or table.empty:
        what = f"lacks the columns {', '.join(missing)}" if missing else "has no rows"
        raise AnalysisError(
            f"The file of raw rows {what}",
            where=str(path),
            remedy="Give a file with the row number in the first column, and the columns "
            f"{', '.join(COLUMNS)}",
        )
    for name in COLUMNS:
        seconds = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~(np.isfinite(seconds) & (seconds > 0))
        if wrong.any():
            line = int(np.argmax(wrong))
            raise AnalysisError(
                f"The value of {name} is {table[name].iloc[line]!r}, not a time in seconds",
                where=f"{path}, line {line + 2}",
                remedy="Download the file again",
            )
    return table


def _convert_to_measurement_columns(raw: pd.DataFrame, experiment: StudyExperiment) -> pd.DataFrame:
    facts: dict[str, Any] = {
        "study": STUDY_OF_ROWS,
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
        "started_at": "",  # the study did not publish the time
    }
    rows = raw[list(COLUMNS)].rename(columns=COLUMNS).reset_index(drop=True).astype(float)
    return rows.assign(sequence=rows.index + 1, **facts)


def _write_sentences_on_skipped_files_and_gaps(
    folder: Path, tables: Mapping[StudyExperiment, pd.DataFrame]
) -> Iterator[str]:
    names = {path.name for path in folder.glob("*.csv") if not parse_experiment_name(path.stem)}
    skipped = sorted(names - {PUBLISHED_FILE, ROWS_FILE})
    if skipped:
        many = len(skipped) > 1
        yield (
            f"{'These files were' if many else 'This file was'} skipped, because "
            f"{'they are' if many else 'it is'} not named after an experiment: "
            f"{', '.join(skipped)}."
        )
    beside = sorted(path.name for path in folder.glob("*.csv") if parse_experiment_name(path.stem))
    if beside and (folder / ROWS_FILE).exists():
        were = "These files were" if len(beside) > 1 else "This file was"
        yield f"{were} skipped, because {ROWS_FILE} holds the rows: {', '.join(beside)}."
    for experiment, table in tables.items():
        numbers, expected = table.index.tolist(), list(range(len(table)))
        missing = sorted(set(expected) - set(numbers))
        repeated = sorted({number for number in numbers if numbers.count(number) > 1})
        if numbers != expected:
            yield (
                f"The row numbers in {experiment.name}.csv are not consecutive, so the rows may "
                "come from more than one series. Missing numbers: "
                f"{_join_gap_numbers_or_none(missing)}. Repeated numbers: "
                f"{_join_gap_numbers_or_none(repeated)}. All {len(table)} rows are used."
            )


def _join_gap_numbers_or_none(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"

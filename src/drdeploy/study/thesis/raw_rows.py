"""The study's raw CSV files, one per experiment, as measurements."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.study.measurements.load import Measurements, from_frame
from drdeploy.study.measurements.validation import OPTIONAL_NUMBERS, OPTIONAL_TEXT, REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PUBLISHED_FILE = "published.csv"
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
    """What one file measured.

    Attributes:
        name: Of the file, without its ending; here the name of the trial.
        memory_mb: Of a serverless endpoint; 0 for an instance.
        family: ``m5`` of an instance, empty for a serverless endpoint.
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
    """What a file measured, by its name; None where the name is none of the study's."""
    if told := _SERVERLESS.fullmatch(name):
        start = "warm" if told["start"] == WARM else "cold"
        return Experiment(name, told["model"], start, memory_mb=1024 * int(told["memory_gb"]))
    if told := _REAL_TIME.fullmatch(name):
        return Experiment(name, told["model"], "warm", family=told["family"])
    return None


def load_study(folder: Path) -> Measurements:
    """Read every raw file of the study in a folder.

    Files that are named otherwise are left alone and told of; so is a file whose row numbers are
    not 0, 1, 2, ...: its rows are kept as they stand.

    Raises:
        AnalysisError: No such file at all, a missing column, or a value that is no time.
    """
    files = sorted(path for path in folder.glob("*.csv") if path.name != PUBLISHED_FILE)
    found = [(path, experiment) for path in files if (experiment := experiment_of(path.stem))]
    known = dict(sorted(found, key=lambda one: _order(one[1])))
    if not known:
        raise AnalysisError(
            "There is no raw file of the study here",
            where=str(folder),
            remedy=f"Name the folder with {WARM}-MODEL-Ngb.csv, {COLD}-MODEL-Ngb.csv and "
            "MODEL-INSTANCE.csv",
        )
    raw = {path: _read(path) for path in known}
    frames = [_as_measurements(raw[path], known[path]) for path in known]
    notes = (*_not_ours(path for path in files if path not in known), *_odd_numbers(raw))
    return from_frame(pd.concat(frames, ignore_index=True), folder, notes=notes)


def _order(experiment: Experiment) -> tuple[int, str]:
    """Of the study's instances: m4, m5, m6g, c7g, as its table of prices has them."""
    family = experiment.family
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), experiment.name)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as err:
        raise AnalysisError(
            "The raw rows cannot be read: it is no CSV file with a header and rows",
            where=str(path),
            remedy="Fetch the file anew",
        ) from err
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing or table.empty:
        what = f"lacks {', '.join(missing)}" if missing else "holds no row"
        raise AnalysisError(
            f"The file of raw rows {what}",
            where=str(path),
            remedy=f"It needs a column with the row's number, and {', '.join(COLUMNS)}",
        )
    for name in COLUMNS:
        seconds = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~(np.isfinite(seconds) & (seconds > 0))
        if wrong.any():
            line = int(np.argmax(wrong))
            raise AnalysisError(
                f"{name} is {table[name].iloc[line]!r}, no time in seconds",
                where=f"{path}, line {line + 2}",
                remedy="Fetch the file anew; raw rows are never edited",
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
    }
    rows = raw[list(COLUMNS)].rename(columns=COLUMNS).reset_index(drop=True).astype(float)
    rows = rows.assign(sequence=rows.index + 1, **facts)
    empty = {name: "" for name in (*REQUIRED, *OPTIONAL_TEXT) if name not in rows}
    unknown = {name: np.nan for name in OPTIONAL_NUMBERS if name not in rows}
    return rows.assign(**empty, **unknown)


def _not_ours(files: Iterable[Path]) -> Iterator[str]:
    names = [path.name for path in files]
    if names:
        yield f"Left alone, because the name says no experiment: {', '.join(names)}."


def _odd_numbers(raw: dict[Path, pd.DataFrame]) -> Iterator[str]:
    for path, table in raw.items():
        expected = list(range(len(table)))
        stands = table.index.tolist()
        if stands == expected:
            continue
        lacking = sorted(set(expected) - set(stands))
        repeated = sorted({number for number in stands if stands.count(number) > 1})
        yield (
            f"{path.name}: the row numbers are not consecutive (missing {_told(lacking)}; more "
            f"than once {_told(repeated)}), so that rows may stem from more than one series; all "
            f"{len(table)} are used as they stand."
        )


def _told(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"

"""Every printed figure of the 2023 study recomputed; page, tables and JSON only display this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.thesis.printed import read_printed
from drdeploy.study.thesis.raw_rows import STUDY_FOLDER, load_study
from drdeploy.study.thesis.verdicts import recompute

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.thesis.verdicts import Recomputed


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The study's rows, and every figure that it printed with a verdict."""

    measurements: Measurements
    figures: tuple[Recomputed, ...]


def reproduce(folder: Path = STUDY_FOLDER) -> Reproduction:
    """Recompute every figure that the study printed.

    Args:
        folder: Raw rows and printed figures; those in this package by default.

    Raises:
        AnalysisError: Raw rows or printed figures are missing or make no sense.
    """
    measurements = load_study(folder)
    return Reproduction(measurements, recompute(measurements, read_printed(folder)))

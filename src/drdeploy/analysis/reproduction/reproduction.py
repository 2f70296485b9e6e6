"""The whole reproduction, computed once; the page, the tables and the JSON only show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.analysis.reproduction.printed import read_printed
from drdeploy.analysis.reproduction.raw_rows import load_study
from drdeploy.analysis.reproduction.verdicts import recompute

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.analysis.measurements import Measurements
    from drdeploy.analysis.reproduction.verdicts import Recomputed


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The study's rows, and every figure that it printed with a verdict."""

    measurements: Measurements
    figures: tuple[Recomputed, ...]


def reproduce(folder: Path) -> Reproduction:
    """Read the study's folder and judge every printed figure.

    Raises:
        AnalysisError: Raw rows or printed figures are missing or make no sense.
    """
    measurements = load_study(folder)
    return Reproduction(measurements, recompute(measurements, read_printed(folder)))

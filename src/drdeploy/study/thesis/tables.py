"""Tables 6.1 to 6.7 of the study recomputed, and all verdicts as one table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from drdeploy.study.thesis.document import document_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.thesis.verdicts import Recomputed

CAPTIONS = {
    "Table 4.1": "Serverless prices",
    "Table 5.1": "Networks",
    "Table 5.2": "Sizes of the image",
    "Table 6.1": "Mean cost of an inference, VGG19, warm",
    "Table 6.2": "Mean cost of an inference, MobileNet, warm",
    "Table 6.3": "Mean ModelSetupTime, VGG19, cold",
    "Table 6.4": "Mean ModelSetupTime, MobileNet, cold",
    "Table 6.5": "Cold-start latency before and after all optimisations",
    "Table 6.6": "Prices of instances",
    "Table 6.7": "Share of the prediction in the total latency, and the largest speed-up",
    "Chapter 7": "Conclusions",
}
RESULTS = tuple(f"Table 6.{number}" for number in range(1, 8))
"""The tables that hold the study's results."""


@dataclass(frozen=True)
class PrintedPlace:
    """The figures that were printed in one table or section."""

    where: str
    caption: str
    figures: tuple[Recomputed, ...]


def places_of(figures: Sequence[Recomputed]) -> tuple[PrintedPlace, ...]:
    """Group figures by table or section, in the order of the file."""
    return tuple(
        PrintedPlace(where, CAPTIONS.get(where, ""), tuple(group))
        for where, group in groupby(figures, lambda figure: figure.printed.where)
    )


def result_tables(figures: Sequence[Recomputed]) -> tuple[PrintedPlace, ...]:
    """Return tables 6.1 to 6.7, as far as figures of them were printed."""
    return tuple(place for place in places_of(figures) if place.where in RESULTS)


def verdict_table(figures: Iterable[Recomputed]) -> pd.DataFrame:
    """Return one row per printed figure."""
    return pd.DataFrame([_row(document_of(figure)) for figure in figures])


def _row(figure: dict[str, Any]) -> dict[str, Any]:
    low, high = figure["interval"] or (None, None)
    readings = figure["readings"]
    return {
        **{name: figure[name] for name in ("id", "where", "quantity", "model", "configuration")},
        **{name: figure[name] for name in ("unit", "printed", "recomputed")},
        "low": low,
        "high": high,
        **{name: figure[name] for name in ("n", "n_other", "verdict", "difference_percent")},
        "definition": figure["definition"],
        "rows": " ".join(figure["rows"]),
        "reason": figure["reason"],
        "note": figure["note"],
        "reading": figure["reading"] or "",
        "readings": " | ".join(f"{one['reading']} = {one['value']:.7g}" for one in readings),
        "readings_expected_by_chance": figure.get("readings_expected_by_chance"),
    }

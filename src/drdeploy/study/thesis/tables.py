"""Tables 6.1 to 6.7 of the study recomputed, and everything as CSV."""

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
"""The tables of the study's results."""


@dataclass(frozen=True)
class PrintedPlace:
    """Figures that were printed in one place."""

    where: str
    caption: str
    figures: tuple[Recomputed, ...]


def places_of(figures: Sequence[Recomputed]) -> tuple[PrintedPlace, ...]:
    """Tables and sections in the order of the file."""
    return tuple(
        PrintedPlace(where, CAPTIONS.get(where, ""), tuple(group))
        for where, group in groupby(figures, lambda figure: figure.printed.where)
    )


def result_tables(figures: Sequence[Recomputed]) -> tuple[PrintedPlace, ...]:
    """Tables 6.1 to 6.7, those that are there."""
    return tuple(place for place in places_of(figures) if place.where in RESULTS)


def verdict_table(figures: Iterable[Recomputed]) -> pd.DataFrame:
    """One row per printed figure."""
    return pd.DataFrame([_row(document_of(figure)) for figure in figures])


def _row(told: dict[str, Any]) -> dict[str, Any]:
    low, high = told["interval"] or (None, None)
    readings = told["readings"]
    return {
        **{name: told[name] for name in ("id", "where", "quantity", "model", "configuration")},
        **{name: told[name] for name in ("unit", "printed", "recomputed")},
        "low": low,
        "high": high,
        **{name: told[name] for name in ("n", "n_other", "verdict", "difference_percent")},
        "definition": told["definition"],
        "rows": " ".join(told["rows"]),
        "reason": told["reason"],
        "note": told["note"],
        "reading": told["reading"] or "",
        "readings": " | ".join(f"{one['reading']} = {one['value']:.7g}" for one in readings),
        "readings_expected_by_chance": told.get("readings_expected_by_chance"),
    }

"""Write the verdicts on the printed numbers as sentences, as JSON, and as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pandas as pd

from drdeploy.statistics import notation
from drdeploy.study.published_study.printed_figures import (
    ReproductionVerdict,
    load_texts_about_figures,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.published_study.departures import FigureReading
    from drdeploy.study.published_study.verdicts import RecomputedFigure


def convert_figure_to_json(figure: RecomputedFigure) -> dict[str, Any]:
    """Return one entry of the output of ``drdeploy reproduce --json``: a printed number.

    ``published`` is the printed value as a number, and ``printed`` is the same value as text, with
    the printed digits. ``interval`` is ``[low, high]``, or null with a ``reason``. A reading is one
    way to compute the number from the rows. ``readings`` lists the first few readings that differ
    from the definition and give the printed digits. ``reading`` describes the first reading in this
    list. It is null if the list is empty, or if chance alone may explain why its readings give the
    printed digits.
    """
    printed, definition, found = figure.printed, figure.definition, figure.estimate
    interval = [found.low, found.high] if found and found.has_interval else None
    formula = definition.formula
    return {
        "id": printed.id,
        "published": printed.value,
        "recomputed": figure.value,
        "interval": interval,
        "verdict": figure.verdict.value,
        "printed": printed.text,
        "unit": printed.unit,
        "where": printed.where,
        "quantity": printed.quantity,
        "model": printed.model,
        "configuration": printed.configuration,
        "n": found.n if found else None,
        "n_other": found.n_other if found else None,
        "method": found.method if found else "",
        "difference_percent": figure.departure_percent,
        "published_within_interval": (
            None if interval is None else not (found and found.interval_excludes(printed.value))
        ),
        "reason": definition.why_not or (found.reason if found else ""),
        "definition": f"{formula}{' x 100' if formula.scale != 1 else ''}" if formula else "",
        "rows": sorted({rows.experiment for rows in formula.row_operands}) if formula else [],
        "note": definition.note,
        **_convert_search_to_json(figure),
        "cross_check": figure.check
        and {
            "value": figure.check.value,
            "verdict": figure.check.verdict.value,
            "from": str(formula),
        },
    }


def describe_departures_of_reading(reading: FigureReading) -> str:
    """Return a text that says how the reading differs from the definition."""
    return "; ".join(reading.departures)


def _convert_search_to_json(figure: RecomputedFigure) -> dict[str, Any]:
    search = figure.search
    if search is None:
        return {"reading": None, "readings": [], "near_readings": []}
    return {
        "reading": describe_departures_of_reading(search.matches[0][0])
        if search.has_match_beyond_chance
        else None,
        "readings": [_convert_reading_to_json(reading, value) for reading, value in search.matches],
        "readings_found": search.found,
        "readings_tried": search.tried,
        "readings_expected_by_chance": search.by_chance,
        "near_readings": [
            _convert_reading_to_json(reading, value) for reading, value in figure.near
        ],
    }


def _convert_reading_to_json(reading: FigureReading, value: float) -> dict[str, Any]:
    return {
        "reading": describe_departures_of_reading(reading),
        "kinds": list(reading.kinds),
        "value": value,
    }


@dataclass(frozen=True)
class PrintedPlace:
    """The printed numbers in one table or section of the study."""

    where: str
    caption: str
    figures: tuple[RecomputedFigure, ...]


def group_figures_by_printed_place(figures: Sequence[RecomputedFigure]) -> tuple[PrintedPlace, ...]:
    """Group the numbers by the table or section of the study, without changing their order."""
    return tuple(
        PrintedPlace(where, load_texts_about_figures()["captions"].get(where, ""), tuple(group))
        for where, group in groupby(figures, lambda figure: figure.printed.where)
    )


def make_verdict_table(figures: Iterable[RecomputedFigure]) -> pd.DataFrame:
    """Return a table with one row for each printed number."""
    return pd.DataFrame(
        [_make_row_of_verdict_table(convert_figure_to_json(figure)) for figure in figures]
    )


def _make_row_of_verdict_table(figure: dict[str, Any]) -> dict[str, Any]:
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


def count_figures_by_verdict(figures: Iterable[RecomputedFigure]) -> dict[ReproductionVerdict, int]:
    """Count the printed numbers with each of the four verdicts."""
    counted = Counter(figure.verdict for figure in figures)
    return {verdict: counted[verdict] for verdict in ReproductionVerdict}


def write_sentences_on_differing_figures(figures: Sequence[RecomputedFigure]) -> tuple[str, ...]:
    """Return one or two sentences about each number that differs from its printed value."""
    return tuple(
        write_sentence_on_figure(figure)
        for figure in figures
        if figure.verdict is ReproductionVerdict.DIFFERS
    )


def write_sentence_on_figure(figure: RecomputedFigure) -> str:
    """Return a sentence with the printed value, the recomputed value, and an explanation."""
    printed, found = figure.printed, figure.estimate
    subject = ", ".join(part for part in (printed.model, printed.configuration) if part)
    opening = f"{printed.where}, {printed.quantity} ({subject}): printed {printed.text}"
    if found is None or found.value is None:
        return f"{opening}; not recomputable: {figure.definition.why_not}."
    departure = figure.departure_percent or 0.0
    is_within = found.has_interval and not found.interval_excludes(printed.value)
    within = "; the printed number lies within that interval" if is_within else ""
    return (
        f"{opening}, the rows give {format_with_one_more_decimal(printed.text, found.value)} "
        f"{notation.format_bracketed_interval(found)}, {abs(departure):.2g} % "
        f"{'more' if departure > 0 else 'less'}{within}. {explain_printed_number(figure)}".strip()
    )


def explain_printed_number(figure: RecomputedFigure) -> str:
    """Return a sentence that says which other readings give the printed number, if any do.

    For a reproduced number, the text is empty.
    """
    search = figure.search
    if search is None:
        return ""
    text, near = figure.printed.text, ""
    known = {words for reading, _ in search.matches for words in reading.departures}
    for reading, value in figure.near[:1]:
        if not known.intersection(reading.departures):
            words = describe_departures_of_reading(reading)
            near = (
                f" Another way to compute the number comes close ({words}): "
                f"{format_with_one_more_decimal(text, value)}."
            )
    if not search.matches:
        return (
            "No other way to compute the number gives the printed digits "
            f"({search.tried} ways were tried).{near}"
        )
    given = "; or ".join(
        f"{describe_departures_of_reading(reading)}: {format_with_one_more_decimal(text, value)}"
        for reading, value in search.matches[:3]
    )
    more = f" and {search.found - 3} more" if search.found > 3 else ""
    if search.has_match_beyond_chance:
        return f"The printed digits are given by {given}{more}.{near}"
    return (
        f"The printed digits are also given by {given}{more}. However, {search.tried} ways to "
        f"compute the number were tried, and about {search.by_chance:.1f} of them would give the "
        f"printed digits by chance, so the match is weak evidence.{near}"
    )


def format_with_one_more_decimal(text: str, value: float) -> str:
    """Format a value with one decimal more than the printed text, and without an exponent."""
    return f"{value:.{len(text.partition('.')[2]) + 1}f}"

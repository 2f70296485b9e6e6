"""A printed figure and its verdict as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drdeploy.study.thesis.departures import Reading
    from drdeploy.study.thesis.verdicts import Recomputed


def document_of(figure: Recomputed) -> dict[str, Any]:
    """One entry of ``drdeploy reproduce --json``.

    ``published`` is the number, ``printed`` its digits; ``interval`` is ``[low, high]``, or null
    with a ``reason``; ``reading`` is another reading that gives the printed digits, null where none
    does or where chance could explain it (``readings`` lists all).
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
            None if interval is None else not (found and found.excludes(printed.value))
        ),
        "reason": definition.why_not or (found.reason if found else ""),
        "definition": f"{formula}{' x 100' if formula.scale != 1 else ''}" if formula else "",
        "rows": sorted({rows.experiment for rows in formula.rows}) if formula else [],
        "note": definition.note,
        **_readings(figure),
        "cross_check": figure.check
        and {
            "value": figure.check.value,
            "verdict": figure.check.verdict.value,
            "from": str(formula),
        },
    }


def reading_in_words(reading: Reading) -> str:
    """What a reading changes in the definition, in words."""
    return "; ".join(reading.departures)


def _readings(figure: Recomputed) -> dict[str, Any]:
    search = figure.search
    if search is None:
        return {"reading": None, "readings": [], "near_readings": []}
    return {
        "reading": reading_in_words(search.matches[0][0]) if search.is_telling else None,
        "readings": [_reading(reading, value) for reading, value in search.matches],
        "readings_found": search.found,
        "readings_tried": search.tried,
        "readings_expected_by_chance": search.by_chance,
        "near_readings": [_reading(reading, value) for reading, value in figure.near],
    }


def _reading(reading: Reading, value: float) -> dict[str, Any]:
    return {"reading": reading_in_words(reading), "kinds": list(reading.kinds), "value": value}

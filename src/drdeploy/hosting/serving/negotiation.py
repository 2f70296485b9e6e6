"""Choose JSON or CSV for an answer by the ``Accept`` header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from drdeploy.errors import NotAcceptable

AnswerForm = Literal["json", "csv", "csv without header"]

_MATCHES = {
    "json": ("*/*", "application/*", "application/json"),
    "csv": ("*/*", "text/*", "text/csv"),
}
"""For each format of an answer, the media ranges that include it, the least specific first."""


class _Range(NamedTuple):
    """One media range of an ``Accept`` header."""

    name: str
    weight: float
    place: int
    has_header: bool


def choose_answer_form(accept: str) -> AnswerForm:
    """Return the format of the answer that ``Accept`` prefers; JSON if there is no preference.

    With ``text/csv; header=absent`` (RFC 4180), the column names are left out. Batch Transform
    needs this, because it joins answers line by line.

    Raises:
        NotAcceptable: The header allows neither JSON nor CSV.
    """
    ranges = [
        _parse_media_range(text, place)
        for place, text in enumerate((accept.strip() or "*/*").split(","))
    ]
    form, best = max(
        ((form, _find_best_media_range(form, ranges)) for form in _MATCHES),
        key=lambda choice: choice[1][:3],
    )
    weight, _, _, has_header = best
    if weight <= 0:
        raise NotAcceptable(
            "The server answers in JSON or CSV, but the Accept header allows neither",
            remedy="Accept application/json or text/csv",
        )
    if form == "json":
        return "json"
    return "csv" if has_header else "csv without header"


def _find_best_media_range(form: str, ranges: list[_Range]) -> tuple[float, int, int, bool]:
    """Return how strongly an ``Accept`` header asks for a format, as a tuple to compare.

    The first value is the weight of the most specific media range that matches the format. If two
    formats have the same weight, the next two values decide: how specific the range is, and its
    place in the header. The last value says whether a CSV answer names its columns.
    """
    specificity = _MATCHES[form].index
    matching = [
        (specificity(each.name), -each.place, each.weight, each.has_header)
        for each in ranges
        if each.name in _MATCHES[form]
    ]
    if not matching:
        return 0.0, 0, 0, True
    specific, place, weight, has_header = max(matching)
    return weight, specific, place, has_header


def _parse_media_range(text: str, place: int) -> _Range:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    pairs = {key.strip(): value.strip() for key, _, value in (p.partition("=") for p in parameters)}
    return _Range(
        name, _parse_quality_value(pairs.get("q", "1")), place, pairs.get("header") != "absent"
    )


def _parse_quality_value(text: str) -> float:
    """Read a weight; a malformed weight counts as 0, which means not acceptable."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0  # NaN becomes 0, too

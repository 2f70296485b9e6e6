"""Format estimates as table cells: the value, and below it the interval and the number of rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from drdeploy.pages.page import format_table_cell
from drdeploy.statistics import notation

if TYPE_CHECKING:
    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.report.summaries import Cost


def make_html_with_grey_intervals(sentence: str) -> Markup:
    """Return a sentence as HTML, in which each interval and each number of rows is grey.

    There is never a line break between a number and its unit.
    """
    tied = re.sub(r"(\d) (MB|ms|s|USD|times)\b", "\\1\u00a0\\2", sentence)
    parts = re.split(r"(\([^()]*n = [^()]*\))", tied)
    return Markup().join(
        Markup('<span class="ci">{}</span>').format(part) if position % 2 else escape(part)
        for position, part in enumerate(parts)
    )


def format_time_cell(estimate: Estimate) -> Markup:
    """Format a time in seconds or milliseconds, with its interval."""
    if estimate.value is None:
        return Markup()
    unit, factor = notation.choose_time_unit(estimate.value)
    return _format_estimate_cell(estimate.multiplied_by(factor), unit)


def format_number_cell(estimate: Estimate) -> Markup:
    """Format a number without a unit, with its interval."""
    return _format_estimate_cell(estimate, "")


def format_share_cell(estimate: Estimate) -> Markup:
    """Format a share in per cent, with its interval."""
    return _format_estimate_cell(estimate.multiplied_by(100), "%")


def format_cost_cell(estimated: Cost) -> Markup:
    """Format a cost in USD for a million inferences and for one inference."""
    return _format_estimate_cell(
        estimated.per_million_usd, "", f"{notation.format_estimate_value(estimated.inference)} each"
    )


def format_ratio_cell(estimate: Estimate) -> Markup:
    """Format a ratio with the numbers of rows of both terms; grey if its interval contains 1."""
    filled = _format_estimate_cell(estimate, "times", notation.format_sample_sizes(estimate))
    shown = estimate.interval_excludes(1.0) or not estimate.has_interval
    return filled if shown else Markup('<span class="same">{}</span>').format(filled)


def _format_estimate_cell(estimate: Estimate, unit: str, *below: str) -> Markup:
    return format_table_cell(
        notation.format_estimate_value(estimate, unit),
        notation.format_interval(estimate),
        estimate.reason,
        *below,
    )


def format_signed_percent(value: float | None) -> str:
    """Format a share with its sign, like ``+3.1 %``, or as a dash if there is no value."""
    return notation.NO_VALUE if value is None else f"{100 * value:+.1f} %"


def format_signed_number(value: float | None) -> str:
    """Format a number with its sign, like ``-0.21``, or as a dash if there is no value."""
    return notation.NO_VALUE if value is None else f"{value:+.2f}"


def format_outlier_rows_cell(rows: tuple[tuple[int, float], ...]) -> Markup:
    """Format the time of each outlier, with its line number in ``measurements.csv``."""
    if not rows:
        return Markup("none")
    listed = []
    for line, seconds in rows:
        unit, factor = notation.choose_time_unit(seconds)
        listed.append(f"{notation.format_number(seconds * factor)} {unit} (line {line})")
    return Markup(", ").join(Markup('<span class="one">{}</span>').format(one) for one in listed)


FILTERS = {
    "quiet": make_html_with_grey_intervals,
    "time": format_time_cell,
    "number": format_number_cell,
    "share": format_share_cell,
    "cost": format_cost_cell,
    "ratio": format_ratio_cell,
    "signed_percent": format_signed_percent,
    "signed": format_signed_number,
    "outliers": format_outlier_rows_cell,
}
"""The filters of the page's template, by the name that the template uses."""

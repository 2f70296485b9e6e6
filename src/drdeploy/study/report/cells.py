"""Estimates as cells of a page: the value, and below it its interval and n."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from drdeploy.pages.page import cell
from drdeploy.statistics import notation

if TYPE_CHECKING:
    from drdeploy.statistics.means import Estimate
    from drdeploy.study.report.summaries import Cost


def quiet(sentence: str) -> Markup:
    """Print interval and n paler than their number, and keep numbers and units on one line."""
    tied = re.sub(r"(\d) (MB|ms|s|USD|times)\b", "\\1\u00a0\\2", sentence)
    parts = re.split(r"(\([^()]*n = [^()]*\))", tied)
    return Markup().join(
        Markup('<span class="ci">{}</span>').format(part) if position % 2 else escape(part)
        for position, part in enumerate(parts)
    )


def time(estimate: Estimate) -> Markup:
    """A time in its best unit."""
    if estimate.value is None:
        return Markup()
    shown, interval = notation.time(estimate)
    return cell(shown, interval, estimate.reason)


def share(estimate: Estimate) -> Markup:
    """A share in per cent."""
    percent = estimate.scaled(100)
    return cell(notation.value(percent, "%"), notation.interval(percent), percent.reason)


def cost(estimated: Cost) -> Markup:
    """USD per million inferences, and for one."""
    million = estimated.million
    return cell(
        notation.value(million),
        notation.interval(million),
        million.reason,
        f"{notation.value(estimated.inference)} each",
    )


def ratio(estimate: Estimate) -> Markup:
    """A ratio with both sample sizes; grey where its interval contains 1."""
    filled = cell(
        f"{notation.value(estimate)} times",
        notation.interval(estimate),
        estimate.reason,
        notation.rows(estimate),
    )
    shown = estimate.excludes(1.0) or not estimate.has_interval
    return filled if shown else Markup('<span class="same">{}</span>').format(filled)


def signed_percent(value: float | None) -> str:
    """``+3.1 %``; a dash where there is no value."""
    return notation.NO_VALUE if value is None else f"{100 * value:+.1f} %"


def signed(value: float | None) -> str:
    """``-0.21``; a dash where there is no value."""
    return notation.NO_VALUE if value is None else f"{value:+.2f}"


def outliers(rows: tuple[tuple[int, float], ...]) -> Markup:
    """Rows beyond the whiskers, with their lines in the file."""
    if not rows:
        return Markup("none")
    listed = []
    for line, seconds in rows:
        unit, factor = notation.unit_of_time(seconds)
        listed.append(f"{notation.number(seconds * factor)} {unit} (line {line})")
    return Markup(", ").join(Markup('<span class="one">{}</span>').format(one) for one in listed)


FILTERS = {
    "quiet": quiet,
    "time": time,
    "share": share,
    "cost": cost,
    "ratio": ratio,
    "signed_percent": signed_percent,
    "signed": signed,
    "outliers": outliers,
}
"""Filters of the templates, by name."""

"""Say how old the prices of a decision are."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from drdeploy.units import DAYS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.hosting.sagemaker import Price

DAYS_PER_YEAR = 365
DAYS_IN_SHORTEST_NOTED_AGE = 31


def write_price_age_sentence(prices: Iterable[Price], today: date) -> str:
    """Return a sentence about the dates and the age of prices; empty if there are no prices."""
    dates = sorted({price.date for price in prices})
    if not dates:
        return ""
    oldest, newest = dates[0], dates[-1]
    if oldest == newest:
        return f"The prices are from {oldest}, {_format_age(oldest, today)}."
    return f"The prices are from {oldest} to {newest}; the oldest are {_format_age(oldest, today)}."


def write_warning_about_old_prices(prices: Iterable[Price], today: date) -> str:
    """Return a sentence that names the prices older than a year; empty if there are none."""
    old = sorted(
        {
            (price.date, price.item)
            for price in prices
            if compute_age_in_days(price.date, today) > DAYS_PER_YEAR
        }
    )
    if not old:
        return ""
    named = ", ".join(f"{item} ({day})" for day, item in old)
    return (
        f"{len(old)} price{'s are' if len(old) > 1 else ' is'} older than a year and may have "
        f"changed: {named}. `drdeploy prices update` writes a price sheet with current prices."
    )


def compute_age_in_days(day: str, today: date) -> int:
    """Return the age of a date in days; ``2026-05`` means 2026-05-01."""
    year, month, *rest = (int(part) for part in day.split("-"))
    return (today - date(year, month, rest[0] if rest else 1)).days


def _format_age(day: str, today: date) -> str:
    days = compute_age_in_days(day, today)
    if days < DAYS_IN_SHORTEST_NOTED_AGE:
        return "less than a month old"
    if days <= 2 * DAYS_PER_YEAR:
        months = round(days / DAYS_PER_MONTH)
        return f"{months} month{'s' * (months > 1)} old"
    return f"{days / DAYS_PER_YEAR:.1f} years old"

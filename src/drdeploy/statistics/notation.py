"""Write numbers for people: three significant digits, the unit, the interval."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.statistics.estimate import Estimate

NO_VALUE = "—"
DIGITS = 3


def decimals_of(value: float, digits: int = DIGITS) -> int:
    """Return how many decimals show a value with that many significant digits."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def number(value: float, decimals: int | None = None) -> str:
    """Write a number as ``1,234`` or ``0.0000376``, never with a power of ten."""
    return f"{value:,.{decimals_of(value) if decimals is None else decimals}f}"


def unit_of_time(seconds: float | None) -> tuple[str, float]:
    """Return the unit in which a time reads best, and how many of it a second has."""
    return ("s", 1.0) if seconds is None or seconds >= 1 else ("ms", 1000.0)


def value(estimate: Estimate, unit: str = "") -> str:
    """Write the value alone, with its unit."""
    if estimate.value is None:
        return NO_VALUE
    return f"{number(estimate.value)} {unit}".rstrip()


def interval(estimate: Estimate) -> str:
    """Write the interval as ``86.1 to 91.0``, with the decimals of the value; empty if none."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    decimals = decimals_of(estimate.value)
    return f"{number(estimate.low, decimals)} to {number(estimate.high, decimals)}"


def in_brackets(estimate: Estimate) -> str:
    """Write the interval as ``(86.1 to 91.0, n = 12)``, or why there is none."""
    return f"({interval(estimate) or estimate.reason or 'no interval'}, {rows(estimate)})"


def rows(estimate: Estimate) -> str:
    """Write the number of rows: ``n = 12``; of two samples ``n = 12 each`` or ``n = 10 and 12``."""
    if estimate.n_other is None:
        return f"n = {estimate.n}"
    same = estimate.n == estimate.n_other
    return f"n = {estimate.n} each" if same else f"n = {estimate.n} and {estimate.n_other}"


def time(estimate: Estimate) -> tuple[str, str]:
    """Write a time in seconds: its value with the best unit, and its interval."""
    unit, factor = unit_of_time(estimate.value)
    scaled = estimate.scaled(factor)
    return value(scaled, unit), interval(scaled)


def time_in_words(estimate: Estimate) -> str:
    """Write a time for running text: ``88.3 ms (86.1 to 91.0, n = 12)``."""
    unit, factor = unit_of_time(estimate.value)
    scaled = estimate.scaled(factor)
    return f"{value(scaled, unit)} {in_brackets(scaled)}"


def ratio_in_words(ratio: Estimate, measure: str) -> str:
    """Write a ratio for running text: ``1.98 times as long (1.90 to 2.07, n = 12 each)``."""
    return f"{value(ratio)} times {measure} {in_brackets(ratio)}"

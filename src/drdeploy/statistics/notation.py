"""How a number is written: three significant digits, its unit, its interval."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.statistics.estimate import Estimate

NO_VALUE = "—"
DIGITS = 3


def decimals_of(value: float, digits: int = DIGITS) -> int:
    """Decimals that show a value with that many significant digits."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def number(value: float, decimals: int | None = None) -> str:
    """``1,234`` or ``0.0000376``: never in powers of ten."""
    return f"{value:,.{decimals_of(value) if decimals is None else decimals}f}"


def unit_of_time(seconds: float | None) -> tuple[str, float]:
    """The unit that a time reads best in, and how many of it a second has."""
    return ("s", 1.0) if seconds is None or seconds >= 1 else ("ms", 1000.0)


def value(estimate: Estimate, unit: str = "") -> str:
    """The value alone, with its unit."""
    if estimate.value is None:
        return NO_VALUE
    return f"{number(estimate.value)} {unit}".rstrip()


def interval(estimate: Estimate) -> str:
    """``86.1 to 91.0`` to the decimals of the value, or nothing."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    decimals = decimals_of(estimate.value)
    return f"{number(estimate.low, decimals)} to {number(estimate.high, decimals)}"


def in_brackets(estimate: Estimate) -> str:
    """The interval for running text: ``(86.1 to 91.0, n = 12)``, or the reason for none."""
    return f"({interval(estimate) or estimate.reason or 'no interval'}, {rows(estimate)})"


def rows(estimate: Estimate) -> str:
    """``n = 12``; of two samples ``n = 12 each`` or ``n = 10 and 12``."""
    if estimate.n_other is None:
        return f"n = {estimate.n}"
    same = estimate.n == estimate.n_other
    return f"n = {estimate.n} each" if same else f"n = {estimate.n} and {estimate.n_other}"


def time(estimate: Estimate) -> tuple[str, str]:
    """A time in seconds as its value with unit, and its interval."""
    unit, factor = unit_of_time(estimate.value)
    scaled = estimate.scaled(factor)
    return value(scaled, unit), interval(scaled)


def time_told(estimate: Estimate) -> str:
    """A time for running text: ``88.3 ms (86.1 to 91.0, n = 12)``."""
    unit, factor = unit_of_time(estimate.value)
    scaled = estimate.scaled(factor)
    return f"{value(scaled, unit)} {in_brackets(scaled)}"


def times_told(ratio: Estimate, measure: str) -> str:
    """A ratio for running text: ``1.98 times as long (1.90 to 2.07, n = 12 each)``."""
    return f"{value(ratio)} times {measure} {in_brackets(ratio)}"

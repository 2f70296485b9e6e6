"""Format numbers for readers, with three significant digits, the unit and the interval."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.statistics.estimate import Estimate

NO_VALUE = "—"
DIGITS = 3


def decimals_for_significant_digits(value: float, digits: int = DIGITS) -> int:
    """Return the number of decimal places that show ``digits`` significant digits of a value."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def format_number(value: float, decimals: int | None = None) -> str:
    """Write a number as ``1,234`` or ``0.0000376``, never with a power of ten."""
    return f"{value:,.{decimals_for_significant_digits(value) if decimals is None else decimals}f}"


def choose_time_unit(seconds: float | None) -> tuple[str, float]:
    """Return the best unit for a time, ``s`` or ``ms``, and how many such units make a second."""
    return ("s", 1.0) if seconds is None or seconds >= 1 else ("ms", 1000.0)


def format_estimate_value(estimate: Estimate, unit: str = "") -> str:
    """Write the value with its unit, without the interval."""
    if estimate.value is None:
        return NO_VALUE
    return f"{format_number(estimate.value)} {unit}".rstrip()


def format_interval(estimate: Estimate) -> str:
    """Write an interval as ``86.1 to 91.0``, or an empty text if there is no interval.

    The limits have as many decimals as the value.
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return ""
    decimals = decimals_for_significant_digits(estimate.value)
    return f"{format_number(estimate.low, decimals)} to {format_number(estimate.high, decimals)}"


def format_bracketed_interval(estimate: Estimate) -> str:
    """Write the interval as ``(86.1 to 91.0, n = 12)``, or the reason why there is none."""
    shown = format_interval(estimate) or estimate.reason or "no interval"
    return f"({shown}, {format_sample_sizes(estimate)})"


def format_sample_sizes(estimate: Estimate) -> str:
    """Write the number of rows as ``n = 12``, ``n = 12 each`` or ``n = 10 and 12``."""
    if estimate.n_other is None:
        return f"n = {estimate.n}"
    same = estimate.n == estimate.n_other
    return f"n = {estimate.n} each" if same else f"n = {estimate.n} and {estimate.n_other}"


def format_time_and_interval(estimate: Estimate) -> tuple[str, str]:
    """Return a time in seconds and its interval as two strings in the best unit."""
    unit, factor = choose_time_unit(estimate.value)
    scaled = estimate.multiplied_by(factor)
    return format_estimate_value(scaled, unit), format_interval(scaled)


def format_time_as_text(estimate: Estimate) -> str:
    """Write a time for running text, as ``88.3 ms (86.1 to 91.0, n = 12)``."""
    unit, factor = choose_time_unit(estimate.value)
    scaled = estimate.multiplied_by(factor)
    return f"{format_estimate_value(scaled, unit)} {format_bracketed_interval(scaled)}"


def format_ratio_as_text(ratio: Estimate, measure: str) -> str:
    """Write a ratio for running text, as ``1.98 times as long (1.90 to 2.07, n = 12 each)``."""
    return f"{format_estimate_value(ratio)} times {measure} {format_bracketed_interval(ratio)}"

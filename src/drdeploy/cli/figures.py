"""A figure and its interval as text, in full and in brief."""

from __future__ import annotations

from typing import Any


def in_full(figure: dict[str, Any], digits: int = 3) -> str:
    """Return ``0.812 (0.770 to 0.850, n = 405)``, or why there is no value or no interval.

    Args:
        figure: As ``drdeploy.grader.evaluation.document.figure`` makes it.
        digits: Digits after the point.
    """
    if figure["value"] is None:
        return f"- ({figure.get('reason', 'unknown')})"
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return f"{value} ({figure.get('reason', 'no interval')}, n = {figure['n']})"
    low, high = (f"{figure[limit]:.{digits}f}" for limit in ("low", "high"))
    return f"{value} ({low} to {high}, n = {figure['n']})"


def in_brief(figure: dict[str, Any], digits: int = 2, factor: float = 1.0) -> str:
    """Return ``0.72 (0.65, 0.78)``, for a table that gives ``n`` elsewhere.

    Args:
        figure: As ``drdeploy.grader.evaluation.document.figure`` makes it.
        digits: Digits after the point.
        factor: Multiplies the figure, for another unit.
    """
    value, low, high = (
        None if figure[name] is None else f"{figure[name] * factor:.{digits}f}"
        for name in ("value", "low", "high")
    )
    return f"{value or '-'}" if value is None or low is None else f"{value} ({low}, {high})"

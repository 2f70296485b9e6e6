"""The ways to turn rows into one number: choices of rows, statistics, and roundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.arrays import Floats

ROW_BY_ROW = "row by row"
FENCE = 1.5
"""A row is an outlier if its distance from the box of a box plot exceeds this many box lengths, as
in the study.
"""


def _remove_outliers(seconds: Floats) -> Floats:
    low, high = np.quantile(seconds, [0.25, 0.75])
    reach = FENCE * (high - low)
    kept: Floats = seconds[(seconds >= low - reach) & (seconds <= high + reach)]
    return kept


def _make_rounding_to_decimals(decimals: int) -> Callable[[float], float]:
    return lambda value: round(value, decimals)


def _make_truncation_to_decimals(decimals: int) -> Callable[[float], float]:
    return lambda value: float(np.floor(value * 10**decimals) / 10**decimals)


def _make_rounding_to_digits(digits: int) -> Callable[[float], float]:
    return lambda value: float(f"{value:.{digits}g}")


STATISTICS: dict[str, tuple[str, Callable[[Floats], float]]] = {
    "mean": ("", lambda x: float(np.mean(x))),
    "median": ("medians in place of means", lambda x: float(np.median(x))),
    "minimum": ("the fastest rows in place of means", lambda x: float(np.min(x))),
    "maximum": ("the slowest rows in place of means", lambda x: float(np.max(x))),
    "geometric mean": ("geometric means", lambda x: float(np.exp(np.mean(np.log(x))))),
    "first quartile": ("first quartiles", lambda x: float(np.quantile(x, 0.25))),
    "third quartile": ("third quartiles", lambda x: float(np.quantile(x, 0.75))),
    "p90": ("90th percentiles", lambda x: float(np.quantile(x, 0.90))),
    "p95": ("95th percentiles", lambda x: float(np.quantile(x, 0.95))),
    ROW_BY_ROW: ("the mean of the row-by-row ratios", lambda x: float(np.mean(x))),
}
"""The statistics by name.

Each entry holds two things. The first is a text for a reading that uses this statistic in place of
the mean; it is empty for the mean, which the definitions use. The second is the function that
computes the statistic.
"""

SUBSETS: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
    "all": ("", lambda x: x),
    "without first": ("without the first row", lambda x: x[1:]),
    "without last": ("without the last row", lambda x: x[:-1]),
    "without slowest": ("without the slowest row", lambda x: np.sort(x)[:-1]),
    "without extremes": ("without the fastest and the slowest row", lambda x: np.sort(x)[1:-1]),
    "without outliers": ("without the outliers of the box plot", _remove_outliers),
    "first ten": ("the first ten rows", lambda x: x[:10]),
}

_DECIMALS = {
    number: f"{word} decimal{'s' * (number > 1)}"
    for number, word in enumerate(("one", "two", "three", "four", "five"), start=1)
}

ROUNDINGS: dict[str, tuple[str, Callable[[float], float]]] = {
    "none": ("", lambda value: value),
    **{
        f"rounded {n}": (
            f"each mean in seconds is first rounded to {words}",
            _make_rounding_to_decimals(n),
        )
        for n, words in _DECIMALS.items()
    },
    "significant 2": (
        "each mean is first rounded to two significant digits",
        _make_rounding_to_digits(2),
    ),
    "significant 3": (
        "each mean is first rounded to three significant digits",
        _make_rounding_to_digits(3),
    ),
    **{
        f"truncated {n}": (
            f"each mean in seconds is first cut to {words}",
            _make_truncation_to_decimals(n),
        )
        for n, words in _DECIMALS.items()
    },
}

"""A time series of metric math, and the range of time that a request asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class TimeRange:
    """The range of a request, in seconds since 1970; the end is exclusive."""

    start_s: int
    end_s: int

    def list_period_starts(self, period_s: int) -> range:
        """Return the first second of each period in the range."""
        return range(self.start_s, self.end_s, period_s)


@dataclass(frozen=True)
class TimeSeries:
    """A time series of metric math: at most one value for each period.

    Attributes:
        points: The value of each period, by the first second of the period (since 1970), oldest
            first. A period without a value is left out.
        period_s: The seconds of a period.
        id: The ``Id`` of the metric in the request; empty for the result of a function.
        label: The label of the metric.
    """

    points: dict[int, float] = field(default_factory=dict)
    period_s: int = 60
    id: str = ""
    label: str = ""

    def with_points(self, points: dict[int, float]) -> TimeSeries:
        """Return the series with its values replaced."""
        return replace(self, points=dict(sorted(points.items())), id="")

    def map_values(self, function: Callable[[float], float | None]) -> TimeSeries:
        """Apply ``function`` to each value, and leave out the values for which it returns None."""
        mapped = ((second, function(value)) for second, value in self.points.items())
        return self.with_points({at: value for at, value in mapped if value is not None})


Value = float | TimeSeries | list[TimeSeries]
"""The value of an expression of metric math: a number, a time series, or several time series."""


def to_epoch_s(moment: datetime) -> float:
    """Return the seconds since 1970; a moment without a time zone is taken as UTC."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()

"""How a month's requests spread over the hours of a week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOURS_PER_DAY = 24
DAYS_PER_WEEK = 7
HOURS_PER_WEEK = HOURS_PER_DAY * DAYS_PER_WEEK

CLINIC_HOURS = (*(0,) * 8, 6, 10, 10, 8, 4, 8, 10, 8, 6, *(0,) * 7)
"""Busy in the morning and the afternoon, quiet at noon, closed at night (an assumption)."""
WORKING_HOURS = (*(0,) * 8, *(1,) * 10, *(0,) * 6)
"""8:00 to 18:00, evenly."""
MONDAY_TO_FRIDAY = (1, 1, 1, 1, 1, 0, 0)


@dataclass(frozen=True)
class Shape:
    """How a week's requests spread over its hours.

    Attributes:
        name: Name of the shape, for messages.
        by_hour: 168 shares that sum to 1; the first hour is Monday 0:00 to 1:00.
    """

    name: str
    by_hour: tuple[float, ...]

    @classmethod
    def of(cls, name: str, hours: Sequence[float], days: Sequence[float]) -> Shape:
        """Make a shape from 24 weights of the hours and 7 of the days, Monday first.

        Raises:
            InvalidInput: There is another number of weights, a negative one, or only zeros.
        """
        if len(hours) != HOURS_PER_DAY or len(days) != DAYS_PER_WEEK:
            raise InvalidInput(
                f"A shape has 24 weights of hours and 7 of days, not {len(hours)} and {len(days)}",
                where=name,
            )
        weights = np.outer(np.asarray(days, float), np.asarray(hours, float)).ravel()
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
            raise InvalidInput(
                "Weights must be finite, not negative, and not all zero",
                where=name,
                remedy="Give for example --hours 0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,0,0,0,0,0,0",
            )
        return cls(name, tuple((weights / weights.sum()).tolist()))

    @property
    def peak_share(self) -> float:
        """Share of a week's requests in its busiest hour."""
        return max(self.by_hour)

    def requests_by_hour(self, requests_per_week: float) -> NDArray[np.float64]:
        """Expected requests in each of the 168 hours of a week."""
        return np.asarray(self.by_hour) * requests_per_week


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape.of("clinic", CLINIC_HOURS, MONDAY_TO_FRIDAY),
        Shape.of("working-hours", WORKING_HOURS, MONDAY_TO_FRIDAY),
        Shape.of("flat", (1,) * HOURS_PER_DAY, (1,) * DAYS_PER_WEEK),
    )
}
"""The shapes that a user can name."""


def shape_named(name: str) -> Shape:
    """Return one of :data:`SHAPES`.

    Raises:
        InvalidInput: No shape has that name.
    """
    if name not in SHAPES:
        raise InvalidInput(
            f"There is no shape {name!r}",
            where="--shape",
            remedy=f"Name one of {', '.join(SHAPES)}",
        )
    return SHAPES[name]

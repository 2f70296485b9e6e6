"""Moments of arrival, in order, and how they are drawn from a shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.study.recommendation.traffic.shape import DAYS_PER_WEEK, HOURS_PER_WEEK, SHAPES, Shape
from drdeploy.units import DAYS_PER_MONTH, SECONDS_PER_HOUR, SECONDS_PER_MONTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEK_S = HOURS_PER_WEEK * SECONDS_PER_HOUR
WANTED_ARRIVALS = 20_000
"""A simulation draws as many weeks as hold these, within the two limits."""
FEWEST_WEEKS, MOST_WEEKS = 1, 104
PHOTOGRAPHS_PER_PATIENT = 4
"""Two eyes, two fields each."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Moments at which requests arrive.

    Attributes:
        times_s: Ascending, from the begin of the observed time; shape ``(n,)``.
        horizon_s: How long was observed; at least the last moment.
        begins_at_hour: Hour of the week at which the observed time begins, 0 = Monday 0:00.
        requests_per_month: What a month holds, for the bill.
        told: Where they come from, in words.
        notes: How a trace was treated.
    """

    times_s: NDArray[np.float64]
    horizon_s: float
    begins_at_hour: float
    requests_per_month: float
    told: str
    notes: tuple[str, ...] = field(default=())

    @property
    def n(self) -> int:
        """How many."""
        return self.times_s.size

    @property
    def months(self) -> float:
        """How many months' requests these are; quantities are divided by it for a month's bill."""
        return self.n / self.requests_per_month

    def hours_of_week(self) -> NDArray[np.int64]:
        """The hour of the week, 0 to 167, of each arrival; shape ``(n,)``."""
        hours = np.floor(self.times_s / SECONDS_PER_HOUR + self.begins_at_hour)
        return np.asarray(hours % HOURS_PER_WEEK, dtype=np.int64)

    def peak_per_s(self) -> float:
        """Requests per second in the busiest hour of the mean week."""
        counts = np.bincount(self.hours_of_week(), minlength=HOURS_PER_WEEK)
        weeks = max(self.horizon_s / WEEK_S, 1.0)
        return float(counts.max() / weeks / SECONDS_PER_HOUR)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """A month's requests, their shape, and how patients bring them.

    Attributes:
        requests_per_month: Photographs.
        shape: Over the hours of a week.
        photographs_per_patient: Sent one after the other.
        between_photographs_s: From one photograph of a patient to the next.
    """

    requests_per_month: float
    shape: Shape = SHAPES["clinic"]
    photographs_per_patient: int = PHOTOGRAPHS_PER_PATIENT
    between_photographs_s: float = 20.0

    def __post_init__(self) -> None:
        wrong = (
            not (0 < self.requests_per_month < np.inf)
            or self.photographs_per_patient < 1
            or not (0 <= self.between_photographs_s < SECONDS_PER_HOUR)
        )
        if wrong:
            raise InvalidInput(
                f"Such traffic cannot be: {self.requests_per_month:g} requests a month, "
                f"{self.photographs_per_patient} photographs per patient, "
                f"{self.between_photographs_s:g} s between them",
                where="traffic",
                remedy="Name a positive number of requests, at least one photograph per patient, "
                "and less than an hour between them",
            )

    @property
    def requests_per_week(self) -> float:
        """On average."""
        return self.requests_per_month * DAYS_PER_WEEK / DAYS_PER_MONTH

    @property
    def told(self) -> str:
        """In words."""
        per_patient = self.photographs_per_patient
        sent = f", {per_patient} per patient, {self.between_photographs_s:g} s apart"
        return (
            f"{self.requests_per_month:,.0f} photographs a month, shape {self.shape.name}"
            f"{sent if per_patient > 1 else ''}"
        )

    def arrivals(self, seed: int, *, weeks: int | None = None) -> Arrivals:
        """Draw arrivals: patients come as a Poisson process whose rate follows the shape.

        Args:
            seed: The same seed gives the same arrivals.
            weeks: To draw; by default as many as hold some 20,000 requests, 1 to 104.
        """
        weeks = weeks or weeks_for(self.requests_per_week)
        rng = np.random.default_rng(seed)
        patients = self.shape.requests_by_hour(
            self.requests_per_week / self.photographs_per_patient
        )
        counts = rng.poisson(np.tile(patients, weeks))
        begins = np.repeat(np.arange(counts.size) * float(SECONDS_PER_HOUR), counts)
        visits = begins + rng.random(begins.size) * SECONDS_PER_HOUR
        offsets = np.arange(self.photographs_per_patient) * self.between_photographs_s
        times = np.sort((visits[:, None] + offsets).ravel())
        if not times.size:
            raise InvalidInput(
                f"In {weeks} weeks of this traffic not one patient came",
                where="traffic",
                remedy="Name more requests a month",
            )
        return Arrivals(
            times_s=times,
            horizon_s=max(weeks * float(WEEK_S), float(times[-1])),
            begins_at_hour=0.0,
            requests_per_month=times.size * SECONDS_PER_MONTH / (weeks * WEEK_S),
            told=self.told,
        )


def weeks_for(requests_per_week: float) -> int:
    """Weeks to simulate: enough for steady shares, no more than the time it takes is worth."""
    return min(MOST_WEEKS, max(FEWEST_WEEKS, ceil(WANTED_ARRIVALS / requests_per_week)))

"""Moments of arrival, drawn from a shape."""

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
ENOUGH_ARRIVALS = 20_000
"""A simulation draws as many weeks as hold so many requests, within the two limits below."""
FEWEST_WEEKS, MOST_WEEKS = 1, 104
PHOTOGRAPHS_PER_PATIENT = 4
"""Two eyes, two fields each."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Moments at which requests arrive.

    Attributes:
        times_s: Seconds since the observed time began, ascending; shape ``(n,)``.
        horizon_s: Length of the observed time; at least the last moment.
        begins_at_hour: Hour of the week at which the observed time begins, 0 = Monday 0:00.
        requests_per_month: Requests in a month, for the bill.
        description: Where the arrivals come from, in words.
        notes: How a trace was treated, each as a sentence.
    """

    times_s: NDArray[np.float64]
    horizon_s: float
    begins_at_hour: float
    requests_per_month: float
    description: str
    notes: tuple[str, ...] = field(default=())

    @property
    def n(self) -> int:
        """Number of requests."""
        return self.times_s.size

    @property
    def months(self) -> float:
        """How many months of requests these are."""
        return self.n / self.requests_per_month

    def hours_of_week(self) -> NDArray[np.int64]:
        """Hour of the week, 0 to 167, of each arrival; shape ``(n,)``."""
        hours = np.floor(self.times_s / SECONDS_PER_HOUR + self.begins_at_hour)
        return np.asarray(hours % HOURS_PER_WEEK, dtype=np.int64)

    def peak_per_s(self) -> float:
        """Requests per second in the busiest hour of the average week."""
        counts = np.bincount(self.hours_of_week(), minlength=HOURS_PER_WEEK)
        weeks = max(self.horizon_s / WEEK_S, 1.0)
        return float(counts.max() / weeks / SECONDS_PER_HOUR)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How many photographs arrive in a month, and when.

    Attributes:
        requests_per_month: Photographs a month.
        shape: How they spread over the hours of a week.
        photographs_per_patient: Photographs that are sent one after the other.
        between_photographs_s: Seconds from one photograph of a patient to the next.
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
                f"Such traffic is impossible: {self.requests_per_month:g} requests a month, "
                f"{self.photographs_per_patient} photographs per patient, "
                f"{self.between_photographs_s:g} s between them",
                where="traffic",
                remedy="Give a positive number of requests, at least one photograph per patient, "
                "and less than an hour between them",
            )

    @property
    def requests_per_week(self) -> float:
        """Average requests a week."""
        return self.requests_per_month * DAYS_PER_WEEK / DAYS_PER_MONTH

    @property
    def description(self) -> str:
        """The traffic in words."""
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
            weeks: Number of weeks; by default as many as hold some 20,000 requests, 1 to 104.

        Raises:
            InvalidInput: No patient comes in that time.
        """
        weeks = weeks or weeks_for(self.requests_per_week)
        rng = np.random.default_rng(seed)
        patients = self.shape.requests_by_hour(
            self.requests_per_week / self.photographs_per_patient
        )
        # Counts per hour first, then moments within the hour: a Poisson process whose rate changes
        # by the hour is exactly that.
        counts = rng.poisson(np.tile(patients, weeks))
        begins = np.repeat(np.arange(counts.size) * float(SECONDS_PER_HOUR), counts)
        visits = begins + rng.random(begins.size) * SECONDS_PER_HOUR
        offsets = np.arange(self.photographs_per_patient) * self.between_photographs_s
        times = np.sort((visits[:, None] + offsets).ravel())
        if not times.size:
            raise InvalidInput(
                f"Not one patient comes in {weeks} weeks of this traffic",
                where="traffic",
                remedy="Give more requests a month",
            )
        return Arrivals(
            times_s=times,
            horizon_s=max(weeks * float(WEEK_S), float(times[-1])),
            begins_at_hour=0.0,
            # Of the arrivals as drawn, so that bill and simulation are about the same requests.
            requests_per_month=times.size * SECONDS_PER_MONTH / (weeks * WEEK_S),
            description=self.description,
        )


def weeks_for(requests_per_week: float) -> int:
    """Weeks to simulate: enough for steady shares of cold starts, no more than that takes."""
    return min(MOST_WEEKS, max(FEWEST_WEEKS, ceil(ENOUGH_ARRIVALS / requests_per_week)))

"""Describe how the requests of a week are distributed over its hours, and draw arrival times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.units import DAYS_PER_MONTH, SECONDS_PER_HOUR, SECONDS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOURS_PER_DAY = 24
DAYS_PER_WEEK = 7
HOURS_PER_WEEK = HOURS_PER_DAY * DAYS_PER_WEEK

CLINIC_HOURS = (*(0,) * 8, 6, 10, 10, 8, 4, 8, 10, 8, 6, *(0,) * 7)
"""Assumed weights of the 24 hours: many requests in the morning and afternoon, fewer at noon, none
at night."""
WORKING_HOURS = (*(0,) * 8, *(1,) * 10, *(0,) * 6)
"""The same weight for each hour from 8:00 to 18:00."""
MONDAY_TO_FRIDAY = (1, 1, 1, 1, 1, 0, 0)


@dataclass(frozen=True)
class TrafficShape:
    """The distribution of a week's requests over its hours.

    Attributes:
        name: Name of the shape, for messages.
        by_hour: The share of each of the 168 hours of a week, starting on Monday at 0:00. The
            shares sum to 1.
    """

    name: str
    by_hour: tuple[float, ...]

    @classmethod
    def from_weights(cls, name: str, hours: Sequence[float], days: Sequence[float]) -> TrafficShape:
        """Make a shape from 24 weights for the hours of a day and 7 weights for Monday to Sunday.

        Raises:
            InvalidInput: The number of weights is wrong, a weight is negative or not finite, or
                all weights are zero.
        """
        if len(hours) != HOURS_PER_DAY or len(days) != DAYS_PER_WEEK:
            raise InvalidInput(
                "A traffic shape needs 24 weights for the hours and 7 weights for the days, not "
                f"{len(hours)} and {len(days)}",
                where=f"the traffic shape {name!r}",
                remedy="Give one weight for each hour (--hours), and one for each day from Monday "
                "to Sunday (--days)",
            )
        weights = np.outer(np.asarray(days, float), np.asarray(hours, float)).ravel()
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
            raise InvalidInput(
                "The weights of a traffic shape must be finite and at least 0. At least one hour "
                "and one day must have a weight above 0",
                where=f"the traffic shape {name!r}",
                remedy="Give for example --hours 0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,0,0,0,0,0,0",
            )
        return cls(name, tuple((weights / weights.sum()).tolist()))

    @property
    def peak_share(self) -> float:
        """The share of a week's requests in its busiest hour."""
        return max(self.by_hour)

    def requests_by_hour(self, requests_per_week: float) -> NDArray[np.float64]:
        """Return the expected number of requests in each of the 168 hours of a week."""
        return np.asarray(self.by_hour) * requests_per_week


SHAPES: dict[str, TrafficShape] = {
    shape.name: shape
    for shape in (
        TrafficShape.from_weights("clinic", CLINIC_HOURS, MONDAY_TO_FRIDAY),
        TrafficShape.from_weights("working-hours", WORKING_HOURS, MONDAY_TO_FRIDAY),
        TrafficShape.from_weights("flat", (1,) * HOURS_PER_DAY, (1,) * DAYS_PER_WEEK),
    )
}
"""The traffic shapes that a user can choose by name."""


def look_up_traffic_shape(name: str) -> TrafficShape:
    """Return the shape of the given name from :data:`SHAPES`.

    Raises:
        InvalidInput: No shape has the name.
    """
    if name not in SHAPES:
        raise InvalidInput(
            f"The traffic shape {name!r} does not exist",
            where="--shape",
            remedy=f"Choose one of {', '.join(SHAPES)}",
        )
    return SHAPES[name]


WEEK_S = HOURS_PER_WEEK * SECONDS_PER_HOUR
ENOUGH_ARRIVALS = 20_000
"""A simulation draws enough weeks for this number of requests, but at least ``FEWEST_WEEKS`` and at
most ``MOST_WEEKS``."""
FEWEST_WEEKS, MOST_WEEKS = 1, 104
MAX_ARRIVALS = 50_000_000
"""The largest number of arrivals in a trace, an archive or a week of other traffic. So many
arrivals take 400 MB of memory.

A year with one arrival per second stays below this limit."""
PHOTOGRAPHS_PER_PATIENT = 4
"""The number of photographs of a patient: two of each eye."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The times at which requests arrive.

    Attributes:
        times_s: The times in ascending order, in seconds after the beginning; shape ``(n,)``.
        horizon_s: The length of the simulated time in seconds. No request arrives after it.
        begins_at_hour: The hour of the week at which the simulated time begins, a whole number,
            because the plans of policies and schedules count full hours; 0 is Monday 0:00.
        requests_per_month: The number of requests in a month, which the bill is computed from.
        description: A text that says where the arrivals come from.
        notes: Sentences about changes that were made to a trace.
        is_archive: Whether the photographs are an archive of old photographs, which can be sent at
            any time.
    """

    times_s: NDArray[np.float64]
    horizon_s: float
    begins_at_hour: float
    requests_per_month: float
    description: str
    notes: tuple[str, ...] = field(default=())
    is_archive: bool = False

    def move_archive_to_beginning(self) -> Arrivals:
        """Return arrivals in which all photographs of an archive arrive at the beginning.

        This is how a queue or a batch transform job gets an archive. If the arrivals are not those
        of an archive, they are returned unchanged.
        """
        return replace(self, times_s=np.zeros_like(self.times_s)) if self.is_archive else self

    @property
    def n(self) -> int:
        """The number of requests."""
        return self.times_s.size

    @property
    def months(self) -> float:
        """How many months the arrivals represent: ``n`` divided by ``requests_per_month``."""
        return self.n / self.requests_per_month

    def compute_hour_of_week_of_each_arrival(self) -> NDArray[np.int64]:
        """Return the hour of the week of each arrival, from 0 to 167; shape ``(n,)``."""
        hours = np.floor(self.times_s / SECONDS_PER_HOUR + self.begins_at_hour)
        return np.asarray(hours % HOURS_PER_WEEK, dtype=np.int64)

    def compute_peak_requests_per_s(self) -> float:
        """Return the requests per second in the busiest hour of the average week."""
        if self.is_archive:
            return self.n / max(float(self.times_s[-1]), 1.0)
        counts = np.bincount(self.compute_hour_of_week_of_each_arrival(), minlength=HOURS_PER_WEEK)
        # In ten days, some hours of the week occur twice, and the others once.
        hours = np.arange(ceil(self.horizon_s / SECONDS_PER_HOUR)) + int(self.begins_at_hour)
        observed = np.bincount(hours % HOURS_PER_WEEK, minlength=HOURS_PER_WEEK)
        return float((counts / np.maximum(observed, 1)).max() / SECONDS_PER_HOUR)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The number of photographs that arrive in a month, and their distribution over the week.

    Attributes:
        requests_per_month: The number of photographs in a month.
        shape: The distribution of the photographs over the hours of a week.
        photographs_per_patient: The number of photographs of one patient, which are sent one after
            another.
        between_photographs_s: The time between two photographs of a patient, in seconds.
    """

    requests_per_month: float
    shape: TrafficShape = SHAPES["clinic"]
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
                f"Traffic of {self.requests_per_month:g} requests a month, with "
                f"{self.photographs_per_patient} photographs per patient and "
                f"{self.between_photographs_s:g} s between two photographs, cannot be simulated",
                where="--requests, --photographs-per-patient, --between-photographs-s",
                remedy="Give a positive number of requests, at least one photograph per patient, "
                "and less than an hour between two photographs",
            )
        if self.requests_per_week > MAX_ARRIVALS:
            raise InvalidInput(
                f"Traffic of {self.requests_per_month:g} requests a month cannot be simulated, "
                f"because a week has more than {MAX_ARRIVALS:,} requests",
                where="--requests",
                remedy="Give a part of the traffic",
            )

    @property
    def requests_per_week(self) -> float:
        """The average number of requests in a week."""
        return self.requests_per_month * DAYS_PER_WEEK / DAYS_PER_MONTH

    @property
    def description(self) -> str:
        """A description of the traffic as text."""
        per_patient = self.photographs_per_patient
        sent = f", {per_patient} of each patient, {self.between_photographs_s:g} s apart"
        return (
            f"{self.requests_per_month:,.0f} photographs a month"
            f"{sent if per_patient > 1 else ''}, in the weekly pattern '{self.shape.name}'"
        )

    def arrivals(self, seed: int, *, weeks: int | None = None) -> Arrivals:
        """Draw arrivals of patients from a Poisson process whose rate follows the shape.

        Args:
            seed: The seed of the random numbers; the same seed gives the same arrivals.
            weeks: The number of weeks. If None, enough weeks are drawn for about 20,000 requests,
                but at least 1 week and at most 104 weeks.

        Raises:
            InvalidInput: No patient arrives in the drawn weeks.
        """
        weeks = weeks or choose_weeks_to_simulate(self.requests_per_week)
        rng = np.random.default_rng(seed)
        patients = self.shape.requests_by_hour(
            self.requests_per_week / self.photographs_per_patient
        )
        # First the number of arrivals in each hour is drawn, then their times within the hour. The
        # result is exactly a Poisson process whose rate changes by the hour.
        counts = rng.poisson(np.tile(patients, weeks))
        begins = np.repeat(np.arange(counts.size) * float(SECONDS_PER_HOUR), counts)
        visits = begins + rng.random(begins.size) * SECONDS_PER_HOUR
        offsets = np.arange(self.photographs_per_patient) * self.between_photographs_s
        times = np.sort((visits[:, None] + offsets).ravel())
        if not times.size:
            raise InvalidInput(
                f"No patient arrives in the {weeks} simulated weeks",
                where="--requests",
                remedy="Give a larger number of requests a month",
            )
        return Arrivals(
            times_s=times,
            horizon_s=max(weeks * float(WEEK_S), float(times[-1])),
            begins_at_hour=0.0,
            # Counted from the drawn arrivals, so that the bill and the simulation cover the same
            # requests.
            requests_per_month=times.size * SECONDS_PER_MONTH / (weeks * WEEK_S),
            description=self.description,
        )


def choose_weeks_to_simulate(requests_per_week: float) -> int:
    """Return how many weeks to simulate, so that the simulated share of cold starts is reliable."""
    return min(MOST_WEEKS, max(FEWEST_WEEKS, ceil(ENOUGH_ARRIVALS / requests_per_week)))


def make_archive_arrivals(photographs: int, may_wait_s: float) -> Arrivals:
    """Return the times at which the photographs of an archive are sent, within a month.

    An archive is a collection of old photographs that are graded once.

    If all requests came at once, an endpoint would refuse most of them. The photographs are
    therefore sent at equal intervals, over most of the time until the results must be there. Only a
    queue or a batch transform job takes all photographs at once (see
    :meth:`Arrivals.move_archive_to_beginning`).

    Args:
        photographs: The number of photographs, at least 2.
        may_wait_s: The time in seconds within which all results must arrive.

    Raises:
        InvalidInput: There are too few or too many photographs, or the time is 0 or longer than a
            month.
    """
    if not 2 <= photographs <= MAX_ARRIVALS or not 0 < may_wait_s <= SECONDS_PER_MONTH:
        raise InvalidInput(
            f"An archive of {photographs} photographs with results within "
            f"{may_wait_s / SECONDS_PER_HOUR:g} hours cannot be simulated",
            where="--archive",
            remedy=f"Give 2 to {MAX_ARRIVALS:,} photographs, and at most 730 hours",
        )
    # The last answer must come in time, too.
    times_s = np.linspace(0.0, SENDING_SHARE * may_wait_s, photographs)
    return Arrivals(
        times_s=times_s,
        horizon_s=float(SECONDS_PER_MONTH),
        begins_at_hour=0.0,
        requests_per_month=float(photographs),
        description=f"an archive of {photographs:,} photographs, graded once within "
        f"{may_wait_s / SECONDS_PER_HOUR:g} hours",
        is_archive=True,
    )


SENDING_SHARE = 0.9
"""The photographs of an archive are sent to an endpoint during this share of the time in which the
results may arrive."""

"""How many containers each hour needs, from the traffic's average week or from a forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drdeploy.study.recommendation.simulation.erlang import workers_for
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_WEEK
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.study.recommendation.traffic.arrivals import Arrivals

REFUSED_AT_MOST = 0.01
"""Share of requests that may find every warm container busy, and so meet a cold start."""
WORTH_KEEPING = 0.05
"""Expected requests in an hour below which no container is kept warm for it."""
SMOOTHING = 0.3
"""Weight of the latest week in the forecast's level and profile."""


def requests_by_hour(arrivals: Arrivals) -> NDArray[np.int64]:
    """Count the requests in each hour of the observed time."""
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = np.minimum((arrivals.times_s // SECONDS_PER_HOUR).astype(np.int64), hours - 1)
    return np.bincount(at, minlength=hours)


def weekly_profile(arrivals: Arrivals) -> NDArray[np.float64]:
    """Average the requests in each of the 168 hours of a week, Monday 0:00 to 1:00 first."""
    counts = requests_by_hour(arrivals)
    at = (np.arange(counts.size) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    observed = np.bincount(at, minlength=HOURS_PER_WEEK)
    return np.bincount(at, counts, minlength=HOURS_PER_WEEK) / np.maximum(observed, 1)


def repeat_weekly(by_hour_of_week: NDArray[np.int64], arrivals: Arrivals) -> NDArray[np.int64]:
    """Repeat a week's plan over the observed time, from the hour at which that begins."""
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = (np.arange(hours) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    return by_hour_of_week[at]


def containers_for(requests_by_hour: NDArray[np.float64], busy_s: float) -> NDArray[np.int64]:
    """Number of containers with which hardly any request finds all of them busy.

    That is Erlang's loss formula: the endpoint does not queue, so a request that finds no warm
    container idle is lost to it and starts another one.

    Args:
        requests_by_hour: Expected requests of each hour.
        busy_s: Mean time that one request occupies a container.
    """
    # A week has few distinct demands, and a year of hours repeats them: each is computed once.
    rounded = np.round(requests_by_hour, 3)
    distinct = {
        requests: workers_for(requests * busy_s / SECONDS_PER_HOUR, refused_at_most=REFUSED_AT_MOST)
        if requests >= WORTH_KEEPING
        else 0
        for requests in np.unique(rounded).tolist()
    }
    return np.array([distinct[requests] for requests in rounded.tolist()], dtype=np.int64)


def forecast_by_hour(arrivals: Arrivals) -> NDArray[np.float64]:
    """Expected requests of each hour, forecast from the weeks before it alone.

    The forecast is a level (requests a week) times a weekly profile, both smoothed exponentially
    once a week (Winters 1960, multiplicative season, no trend).  Nothing is expected of the first
    week, because nothing is known before it.
    """
    counts = requests_by_hour(arrivals)
    weeks = -(-counts.size // HOURS_PER_WEEK)  # rounded up
    padded = np.zeros(weeks * HOURS_PER_WEEK)
    padded[: counts.size] = counts
    by_week = padded.reshape(weeks, HOURS_PER_WEEK)
    expected = np.zeros_like(by_week)
    level, profile = 0.0, np.zeros(HOURS_PER_WEEK)
    for week, observed in enumerate(by_week):
        expected[week] = level * profile
        total = float(observed.sum())
        weight = SMOOTHING if week else 1.0  # the first week is all that is known
        level += weight * (total - level)
        if total:  # a week without requests says nothing about their profile
            profile += (weight if profile.any() else 1.0) * (observed / total - profile)
    return expected.ravel()[: counts.size]

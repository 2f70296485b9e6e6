"""How many containers each hour needs."""

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
"""Share of requests that may find every warm container busy."""
WORTH_KEEPING = 0.05
"""Expected requests in an hour below which no container is kept for it."""
SMOOTHING = 0.3
"""Weight of the last week in the forecast's level and season."""


def hours_of(arrivals: Arrivals) -> NDArray[np.int64]:
    """Requests in each hour of the horizon."""
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = np.minimum((arrivals.times_s // SECONDS_PER_HOUR).astype(np.int64), hours - 1)
    return np.bincount(at, minlength=hours)


def season_of(arrivals: Arrivals) -> NDArray[np.float64]:
    """Mean requests in each of the 168 hours of a week that were observed, Monday 0:00 first."""
    counts = hours_of(arrivals)
    at = (np.arange(counts.size) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    observed = np.bincount(at, minlength=HOURS_PER_WEEK)
    return np.bincount(at, counts, minlength=HOURS_PER_WEEK) / np.maximum(observed, 1)


def over_horizon(by_hour_of_week: NDArray[np.int64], arrivals: Arrivals) -> NDArray[np.int64]:
    """A week's plan, repeated over the horizon."""
    hours = int(np.ceil(arrivals.horizon_s / SECONDS_PER_HOUR))
    at = (np.arange(hours) + int(arrivals.begins_at_hour)) % HOURS_PER_WEEK
    return by_hour_of_week[at]


def containers_for(requests_by_hour: NDArray[np.float64], busy_s: float) -> NDArray[np.int64]:
    """Containers with which hardly a request finds all of them busy (Erlang B).

    Args:
        requests_by_hour: Expected; any shape.
        busy_s: Mean time that one request takes a container.
    """
    rounded = np.round(requests_by_hour, 3)
    distinct = {
        requests: workers_for(requests * busy_s / SECONDS_PER_HOUR, refused_at_most=REFUSED_AT_MOST)
        if requests >= WORTH_KEEPING
        else 0
        for requests in np.unique(rounded).tolist()
    }
    return np.array([distinct[requests] for requests in rounded.tolist()], dtype=np.int64)


def forecast_by_hour(arrivals: Arrivals) -> NDArray[np.float64]:
    """Expected requests of each hour of the horizon, from the weeks before it alone.

    Level times season, both smoothed exponentially once a week (Winters 1960, multiplicative, no
    trend).  Nothing is expected of the first week, for it has no past.
    """
    counts = hours_of(arrivals)
    weeks = -(-counts.size // HOURS_PER_WEEK)
    padded = np.zeros(weeks * HOURS_PER_WEEK)
    padded[: counts.size] = counts
    by_week = padded.reshape(weeks, HOURS_PER_WEEK)
    expected = np.zeros_like(by_week)
    level, season = 0.0, np.zeros(HOURS_PER_WEEK)
    for week, seen in enumerate(by_week):
        expected[week] = level * season
        total = float(seen.sum())
        weight = SMOOTHING if week else 1.0
        level += weight * (total - level)
        if total:
            season += (weight if season.any() else 1.0) * (seen / total - season)
    return expected.ravel()[: counts.size]

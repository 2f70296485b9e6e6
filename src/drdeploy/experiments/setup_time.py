"""Join CloudWatch's ``ModelSetupTime`` to the cold starts it belongs to, by time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.experiments.measurement import Measurement
    from drdeploy.sagemaker.client import Datapoint

MICROSECONDS_PER_S = 1e6


def join_setup_times(
    measurements: Sequence[Measurement], datapoints: Sequence[Datapoint], *, period_s: int
) -> list[Measurement]:
    """Give each cold start its set-up time, where it is certain which is whose.

    A datapoint is a period's average.  It belongs to a cold start if it counts one sample, its
    period overlaps that invocation and no other cold one, and no other datapoint's does.
    """
    cold = [row for row in measurements if may_be_cold(row)]
    single = [point for point in datapoints if point.samples == 1]
    owners = {
        id(point): [row for row in cold if _overlaps(row, point, period_s)] for point in single
    }
    joined = {}
    for row in cold:
        mine = [point for point in single if owners[id(point)] == [row]]
        if len(mine) == 1:
            joined[id(row)] = replace(
                row, model_setup_s=mine[0].average / MICROSECONDS_PER_S, start=row.start or "cold"
            )
    return [joined.get(id(row), row) for row in measurements]


def may_be_cold(row: Measurement) -> bool:
    """Answered, by a container that had not answered before as far as is known."""
    return row.outcome in {"ok", "wrong_start", "ungradable"} and row.start != "warm"


def _overlaps(row: Measurement, point: Datapoint, period_s: int) -> bool:
    ended_at = row.scheduled_at + timedelta(seconds=row.total_latency_s)
    return row.started_at - timedelta(seconds=period_s) < point.start <= ended_at

"""Join CloudWatch's metrics of an endpoint to the invocations they belong to, by time.

CloudWatch tells a period's average and how many samples it has: a minute's on AWS, a second's of
the local service.  A row gets a value only where it is certain which is whose, and stays empty
otherwise: closely spaced requests share their period, and a share of an average is no measurement.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from drdeploy.hosting.sagemaker import Datapoint, Hosting, MetricName
    from drdeploy.study.measurements.measurement import Measurement

COLUMN_OF: Mapping[MetricName, str] = {
    "ModelSetupTime": "model_setup_s",
    "ModelLatency": "model_latency_s",
    "OverheadLatency": "overhead_latency_s",
}
"""Metrics that are joined, and the columns that they go to."""


def read_metrics(
    hosting: Hosting, endpoint: str, rows: Sequence[Measurement], *, now: datetime, period_s: int
) -> dict[MetricName, tuple[Datapoint, ...]]:
    """What CloudWatch tells of the time in which these rows were measured.

    Raises:
        EndpointError: CloudWatch refuses.
    """
    margin = timedelta(seconds=period_s)
    start = min(row.started_at for row in rows) - margin
    return {
        metric: hosting.metric(endpoint, metric, start=start, end=now + margin, period_s=period_s)
        for metric in COLUMN_OF
    }


def join_metrics(
    rows: Sequence[Measurement],
    datapoints: Mapping[MetricName, Sequence[Datapoint]],
    *,
    period_s: int,
) -> list[Measurement]:
    """Give each row its metrics, where it is certain which is whose.

    A datapoint belongs to a row if it counts one sample, its period overlaps that invocation and
    no other that may have caused it, and no other such datapoint's period does.

    Args:
        rows: Every invocation of the endpoint in that time, of whatever trial.
        datapoints: By metric, in CloudWatch's microseconds.
        period_s: Of the datapoints.
    """
    joined = list(rows)
    for metric, points in datapoints.items():
        may_cause = may_be_cold if metric == "ModelSetupTime" else was_sent
        found = _owned(rows, points, may_cause, period_s)
        for number, row in enumerate(rows):
            point = found.get(number)
            if point is not None and was_answered(row):
                joined[number] = _with(joined[number], metric, point)
    return joined


def may_be_cold(row: Measurement) -> bool:
    """Answered, by a container that had not answered before as far as is known."""
    return row.outcome in {"ok", "wrong_start", "ungradable"} and row.start != "warm"


def was_answered(row: Measurement) -> bool:
    """The container answered, if only that the photograph is none."""
    return row.outcome in {"ok", "wrong_start", "ungradable", "model_error"}


def was_sent(row: Measurement) -> bool:
    """It may have reached the container, whatever came of it."""
    return was_answered(row) or row.outcome in {"timeout", "unavailable", "client_error"}


def _owned(
    rows: Sequence[Measurement],
    points: Iterable[Datapoint],
    may_cause: Callable[[Measurement], bool],
    period_s: int,
) -> dict[int, Datapoint]:
    """Datapoints by the number of the one row that each belongs to."""
    causes = [(number, row) for number, row in enumerate(rows) if may_cause(row)]
    claims: dict[int, list[Datapoint]] = {}
    for point in points:
        owners = [number for number, row in causes if _overlaps(row, point, period_s)]
        if point.samples == 1 and len(owners) == 1:
            claims.setdefault(owners[0], []).append(point)
    return {number: mine[0] for number, mine in claims.items() if len(mine) == 1}


def _overlaps(row: Measurement, point: Datapoint, period_s: int) -> bool:
    ended_at = row.scheduled_at + timedelta(seconds=row.total_latency_s)
    return row.started_at - timedelta(seconds=period_s) < point.start <= ended_at


def _with(row: Measurement, metric: MetricName, point: Datapoint) -> Measurement:
    values: dict[str, Any] = {COLUMN_OF[metric]: point.average / MICROSECONDS_PER_S}
    if metric == "ModelSetupTime":
        values["start"] = row.start or "cold"
    return replace(row, **values)

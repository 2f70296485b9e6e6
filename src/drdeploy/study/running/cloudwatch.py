"""Add CloudWatch's metrics of an endpoint to the rows of the invocations that caused them.

CloudWatch reports, for each period, an average and how many samples it has: for each minute on
AWS, for each second on the local service.  It does not say which invocation a sample belongs to,
so rows and metrics are joined by time.  A row gets a value only where there is no doubt.  Where
requests share a period its value stays empty: a share of an average is not a measurement.
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
"""The metrics that are joined, and the columns for their values."""


def read_metrics(
    hosting: Hosting, endpoint: str, rows: Sequence[Measurement], *, now: datetime, period_s: int
) -> dict[MetricName, tuple[Datapoint, ...]]:
    """Read an endpoint's metrics of the time in which these rows were measured.

    Raises:
        EndpointError: CloudWatch refuses.
    """
    # A datapoint carries the start of its period, which may be earlier than the request.
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
    """Return the rows with their metrics, where there is no doubt whose they are.

    A datapoint belongs to a row if it counts one sample, if its period overlaps that invocation
    and no other that may have caused it, and if no other such datapoint overlaps the invocation.

    Args:
        rows: Every invocation of the endpoint in that time, of whatever trial.
        datapoints: By metric, in CloudWatch's microseconds.
        period_s: Length of the datapoints' period.
    """
    joined = list(rows)
    for metric, points in datapoints.items():
        may_cause = may_be_cold if metric == "ModelSetupTime" else may_have_arrived
        found = _owned(rows, points, may_cause, period_s)
        for number, row in enumerate(rows):
            point = found.get(number)
            if point is None or not was_answered(row):
                continue
            values: dict[str, Any] = {COLUMN_OF[metric]: point.average / MICROSECONDS_PER_S}
            if metric == "ModelSetupTime":
                # A container that does not identify itself leaves the start open.  AWS reports a
                # set-up time for cold starts only, so this one was cold.
                values["start"] = row.start or "cold"
            joined[number] = replace(joined[number], **values)
    return joined


def may_be_cold(row: Measurement) -> bool:
    """Whether the container answered, and had not answered before as far as is known."""
    return row.outcome in {"ok", "wrong_start", "ungradable"} and row.start != "warm"


def was_answered(row: Measurement) -> bool:
    """Whether the container answered, even if only to refuse the photograph."""
    return row.outcome in {"ok", "wrong_start", "ungradable", "model_error"}


def may_have_arrived(row: Measurement) -> bool:
    """Whether the request may have reached the container, so that AWS may have counted it."""
    return was_answered(row) or row.outcome in {"timeout", "unavailable", "client_error"}


def _owned(
    rows: Sequence[Measurement],
    points: Iterable[Datapoint],
    may_cause: Callable[[Measurement], bool],
    period_s: int,
) -> dict[int, Datapoint]:
    """Return the datapoints that belong to one row alone, by the row's position."""
    period = timedelta(seconds=period_s)
    spans = {
        number: (row.started_at - period, row.scheduled_at + timedelta(seconds=row.total_latency_s))
        for number, row in enumerate(rows)
        if may_cause(row)
    }
    claims: dict[int, list[Datapoint]] = {}
    for point in points:
        owners = [number for number, (begin, end) in spans.items() if begin < point.start <= end]
        if point.samples == 1 and len(owners) == 1:
            claims.setdefault(owners[0], []).append(point)
    return {number: mine[0] for number, mine in claims.items() if len(mine) == 1}

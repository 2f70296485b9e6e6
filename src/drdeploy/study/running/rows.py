"""Make a row of ``measurements.csv`` from each invocation, and add CloudWatch's metrics.

CloudWatch reports an average and the number of samples for each period. A period is a minute on AWS
and a second on the local service. CloudWatch does not say which request a sample belongs to, so
rows and metrics are matched by time. A row gets a metric only if no other request can have caused
the sample. If several requests fall into one period, their rows get no metrics, because the average
of several requests is not the value of any one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.sagemaker import DATAPOINTS_MAX, BatchConfig, ServerlessConfig
from drdeploy.study.measurements.measurement import Measurement
from drdeploy.study.running.sending import WARM_UP_SEQUENCE
from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from drdeploy.grader.artifacts import ModelManifest
    from drdeploy.hosting.sagemaker import Datapoint, Hosting, HostingConfig, MetricName
    from drdeploy.hosting.sagemaker.platforms import HostingPlatform
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.running.jobs import ObservedJob
    from drdeploy.study.running.sending import ObservedInvocation

COLUMN_OF: Mapping[MetricName, str] = {
    "ModelSetupTime": "model_setup_s",
    "ModelLatency": "model_latency_s",
    "OverheadLatency": "overhead_latency_s",
}
"""The CloudWatch metrics that are added to rows, and the columns that hold their values."""


@dataclass(frozen=True)
class RowBuilder:
    """Builds the rows of one trial in one run.

    The builder holds the values that are the same in all of these rows.
    """

    trial: Trial
    manifest: ModelManifest
    platform: HostingPlatform
    isolation: str
    run_id: str

    def make_row_of_invocation(self, observed: ObservedInvocation) -> Measurement:
        """Make the row of ``measurements.csv`` for one invocation of an endpoint."""
        invocation, answer = observed.invocation, observed.answer
        return replace(
            self.make_row_of_failed_hosting("", observed.scheduled_at),
            sequence=observed.sequence,
            is_warmup=observed.is_warmup,
            start=observed.start,
            outcome=observed.outcome,
            status=invocation.status,
            error=invocation.error,
            started_at=invocation.started_at,
            total_latency_s=observed.total_latency_s,
            requests_ahead=observed.requests_ahead,
            container_latency_s=answer.container_latency_s,
            prediction_s=answer.prediction_s,
            decode_s=answer.decode_s,
            transform_s=answer.transform_s,
            photograph=observed.photograph.name,
            payload_bytes=invocation.payload_bytes,
            label=answer.label,
            grade=answer.grade,
            model_digest=answer.model_digest,
            container_id=answer.container_id,
            container_invocation=answer.container_invocation,
        )

    def make_row_of_job(self, job: ObservedJob) -> Measurement:
        """Make the row of ``measurements.csv`` for one transform job."""
        return replace(
            self.make_row_of_failed_hosting(job.error, job.created_at),
            sequence=job.sequence,
            is_warmup=False,
            start="cold",
            outcome=job.outcome,
            status=HTTPStatus.OK,
            total_latency_s=job.total_latency_s,
            startup_s=job.startup_s,
            photograph_count=job.photograph_count,
            payload_bytes=job.payload_bytes,
            model_digest=job.model_digest,
        )

    def make_row_of_failed_hosting(self, error: str, now: datetime) -> Measurement:
        """Return a row that says why an endpoint could not be created or used.

        The row is marked as warm-up, so that it does not count.
        """
        endpoint = self.trial.endpoint
        return Measurement(
            study=self.trial.study,
            trial=self.trial.id,
            platform=self.platform,
            isolation=self.isolation,
            model=self.trial.model_name,
            architecture=self.manifest.architecture,
            weights=self.manifest.weights,
            precision=self.manifest.precision,
            profile=self.trial.image.profile,
            image=self.trial.image.tag,
            endpoint_kind=endpoint.kind,
            memory_mb=endpoint.memory_mb if isinstance(endpoint, ServerlessConfig) else None,
            instance_type="" if isinstance(endpoint, ServerlessConfig) else endpoint.instance_type,
            instance_count=_count_instances(endpoint),
            vcpu=self.trial.vcpu,
            scenario=self.trial.scenario.kind,
            sequence=WARM_UP_SEQUENCE,
            is_warmup=True,
            outcome="unavailable",
            status=0,
            error=error,
            scheduled_at=now,
            started_at=now,
            total_latency_s=0.0,
            photograph="",
            payload_bytes=0,
            run_id=self.run_id,
        )


def _count_instances(endpoint: HostingConfig) -> int | None:
    match endpoint:
        case ServerlessConfig():
            return None
        case BatchConfig():
            return endpoint.instance_count
        case _:
            return endpoint.initial_instance_count


def read_cloudwatch_metrics_of_rows(
    hosting: Hosting, endpoint: str, rows: Sequence[Measurement], *, period_s: int
) -> dict[MetricName, tuple[Datapoint, ...]]:
    """Read an endpoint's metrics from CloudWatch, for the times at which the rows were measured.

    Raises:
        EndpointError: CloudWatch refuses the request.
    """
    times = _list_times_of_rows(rows, timedelta(seconds=period_s))
    return {
        metric: tuple(
            point
            for start, end in times
            for point in hosting.metric(endpoint, metric, start=start, end=end, period_s=period_s)
        )
        for metric in COLUMN_OF
    }


def _list_times_of_rows(
    rows: Iterable[Measurement], period: timedelta
) -> list[tuple[datetime, datetime]]:
    """Return the beginning and the end of each time span that contains rows, in order.

    There may be months between two rows, because a study was continued later or the clock was
    changed. Reading all metrics of these months would take thousands of requests. Two time spans
    are therefore joined only if a single request for metrics can cover both.
    """
    times: list[tuple[datetime, datetime]] = []
    for row in sorted(rows, key=lambda row: row.started_at):
        answered_at = row.scheduled_at + timedelta(seconds=row.total_latency_s)
        # A datapoint carries the start of its period, which may be earlier than the request.
        begin, end = row.started_at - period, max(row.started_at, answered_at) + period
        is_near = times and begin <= times[-1][1] + period
        if is_near or (times and end - times[-1][0] <= DATAPOINTS_MAX * period):
            times[-1] = (times[-1][0], max(times[-1][1], end))
        else:
            times.append((begin, end))
    return times


def add_metrics_to_rows(
    rows: Sequence[Measurement],
    datapoints: Mapping[MetricName, Sequence[Datapoint]],
    *,
    period_s: int,
) -> list[Measurement]:
    """Return the rows with the CloudWatch metrics that certainly belong to them.

    A datapoint is added to a row only if three conditions hold:

    - The datapoint counts exactly one sample.
    - During the datapoint's period, no invocation was in progress except that of the row.
    - During the row's invocation, there is no other datapoint.

    Args:
        rows: The rows of all invocations of the endpoint in the time that the datapoints cover.
            They may belong to several trials.
        datapoints: The datapoints of each metric; values are in microseconds, as in CloudWatch.
        period_s: The length of a datapoint's period, in seconds.
    """
    joined = list(rows)
    for metric, points in datapoints.items():
        may_cause = may_be_cold_start if metric == "ModelSetupTime" else may_have_reached_container
        found = _assign_datapoints_to_rows(rows, points, may_cause, period_s)
        for number, row in enumerate(rows):
            point = found.get(number)
            if point is None or not was_answered_by_container(row):
                continue
            values: dict[str, Any] = {COLUMN_OF[metric]: point.average / MICROSECONDS_PER_S}
            if metric == "ModelSetupTime":
                # If a container does not identify itself, the kind of start is unknown. AWS reports
                # a set-up time only for cold starts, so this start was cold.
                values["start"] = row.start or "cold"
            joined[number] = replace(joined[number], **values)
    return joined


def may_be_cold_start(row: Measurement) -> bool:
    """Whether a container answered the request, and may have been started for it."""
    return row.outcome in {"ok", "wrong_start", "ungradable"} and row.start != "warm"


def was_answered_by_container(row: Measurement) -> bool:
    """Whether the container answered. An answer that refuses the photograph counts, too."""
    return row.outcome in {"ok", "wrong_start", "ungradable", "model_error"}


def may_have_reached_container(row: Measurement) -> bool:
    """Whether the request may have reached the container, so that AWS counted the request."""
    return was_answered_by_container(row) or row.outcome in {
        "timeout",
        "unavailable",
        "client_error",
    }


def _assign_datapoints_to_rows(
    rows: Sequence[Measurement],
    points: Iterable[Datapoint],
    may_cause: Callable[[Measurement], bool],
    period_s: int,
) -> dict[int, Datapoint]:
    """Return a dictionary from a row's position to the datapoint that certainly belongs to it."""
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

"""The CloudWatch metrics of asynchronous endpoints, with the names and units of SageMaker.

The source is the SageMaker AI developer guide, "Alarms and logs for tracking metrics from
asynchronous endpoints". An asynchronous endpoint has only the metrics in this guide. It has no
``Invocations`` and no ``OverheadLatency``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api.metrics import make_datum, make_dimensions
from drdeploy.hosting.sagemaker.cloudwatch import METRICS_NAMESPACE
from drdeploy.units import MICROSECONDS_PER_S, MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.asynchronous_inference.dispatcher import BacklogSample
    from drdeploy.hosting.local.asynchronous_inference.processing import RequestOutcome
    from drdeploy.hosting.local.asynchronous_inference.queues import AsynchronousQueues
    from drdeploy.hosting.sagemaker import Clock

EVERY_S = 10.0
"""Seconds between two samples of a backlog, which is the number of requests that wait or are being
processed. AWS publishes one sample a minute. With six samples a minute, their average is close to
the true mean.
"""


@dataclass(frozen=True)
class AsynchronousRequestMetrics:
    """The metrics that one asynchronous request adds to its endpoint."""

    outcome: RequestOutcome

    @property
    def region(self) -> str:
        """The region of the endpoint."""
        return self.outcome.region

    def make_metric_data(self) -> list[dict[str, Any]]:
        """Return the metrics of the request in the format of ``PutMetricData``."""
        outcome = self.outcome
        values: list[tuple[str, float | None, str]] = [
            ("InvocationsProcessed", float(not outcome.is_expired), "Count"),
            ("InvocationFailures", float(bool(outcome.failure_reason)), "Count"),
            ("ExpiredRequests", float(outcome.is_expired), "Count"),
            ("RequestDownloadFailures", float(outcome.has_download_failed), "Count"),
            ("ResponseUploadFailures", float(outcome.has_upload_failed), "Count"),
            ("NotificationFailures", float(outcome.has_notification_failed), "Count"),
            ("TimeInBacklog", outcome.backlog_s * MICROSECONDS_PER_S, "Microseconds"),
            ("TotalProcessingTime", outcome.total_s * MILLISECONDS_PER_S, "Milliseconds"),
            ("RequestDownloadLatency", _to_microseconds(outcome.download_s), "Microseconds"),
            ("ResponseUploadLatency", _to_microseconds(outcome.upload_s), "Microseconds"),
            ("ModelLatency", _to_microseconds(outcome.model_s), "Microseconds"),
        ]
        if outcome.model_outcome != "none":
            values += [
                ("Invocation4XXErrors", float(outcome.model_outcome == "4xx"), "None"),
                ("Invocation5XXErrors", float(outcome.model_outcome == "5xx"), "None"),
            ]
        dimensions = make_dimensions(outcome.endpoint, outcome.variant)
        return [
            make_datum(name, value, unit, dimensions, outcome.at)
            for name, value, unit in values
            if value is not None
        ]


class BacklogSampler:
    """Writes the metrics of unfinished requests (the backlog) to CloudWatch; thread-safe.

    Args:
        put: Called as ``put(region, namespace, data)`` to write data to a region's CloudWatch.
        queues: The queues of all asynchronous endpoints.
        clock: The clock that gives the time of each sample.
    """

    def __init__(
        self,
        put: Callable[[str, str, list[dict[str, Any]]], None],
        queues: AsynchronousQueues,
        clock: Clock,
    ) -> None:
        self._put = put
        self._queues = queues
        self._clock = clock
        self._lock = threading.Lock()
        self._due_s = 0.0

    def write_due_samples(self) -> None:
        """Write the metrics of each backlog, if it is time for the next sample."""
        with self._lock:
            now_s = self._clock.monotonic()
            if now_s < self._due_s:
                return
            self._due_s = now_s + EVERY_S
        self.write_samples()

    def write_samples(self) -> None:
        """Write the metrics of each backlog now."""
        for region, endpoint, sample in self._queues.measure_backlogs():
            self._put(region, METRICS_NAMESPACE, self._make_metric_data(endpoint, sample))

    def _make_metric_data(self, endpoint: str, sample: BacklogSample) -> list[dict[str, Any]]:
        size, instances = sample.backlog.requests, sample.instances
        dimensions = [{"Name": "EndpointName", "Value": endpoint}]
        return [
            make_datum(name, float(value), unit, dimensions, self._clock.now())
            for name, value, unit in (
                ("ApproximateBacklogSize", size, "Count"),
                # An endpoint without instances reports the same value as an endpoint with one
                # instance, so that target tracking on this metric starts an instance (developer
                # guide, "Autoscale an asynchronous endpoint").
                ("ApproximateBacklogSizePerInstance", size / max(1, instances), "Count"),
                ("ApproximateAgeOfOldestRequest", sample.backlog.oldest_age_s, "Seconds"),
                ("HasBacklogWithoutCapacity", size > 0 and not instances, "Count"),
            )
        ]


def _to_microseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MICROSECONDS_PER_S

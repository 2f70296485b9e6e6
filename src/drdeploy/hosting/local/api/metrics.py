"""The CloudWatch metrics of endpoints, under SageMaker's names and in its units.

Source: SageMaker AI developer guide, "Amazon SageMaker AI metrics in Amazon CloudWatch".

AWS publishes these metrics about a minute after the fact.  Here an invocation only appends to a
queue, which costs it nothing, and the queue is written to moto's CloudWatch before every read, so
that a reader finds every invocation that was answered before it asked.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from datetime import datetime

NAMESPACE = "AWS/SageMaker"
PERCENT = 100.0

Outcome = Literal["ok", "4xx", "5xx", "refused"]


@dataclass(frozen=True)
class InvocationMetrics:
    """What one invocation contributes to the metrics of its endpoint.

    Attributes:
        region: Region of the endpoint.
        endpoint: Name of the endpoint.
        variant: Name of the variant that was invoked.
        at: When the request arrived, UTC.
        outcome: Class of the model's answer; ``refused`` where the model was never asked.
        setup_s: Seconds that a worker took to start for this request (``ModelSetupTime``); None
            for a warm start.
        model_s: Seconds from sending the request to the container until its answer was read
            (``ModelLatency``).
        overhead_s: The rest of the time that the service took, setup included
            (``OverheadLatency``).
        memory_share: Returns memory in use over its limit, or None.  It is called when the
            metrics are written, because an engine takes up to a second to answer.
        utilization: Share of ``MaxConcurrency`` in use; None for real-time variants.
    """

    region: str
    endpoint: str
    variant: str
    at: datetime
    outcome: Outcome
    setup_s: float | None = None
    model_s: float | None = None
    overhead_s: float | None = None
    memory_share: Callable[[], float | None] = lambda: None
    utilization: float | None = None

    def data(self) -> list[dict[str, Any]]:
        """Return the metrics that this invocation has, as ``PutMetricData`` takes them.

        The error counts are there also where they are 0, so that their average is a rate.
        """
        values = [
            ("Invocations", 1.0, "None"),
            ("Invocation4XXErrors", float(self.outcome == "4xx"), "None"),
            ("Invocation5XXErrors", float(self.outcome == "5xx"), "None"),
        ]
        times = {
            "ModelSetupTime": self.setup_s,
            "ModelLatency": self.model_s,
            "OverheadLatency": self.overhead_s,
        }
        values += [
            (name, round(seconds * MICROSECONDS_PER_S, 1), "Microseconds")
            for name, seconds in times.items()
            if seconds is not None
        ]
        shares = {
            "MemoryUtilization": self.memory_share(),
            "ServerlessConcurrentExecutionsUtilization": self.utilization,
        }
        values += [
            (name, share * PERCENT, "Percent")
            for name, share in shares.items()
            if share is not None
        ]
        dimensions = [
            {"Name": "EndpointName", "Value": self.endpoint},
            {"Name": "VariantName", "Value": self.variant},
        ]
        # moto begins its periods at the first timestamp that it finds, CloudWatch on a whole
        # second: whole seconds make the two agree.  moto compares UTC times without a zone.
        timestamp = self.at.replace(microsecond=0, tzinfo=None)
        return [
            {
                "MetricName": name,
                "Dimensions": dimensions,
                "Timestamp": timestamp,
                "Value": value,
                "Unit": unit,
            }
            for name, value, unit in values
        ]


class MetricLog:
    """A queue of metrics on their way to CloudWatch; safe to use from several threads.

    Args:
        put: Writes data to a region's CloudWatch: ``put(region, namespace, data)``.
    """

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None]) -> None:
        self._put = put
        self._queue: deque[InvocationMetrics] = deque()
        self._lock = threading.Lock()

    def record(self, metrics: InvocationMetrics) -> None:
        """Queue the metrics of one invocation; returns at once."""
        self._queue.append(metrics)

    def flush(self) -> None:
        """Write everything that is queued."""
        # With the lock: a second reader must wait until the first has written, not find an
        # empty queue and read too early.
        with self._lock:
            while self._queue:
                metrics = self._queue.popleft()
                self._put(metrics.region, NAMESPACE, metrics.data())

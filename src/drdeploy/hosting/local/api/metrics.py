"""The CloudWatch metrics of endpoints, with the names and units of SageMaker.

The source is the SageMaker AI developer guide, "Amazon SageMaker AI metrics in Amazon CloudWatch"
and "Alarms and logs for tracking metrics from serverless endpoints".

On AWS, the metrics of an invocation appear after about a minute. Here, they appear at once. An
invocation only puts its metrics into a queue, which takes almost no time. When a client reads
CloudWatch, the queued metrics are first written to CloudWatch. The client therefore finds the
metrics of all earlier invocations.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from drdeploy.hosting.local.endpoints.pool import PoolLoad
from drdeploy.hosting.sagemaker.cloudwatch import METRICS_NAMESPACE
from drdeploy.units import MICROSECONDS_PER_S, PERCENT

if TYPE_CHECKING:
    from datetime import datetime


NO_CAPACITY = "NoCapacityInvocationFailures"
PER_INSTANCE = frozenset({"InvocationsPerInstance", "ConcurrentRequestsPerModel"})
"""The per-instance metrics of a variant; an inference component has per-copy metrics instead."""

CountedOutcome = Literal["ok", "4xx", "5xx", "refused"]


@dataclass(frozen=True)
class InvocationMetrics:
    """The metrics that one invocation adds to its endpoint.

    Attributes:
        region: The region of the endpoint.
        endpoint: The name of the endpoint.
        variant: The name of the variant that was invoked.
        at: When the request arrived, UTC.
        outcome: How the model answered; ``refused`` means that the model was not asked.
        setup_s: Seconds that it took to start a worker for this request (``ModelSetupTime``); None
            if a worker was already running.
        model_s: Seconds from sending the request to the container until the container's answer was
            read (``ModelLatency``).
        overhead_s: All seconds of the invocation that are not part of ``model_s``
            (``OverheadLatency``). They include ``setup_s``.
        memory_share: A function that returns which share of the memory limit is in use, or None if
            that is unknown. It is called only when the metrics are written, because a container
            engine takes up to a second to answer.
        load: How busy the variant was during this request. A throttled request has a load,
            too. None if the request got no worker for another reason.
        is_throttled: Whether the request was refused because of ``MaxConcurrency``.
        component: The name of the inference component that was invoked; empty if the endpoint hosts
            none.
        first_part_s: For a streamed answer, two numbers: the seconds until the container sent the
            first part, and the seconds that the service itself added. Otherwise, None.
        mid_stream_errors: The number of errors after the first part of a streamed answer; None for
            an answer that is not streamed.
        is_without_capacity: Whether the request failed because no copy of the inference component
            was running.
    """

    region: str
    endpoint: str
    variant: str
    at: datetime
    outcome: CountedOutcome
    setup_s: float | None = None
    model_s: float | None = None
    overhead_s: float | None = None
    memory_share: Callable[[], float | None] = lambda: None
    load: PoolLoad | None = None
    is_throttled: bool = False
    component: str = ""
    first_part_s: tuple[float, float] | None = None
    mid_stream_errors: int | None = None
    is_without_capacity: bool = False

    def make_metric_data(self) -> list[dict[str, Any]]:
        """Return the metrics of the invocation in the format of ``PutMetricData``.

        Error counts of 0 are included too. With these zeros, the average of the counts is an error
        rate.
        """
        if self.is_without_capacity:
            dimensions = make_component_dimensions(self.component)
            return [make_datum(NO_CAPACITY, 1.0, "None", dimensions, self.at)]
        values: list[tuple[str, float | None, str]] = [
            ("Invocations", 1.0, "None"),
            ("Invocation4XXErrors", float(self.outcome == "4xx"), "None"),
            ("Invocation5XXErrors", float(self.outcome == "5xx"), "None"),
            *(
                (name, None if took_s is None else took_s * MICROSECONDS_PER_S, "Microseconds")
                for name, took_s in (
                    ("ModelSetupTime", self.setup_s),
                    ("ModelLatency", self.model_s),
                    ("OverheadLatency", self.overhead_s),
                )
            ),
        ]
        values += self._list_stream_values()
        if self.load is not None:
            is_serverless = self.load.max_concurrency is not None
            values += self._list_serverless_values() if is_serverless else self._list_own_values()
        data = self._make_data_of_values(values, make_dimensions(self.endpoint, self.variant))
        if self.component:
            data += self._make_data_of_values(
                [
                    *(one for one in values if one[0] not in PER_INSTANCE),
                    *self._list_values_per_copy(),
                ],
                make_component_dimensions(self.component),
            )
        return data

    def _make_data_of_values(
        self, values: list[tuple[str, float | None, str]], dimensions: list[dict[str, str]]
    ) -> list[dict[str, Any]]:
        return [
            make_datum(name, value, unit, dimensions, self.at)
            for name, value, unit in values
            if value is not None
        ]

    def _list_values_per_copy(self) -> list[tuple[str, float | None, str]]:
        """Return the metrics that only inference components have."""
        copies = self.load.workers if self.load is not None else 0
        if not copies or self.load is None:
            return []
        return [
            ("InvocationsPerCopy", 1.0 / copies, "None"),
            ("ConcurrentRequestsPerCopy", self.load.requests / copies, "None"),
        ]

    def _list_stream_values(self) -> list[tuple[str, float | None, str]]:
        """Return the metrics that only streamed answers have."""
        if self.mid_stream_errors is None:
            return []
        values: list[tuple[str, float | None, str]] = [
            ("MidStreamErrors", float(self.mid_stream_errors), "None")
        ]
        if self.first_part_s is not None:
            model_s, overhead_s = self.first_part_s
            values += [
                (name, took_s * MICROSECONDS_PER_S, "Microseconds")
                for name, took_s in (
                    ("FirstChunkLatency", model_s + overhead_s),
                    ("FirstChunkModelLatency", model_s),
                    ("FirstChunkOverheadLatency", overhead_s),
                )
            ]
        return values

    def _list_own_values(self) -> list[tuple[str, float | None, str]]:
        """Return the metrics that only real-time variants have."""
        load = self.load or PoolLoad(0, 0)
        return [
            ("InvocationModelErrors", float(self.outcome != "ok"), "None"),
            ("InvocationsPerInstance", 1.0 / load.workers if load.workers else None, "None"),
            ("ConcurrentRequestsPerModel", float(load.requests), "None"),
        ]

    def _list_serverless_values(self) -> list[tuple[str, float | None, str]]:
        """Return the metrics that only serverless variants have."""
        load = self.load or PoolLoad(0, 0)
        share = self.memory_share()
        utilization = 1.0 if self.is_throttled else load.requests / (load.max_concurrency or 1)
        values: list[tuple[str, float | None, str]] = [
            ("MemoryUtilization", None if share is None else share * PERCENT, "Percent"),
            ("ServerlessConcurrentExecutionsUtilization", utilization, "None"),
        ]
        if load.provisioned:
            within = min(load.requests, load.provisioned)
            is_beyond = self.is_throttled or load.requests > load.provisioned
            prefix = "ServerlessProvisionedConcurrency"
            values += [
                (f"{prefix}Executions", float(within), "Count"),
                (f"{prefix}Utilization", within / load.provisioned, "None"),
                (f"{prefix}Invocations", float(not is_beyond), "None"),
                (f"{prefix}SpilloverInvocations", float(is_beyond), "None"),
            ]
        return values


def make_dimensions(endpoint: str, variant: str) -> list[dict[str, str]]:
    """Return the dimensions that all metrics of a variant have."""
    return [
        {"Name": "EndpointName", "Value": endpoint},
        {"Name": "VariantName", "Value": variant},
    ]


def make_component_dimensions(component: str) -> list[dict[str, str]]:
    """Return the dimensions that all metrics of an inference component have."""
    return [{"Name": "InferenceComponentName", "Value": component}]


def make_datum(
    name: str, value: float, unit: str, dimensions: list[dict[str, str]], at: datetime
) -> dict[str, Any]:
    """Return one value of a metric, in the format of ``PutMetricData``."""
    return {
        "MetricName": name,
        "Dimensions": dimensions,
        "Timestamp": at,
        "Value": value,
        "Unit": unit,
    }


class QueuedMetrics(Protocol):
    """The interface of an entry in the queue of a :class:`MetricLog`."""

    @property
    def region(self) -> str:
        """The region whose CloudWatch gets the metrics."""

    def make_metric_data(self) -> list[dict[str, Any]]:
        """Return the metrics in the format of ``PutMetricData``."""


class MetricLog:
    """A queue of metrics for CloudWatch; safe to use from several threads.

    Args:
        put: Called as ``put(region, namespace, data)`` to write data to a region's CloudWatch.
    """

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None]) -> None:
        self._put = put
        self._queue: deque[QueuedMetrics] = deque()
        self._lock = threading.Lock()

    def queue_metrics(self, metrics: QueuedMetrics) -> None:
        """Queue the metrics of one invocation, and return at once."""
        self._queue.append(metrics)

    def write_queued_metrics(self) -> None:
        """Write all queued metrics."""
        # The lock makes a second reader wait until the first reader has written the queue. Without
        # the lock, the second reader would find an empty queue and read CloudWatch too early.
        with self._lock:
            while self._queue:
                metrics = self._queue.popleft()
                self._put(metrics.region, METRICS_NAMESPACE, metrics.make_metric_data())

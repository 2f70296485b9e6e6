"""The metrics that CloudWatch shows of an endpoint, in its units and under its names.

What happened is noted at once and written to moto's CloudWatch before the next read, so that
recording costs an invocation nothing and no reader misses one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

NAMESPACE = "AWS/SageMaker"
PERCENT = 100.0

Outcome = Literal["ok", "4xx", "5xx", "refused"]


@dataclass(frozen=True)
class InvocationMetrics:
    """One invocation, as its metrics see it.

    Attributes:
        region: Where the endpoint is.
        endpoint: Its name.
        variant: Which one was invoked.
        at: When the request came, UTC.
        outcome: What the model answered; ``refused`` if it was not asked.
        setup_s: How long the worker took to start, if it did so for this request.
        model_s: From the request to the container until its answer was read.
        overhead_s: The rest, setup included.
        memory_share: Tells the memory in use over the limit, or None; asked when written.
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

    def values(self) -> Iterator[tuple[str, float, str]]:
        """Name, value and unit of each metric that this observation has."""
        yield "Invocations", 1.0, "None"
        yield "Invocation4XXErrors", float(self.outcome == "4xx"), "None"
        yield "Invocation5XXErrors", float(self.outcome == "5xx"), "None"
        times = {
            "ModelSetupTime": self.setup_s,
            "ModelLatency": self.model_s,
            "OverheadLatency": self.overhead_s,
        }
        for name, seconds in times.items():
            if seconds is not None:
                yield name, round(seconds * MICROSECONDS_PER_S, 1), "Microseconds"
        memory_share = self.memory_share()
        if memory_share is not None:
            yield "MemoryUtilization", memory_share * PERCENT, "Percent"
        if self.utilization is not None:
            yield "ServerlessConcurrentExecutionsUtilization", self.utilization * PERCENT, "Percent"

    def data(self) -> list[dict[str, Any]]:
        """As ``PutMetricData`` takes it.

        Stamped with the second that the request came in: readers ask for whole seconds, and
        the one that is not over yet they do not get.  moto computes in UTC without a zone.
        """
        dimensions = [
            {"Name": "EndpointName", "Value": self.endpoint},
            {"Name": "VariantName", "Value": self.variant},
        ]
        return [
            {
                "MetricName": name,
                "Dimensions": dimensions,
                "Timestamp": self.at.replace(microsecond=0, tzinfo=None),
                "Value": value,
                "Unit": unit,
            }
            for name, value, unit in self.values()
        ]


class MetricLog:
    """Observations on their way to CloudWatch; safe to use from several threads.

    Args:
        put: Writes data of a region: ``put(region, namespace, data)``.
    """

    def __init__(self, put: Callable[[str, str, list[dict[str, Any]]], None]) -> None:
        self._put = put
        self._waiting: deque[InvocationMetrics] = deque()
        self._lock = threading.Lock()

    def note(self, observation: InvocationMetrics) -> None:
        """Remember an observation."""
        self._waiting.append(observation)

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            while self._waiting:
                observation = self._waiting.popleft()
                self._put(observation.region, NAMESPACE, observation.data())

"""Render the shared counters in Prometheus' text format.

Only this module imports ``prometheus_client``. The import therefore slows down the first request
for ``/metrics``, and not the cold start.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from drdeploy.hosting.serving.counters import BUCKETS_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from drdeploy.hosting.serving.counters import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_prometheus_metrics(snapshot: Snapshot, info: Mapping[str, str]) -> bytes:
    """Return the counters as Prometheus text; ``info`` holds labels that describe the model."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_MetricsCollector(snapshot, info))
    return generate_latest(registry)


class _MetricsCollector:
    def __init__(self, snapshot: Snapshot, info: Mapping[str, str]) -> None:
        self._snapshot = snapshot
        self._info = info

    def collect(self) -> Iterator[Metric]:
        model = GaugeMetricFamily("drdeploy_model_info", "The model served.", labels=[*self._info])
        model.add_metric([*self._info.values()], 1.0)
        yield model
        snapshot = self._snapshot
        yield CounterMetricFamily(
            "drdeploy_invocations", "Invocations admitted.", value=snapshot.invocations
        )
        yield CounterMetricFamily("drdeploy_images", "Images classified.", value=snapshot.images)
        yield CounterMetricFamily(
            "drdeploy_worker_starts", "Workers that became ready.", value=snapshot.worker_starts
        )
        responses = CounterMetricFamily(
            "drdeploy_responses", "Invocations answered, by status.", labels=["status"]
        )
        for status, count in snapshot.responses.items():
            responses.add_metric([str(status)], count)
        yield responses
        bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
        for stage, durations in snapshot.durations.items():
            cumulative = map(float, accumulate(durations.counts))  # buckets are cumulative
            yield HistogramMetricFamily(
                f"drdeploy_{stage}_duration_seconds",
                f"Duration of {stage}.",
                buckets=list(zip(bounds, cumulative, strict=True)),
                sum_value=durations.sum_s,
            )

"""Store the samples of metrics, grouped by the second of their timestamps."""

from __future__ import annotations

import bisect
import threading
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.monitoring.monitoring_errors import (
    make_combination_error,
    make_parameter_error,
)
from drdeploy.hosting.local.monitoring.time_series import to_epoch_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NO_UNIT = "None"
VALUE_MAX = 2.0**360
"""The largest absolute value of a sample (API reference, ``MetricDatum``)."""


@dataclass(frozen=True, order=True)
class MetricIdentity:
    """The identity of a metric: its namespace, its name, and its dimensions."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    @classmethod
    def from_request(
        cls, request: Mapping[str, Any], namespace: str | None = None
    ) -> MetricIdentity:
        """Read the metric from the members ``MetricName`` and ``Dimensions`` of a request."""
        pairs = sorted((one["Name"], one["Value"]) for one in request.get("Dimensions") or ())
        return cls(request.get("Namespace") or namespace or "", request["MetricName"], tuple(pairs))

    def describe(self) -> dict[str, Any]:
        """Return the metric as ``ListMetrics`` shows it."""
        return {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
        }


@dataclass(frozen=True)
class StatisticSet:
    """The count, sum, minimum and maximum of some samples, whose single values are not known."""

    count: float
    total: float
    minimum: float
    maximum: float


@dataclass
class MetricSamples:
    """Some samples of one metric: values, how often each value occurred, and statistic sets."""

    values: array[float] = field(default_factory=lambda: array("d"))
    counts: array[float] = field(default_factory=lambda: array("d"))
    sets: list[StatisticSet] = field(default_factory=list)

    def add_value(self, value: float, count: float = 1.0) -> None:
        """Add a value that occurred ``count`` times."""
        self.values.append(value)
        self.counts.append(count)

    def extend(self, other: MetricSamples) -> None:
        """Add the samples of another :class:`MetricSamples`."""
        self.values.extend(other.values)
        self.counts.extend(other.counts)
        self.sets.extend(other.sets)

    def __bool__(self) -> bool:
        """Return whether there is a sample."""
        return bool(self.values or self.sets)


class _StoredSeries:
    """The samples of one metric, by second and unit."""

    def __init__(self) -> None:
        self.seconds: list[int] = []  # in order
        self.samples: dict[int, dict[str, MetricSamples]] = {}

    def samples_at(self, second: int, unit: str) -> MetricSamples:
        if second not in self.samples:
            self.samples[second] = {}
            bisect.insort(self.seconds, second)
        return self.samples[second].setdefault(unit, MetricSamples())


class MetricStore:
    """The metrics of one region; safe to use from several threads.

    Attributes:
        version: A number that each successful call of :meth:`put_metric_data` increases.
    """

    def __init__(self) -> None:
        self._series: dict[MetricIdentity, _StoredSeries] = {}
        self._lock = threading.Lock()
        self.version = 0

    def put_metric_data(self, namespace: str, data: list[dict[str, Any]], now_s: float) -> None:
        """Store all data of a ``PutMetricData`` request, or nothing if the request is refused.

        Raises:
            MonitoringError: A datum has no value, has more than one of ``Value``, ``Values`` and
                ``StatisticValues``, has a value that is not a number, or has more or fewer
                ``Counts`` than ``Values``.
        """
        read = [_parse_metric_datum(datum, number) for number, datum in enumerate(data, 1)]
        with self._lock:
            for datum, samples in zip(data, read, strict=True):
                key = MetricIdentity.from_request(datum, namespace)
                moment = datum.get("Timestamp")
                second = int(now_s if moment is None else to_epoch_s(moment))
                series = self._series.setdefault(key, _StoredSeries())
                series.samples_at(second, datum.get("Unit") or NO_UNIT).extend(samples)
            self.version += 1

    def list_metrics(self) -> list[MetricIdentity]:
        """Return all metrics, sorted."""
        with self._lock:
            return sorted(self._series)

    def find_last_second(self, metric: MetricIdentity) -> int | None:
        """Return the second of a metric's last sample, or None without a sample."""
        with self._lock:
            series = self._series.get(metric)
            return series.seconds[-1] if series is not None else None

    def read_periods(
        self, metric: MetricIdentity, start_s: int, end_s: int, period_s: int
    ) -> Iterator[tuple[int, dict[str, MetricSamples]]]:
        """Yield each period that has samples: its first second, and its samples by unit.

        Periods are counted from ``start_s``. Samples before ``start_s``, or from ``end_s`` on, are
        left out.
        """
        periods: dict[int, dict[str, MetricSamples]] = {}
        with self._lock:
            series = self._series.get(metric)
            if series is None:
                return
            low = bisect.bisect_left(series.seconds, start_s)
            high = bisect.bisect_left(series.seconds, end_s)
            for second in series.seconds[low:high]:
                begin = second - (second - start_s) % period_s
                by_unit = periods.setdefault(begin, {})
                for unit, samples in series.samples[second].items():
                    by_unit.setdefault(unit, MetricSamples()).extend(samples)
        yield from periods.items()


def _parse_metric_datum(datum: Mapping[str, Any], number: int) -> MetricSamples:
    """Return the samples of one member of ``MetricData``."""
    where = f"MetricData.member.{number}"
    kinds = [one for one in ("Value", "Values", "StatisticValues") if datum.get(one) is not None]
    if not kinds:
        raise make_parameter_error(f"The parameter {where}.Value or .Values is required.")
    if len(kinds) > 1:
        raise make_combination_error(
            f"The parameters {where}.{kinds[0]} and {where}.{kinds[1]} are mutually exclusive."
        )
    samples = MetricSamples()
    if kinds == ["StatisticValues"]:
        given = datum["StatisticValues"]
        samples.sets.append(
            StatisticSet(
                *(
                    _read_number(given.get(name), f"{where}.StatisticValues.{name}")
                    for name in ("SampleCount", "Sum", "Minimum", "Maximum")
                )
            )
        )
        return samples
    values = [datum["Value"]] if kinds == ["Value"] else datum["Values"]
    counts = datum.get("Counts") or [1.0] * len(values)
    if len(counts) != len(values):
        raise make_parameter_error(
            f"The parameters {where}.Values and {where}.Counts must be of the same size."
        )
    for value, count in zip(values, counts, strict=True):
        samples.add_value(
            _read_number(value, f"{where}.Value"), _read_number(count, f"{where}.Counts")
        )
    return samples


def _read_number(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as err:
        raise make_parameter_error(f"The value {value} for parameter {where} is invalid.") from err
    if not abs(number) <= VALUE_MAX:  # NaN is not, either
        raise make_parameter_error(f"The value {value} for parameter {where} is invalid.")
    return number

"""Answer GetMetricStatistics, GetMetricData and ListMetrics.

Source: CloudWatch API reference. AWS publishes SageMaker's metrics once a minute. The local service
publishes them as soon as they are measured, so even a period of one second has data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.monitoring import statistics
from drdeploy.hosting.local.monitoring.metric_math import MathContext, evaluate_expression
from drdeploy.hosting.local.monitoring.metric_search import make_search_condition
from drdeploy.hosting.local.monitoring.metric_store import (
    MetricIdentity,
    MetricSamples,
    MetricStore,
)
from drdeploy.hosting.local.monitoring.monitoring_errors import (
    make_combination_error,
    make_parameter_error,
    make_validation_error,
)
from drdeploy.hosting.local.monitoring.time_series import TimeRange, TimeSeries, to_epoch_s
from drdeploy.hosting.sagemaker.cloudwatch import DATAPOINTS_MAX
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.hosting.local.monitoring.statistics import Statistic

SHORT_PERIODS_S = (1, 5, 10, 20, 30)
MINUTE_S = 60
DATA_POINTS_MAX = 100_800
"""The largest number of points in one answer of GetMetricData. ``DATAPOINTS_MAX`` is the limit for
GetMetricStatistics.
"""
QUERIES_MAX = 500
PAGE_METRICS = 500
RECENT_S = 3 * SECONDS_PER_HOUR
"""``RecentlyActive`` selects the metrics whose last sample is at most this many seconds old."""


@dataclass(frozen=True)
class MetricReader:
    """Reads the metrics of one region; ``now_s`` is the time of the request."""

    store: MetricStore
    now_s: float

    def get_metric_statistics(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``GetMetricStatistics``.

        Raises:
            MonitoringError: A parameter is not valid, or the answer would have too many datapoints.
        """
        basic = [statistics.parse_basic_statistic(one) for one in request.get("Statistics") or ()]
        extended = [
            statistics.parse_extended_statistic(one)
            for one in request.get("ExtendedStatistics") or ()
        ]
        if not basic and not extended:
            raise make_combination_error("Must specify either Statistics or ExtendedStatistics")
        period_s = check_period(request["Period"])
        span = read_time_range(request, period_s)
        wanted = len(span.list_period_starts(period_s))
        if wanted > DATAPOINTS_MAX:
            raise make_combination_error(
                f"You have requested up to {wanted} datapoints, which exceeds the limit of "
                f"{DATAPOINTS_MAX}. You may reduce the datapoints requested by increasing "
                "Period, or decreasing the time range."
            )
        metric = MetricIdentity.from_request(request)
        points = [
            point
            for at, by_unit in self.store.read_periods(metric, span.start_s, span.end_s, period_s)
            for unit, samples in by_unit.items()
            if request.get("Unit") in {None, unit}
            and (point := _make_datapoint(at, unit, samples, basic, extended)) is not None
        ]
        return {"Label": metric.name, "Datapoints": points}

    def get_metric_data(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``GetMetricData``.

        Raises:
            MonitoringError: A parameter or a query is not valid, or the local service does not
                support it.
        """
        queries = request.get("MetricDataQueries") or ()
        span = read_time_range(request, find_shortest_period(queries))
        results = []
        for query, found in self.evaluate_queries(queries, span, may_search=True):
            for series in found if isinstance(found, list) else [found]:
                label = _make_label_of_result(query, series, is_one_of_many=isinstance(found, list))
                results.append((query["Id"], label, list(series.points.items())))
        if request.get("ScanBy") != "TimestampAscending":
            results = [(name, label, points[::-1]) for name, label, points in results]
        return _make_page_of_results(results, request)

    def evaluate_queries(
        self, queries: Sequence[Mapping[str, Any]], span: TimeRange, *, may_search: bool
    ) -> list[tuple[Mapping[str, Any], TimeSeries | list[TimeSeries]]]:
        """Return each query whose ``ReturnData`` is not false, with its time series.

        Raises:
            MonitoringError: A query is not valid, or the local service does not support it.
        """
        _check_queries(queries)
        metrics = {
            query["Id"]: self.read_series(query["MetricStat"], span, query)
            for query in queries
            if query.get("MetricStat")
        }
        period_s = find_shortest_period(queries)

        def search_series_of_metrics(
            text: str, statistic: str, search_period_s: int
        ) -> list[TimeSeries]:
            is_found = make_search_condition(text)
            check_period(search_period_s)
            parsed = statistics.parse_statistic(statistic)
            return [
                self._read_metric(metric, parsed, span, search_period_s, None)
                for metric in self.store.list_metrics()
                if is_found(metric)
            ]

        context = MathContext(
            span,
            metrics,
            {one["Id"]: one["Expression"] for one in queries if one.get("Expression")},
            search_series_of_metrics if may_search else None,
            period_s,
        )
        return [
            (
                query,
                metrics[query["Id"]]
                if query.get("MetricStat")
                else evaluate_expression(query["Id"], context),
            )
            for query in queries
            if query.get("ReturnData", True) is not False
        ]

    def read_series(
        self, metric_stat: Mapping[str, Any], span: TimeRange, query: Mapping[str, Any]
    ) -> TimeSeries:
        """Return the time series of a ``MetricStat``.

        Raises:
            MonitoringError: CloudWatch does not support the statistic or the period.
        """
        statistic = statistics.parse_statistic(metric_stat["Stat"])
        series = self._read_metric(
            MetricIdentity.from_request(metric_stat["Metric"]),
            statistic,
            span,
            check_period(metric_stat["Period"]),
            metric_stat.get("Unit"),
        )
        return TimeSeries(
            series.points, series.period_s, query.get("Id", ""), query.get("Label") or series.label
        )

    def list_metrics(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``ListMetrics``.

        Raises:
            MonitoringError: ``RecentlyActive`` or ``NextToken`` is not valid.
        """
        recently = request.get("RecentlyActive")
        if recently not in {None, "PT3H"}:
            raise make_parameter_error("The value of RecentlyActive must be PT3H.")
        wanted = request.get("Dimensions") or ()
        found = [
            metric
            for metric in self.store.list_metrics()
            if request.get("Namespace") in {None, metric.namespace}
            and request.get("MetricName") in {None, metric.name}
            and all(_has_dimension(metric, one) for one in wanted)
            and (not recently or self._is_recently_active(metric))
        ]
        start = read_page_start(request.get("NextToken"))
        page: dict[str, Any] = {
            "Metrics": [one.describe() for one in found[start : start + PAGE_METRICS]]
        }
        if start + PAGE_METRICS < len(found):
            page["NextToken"] = str(start + PAGE_METRICS)
        return page

    def _is_recently_active(self, metric: MetricIdentity) -> bool:
        last = self.store.find_last_second(metric)
        return last is not None and last >= self.now_s - RECENT_S

    def _read_metric(
        self,
        metric: MetricIdentity,
        statistic: Statistic,
        span: TimeRange,
        period_s: int,
        unit: str | None,
    ) -> TimeSeries:
        points = {}
        for at, by_unit in self.store.read_periods(metric, span.start_s, span.end_s, period_s):
            samples = MetricSamples()
            for one, found in by_unit.items():
                if unit in {None, one}:
                    samples.extend(found)
            value = statistic.compute(samples) if samples else None
            if value is not None:
                points[at] = value
        dimensions = " ".join(value for _, value in metric.dimensions)
        label = " ".join(one for one in (dimensions, metric.name, statistic.name) if one)
        return TimeSeries(points, period_s, label=label)


def check_period(period: Any) -> int:
    """Check that CloudWatch supports a period, and return it in seconds.

    Raises:
        MonitoringError: CloudWatch does not support the period.
    """
    period_s = int(period)
    if period_s not in SHORT_PERIODS_S and (period_s < MINUTE_S or period_s % MINUTE_S):
        raise make_parameter_error(
            f"The parameter Period must be {', '.join(map(str, SHORT_PERIODS_S))} or a multiple "
            f"of {MINUTE_S}, not {period_s}."
        )
    return period_s


def read_time_range(request: Mapping[str, Any], period_s: int) -> TimeRange:
    """Return a request's time range; its start is usually rounded down to a whole minute.

    If the period is shorter than a minute, the start is rounded down to a multiple of the period.

    Raises:
        MonitoringError: The range does not end after its start.
    """
    start, end = (to_epoch_s(request[name]) for name in ("StartTime", "EndTime"))
    if start >= end:
        raise make_validation_error(
            "The parameter StartTime must be less than the parameter EndTime."
        )
    step = min(period_s, MINUTE_S)
    return TimeRange(int(start // step * step), int(-(-end // 1)))


def read_page_start(token: str | None) -> int:
    """Return the index of a page's first item in the whole list.

    Raises:
        MonitoringError: The token is not a whole number, so this service did not issue it.
    """
    if token is None:
        return 0
    if not token.isdecimal():
        raise make_parameter_error("Request parameter NextToken is invalid")
    return int(token)


def _make_datapoint(
    at: int,
    unit: str,
    samples: MetricSamples,
    basic: Sequence[Statistic],
    extended: Sequence[Statistic],
) -> dict[str, Any] | None:
    point: dict[str, Any] = {"Timestamp": datetime.fromtimestamp(at, UTC), "Unit": unit}
    point |= {one.name: one.compute(samples) for one in basic}
    computed = {one.name: one.compute(samples) for one in extended}
    known = {name: value for name, value in computed.items() if value is not None}
    if known:
        point["ExtendedStatistics"] = known
    return point if basic or known else None


def _check_queries(queries: Sequence[Mapping[str, Any]]) -> None:
    if len(queries) > QUERIES_MAX:
        raise make_validation_error(f"A request takes at most {QUERIES_MAX} queries.")
    ids = [query["Id"] for query in queries]
    for number, query in enumerate(queries, 1):
        where = f"MetricDataQueries.member.{number}"
        if not (query["Id"][:1].islower() and query["Id"].replace("_", "a").isalnum()):
            raise make_validation_error(
                f'The value "{query["Id"]}" for parameter {where}.Id is not matching the expected '
                "pattern: it must begin with a lower-case letter and have only letters, digits, _."
            )
        if ids.count(query["Id"]) > 1:
            raise make_validation_error(
                f"The values for parameter Id are not unique: {query['Id']}"
            )
        if bool(query.get("MetricStat")) == bool(query.get("Expression")):
            raise make_validation_error(f"{where} must have either MetricStat or Expression.")
        if "${" in (query.get("Label") or ""):
            raise make_validation_error(
                f"{where}.Label: the local service does not serve dynamic labels (${{...}})."
            )


def find_shortest_period(queries: Sequence[Mapping[str, Any]]) -> int:
    """Return the shortest period in the queries, in seconds; a minute if no query has a period.

    Raises:
        MonitoringError: CloudWatch does not support a period.
    """
    periods = [
        check_period(period)
        for query in queries
        if (period := (query.get("MetricStat") or {}).get("Period") or query.get("Period"))
    ]
    return min(periods, default=MINUTE_S)


def _make_label_of_result(
    query: Mapping[str, Any], series: TimeSeries, *, is_one_of_many: bool
) -> str:
    own = query.get("Label")
    if query.get("MetricStat"):
        return str(own or series.label)
    if is_one_of_many:
        return " ".join(one for one in (own, series.label) if one)
    return str(query["Id"] if own is None else own)


def _make_page_of_results(
    results: Sequence[tuple[str, str, list[tuple[int, float]]]], request: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one page, on which all series together have at most ``MaxDatapoints`` points."""
    stated = request.get("MaxDatapoints")
    limit = DATA_POINTS_MAX if stated is None else stated
    if not 1 <= limit <= DATA_POINTS_MAX:
        raise make_validation_error(f"MaxDatapoints must be 1 to {DATA_POINTS_MAX}.")
    each = max(1, limit // max(1, len(results)))
    start = read_page_start(request.get("NextToken"))
    page: dict[str, Any] = {"MetricDataResults": [], "Messages": []}
    for name, label, points in results:
        shown = points[start : start + each]
        is_last = start + each >= len(points)
        if not is_last:
            page["NextToken"] = str(start + each)
        page["MetricDataResults"].append(
            {
                "Id": name,
                "Label": label,
                "Timestamps": [datetime.fromtimestamp(at, UTC) for at, _ in shown],
                "Values": [value for _, value in shown],
                "StatusCode": "Complete" if is_last else "PartialData",
            }
        )
    return page


def _has_dimension(metric: MetricIdentity, wanted: Mapping[str, str]) -> bool:
    value = wanted.get("Value")
    return any(
        name == wanted["Name"] and value in {None, found} for name, found in metric.dimensions
    )

"""CloudWatch's alarms: moto stores the alarms; this module checks, evaluates and reports them.

An alarm is evaluated at the end of each of its periods, and also when new data arrives. A new alarm
is evaluated within a second. A change of an alarm's state is written to the alarm's history and
sent to SNS topics.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.local.api.alarm_requests import (
    SCALING,
    check_new_alarm_and_list_queries,
    list_metric_queries_of_alarm_request,
    refuse_value_not_offered,
)
from drdeploy.hosting.local.monitoring import statistics
from drdeploy.hosting.local.monitoring.alarms import AlarmRule
from drdeploy.hosting.local.monitoring.metric_queries import (
    MetricReader,
    find_shortest_period,
    read_page_start,
)
from drdeploy.hosting.local.monitoring.monitoring_errors import (
    MonitoringError,
    make_combination_error,
    make_validation_error,
)
from drdeploy.hosting.local.monitoring.time_series import TimeRange, TimeSeries
from drdeploy.hosting.local.resource_store import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.hosting.local.monitoring.alarms import AlarmState
    from drdeploy.hosting.local.monitoring.metric_store import MetricStore

log = logging.getLogger(__name__)

HISTORY_MAX = 10_000
EVALUATION_S = 60
"""Seconds that a state from ``SetAlarmState`` lasts, unless the period of the alarm is shorter. AWS
evaluates an alarm again after this time.
"""
PAGE_ALARMS = 100
STATES: dict[str, AlarmState] = {
    "OK": "OK",
    "ALARM": "ALARM",
    "INSUFFICIENT_DATA": "INSUFFICIENT_DATA",
}
LOW_SAMPLES = 10
"""An alarm whose ``EvaluateLowSampleCountPercentile`` is ``ignore`` is evaluated only if there are
enough samples. For a percentile p from 0.5 to 1, at least 10 / (1 - p) samples are needed. For a
smaller p, at least 10 / p samples are needed.
"""


@dataclass(frozen=True)
class AlarmHistoryItem:
    """One entry of an alarm's history.

    Attributes:
        alarm_name: The name of the alarm.
        timestamp: When the entry was made.
        kind: The ``HistoryItemType``, for example ``StateUpdate``.
        summary: A sentence about what happened.
        data: The details, as a JSON document.
    """

    alarm_name: str
    timestamp: datetime
    kind: str
    summary: str
    data: str

    def describe(self) -> dict[str, Any]:
        """Return the entry as ``DescribeAlarmHistory`` shows it."""
        return {
            "AlarmName": self.alarm_name,
            "AlarmType": "MetricAlarm",
            "Timestamp": self.timestamp,
            "HistoryItemType": self.kind,
            "HistorySummary": self.summary,
            "HistoryData": self.data,
        }


class AlarmBook:
    """The alarms of one region.

    Args:
        backend: moto's CloudWatch backend for the region. The backend stores the alarms.
        store: The metrics of the region.
    """

    def __init__(self, backend: Any, store: MetricStore) -> None:
        self._backend = backend
        self._store = store
        self._history: deque[AlarmHistoryItem] = deque(maxlen=HISTORY_MAX)
        self._lock = threading.RLock()

    # -- operations ------------------------------------------------------------------------

    def check_new_alarm(self, request: Mapping[str, Any], now_s: float) -> None:
        """Refuse a ``PutMetricAlarm`` request that CloudWatch or the local service does not allow.

        Raises:
            MonitoringError: The message says what is not allowed.
        """
        queries = check_new_alarm_and_list_queries(request)
        period_s = find_shortest_period(queries)
        span = TimeRange(int(now_s), int(now_s) + period_s)
        self._compute_series_of_queries(queries, span)

    def complete_new_alarm(self, request: Mapping[str, Any], before: Any, now_s: float) -> None:
        """Store those properties of a new alarm that moto does not store.

        ``before`` is an earlier alarm of the same name, or None. The new alarm replaces the earlier
        alarm, and takes over its state.
        """
        with self._lock:
            alarm = self._backend.alarms[request["AlarmName"]]
            alarm.extended_statistic = request.get("ExtendedStatistic")
            alarm.drdeploy_queries = list_metric_queries_of_alarm_request(request)
            alarm.drdeploy_evaluated = None
            if before is None:
                alarm.state_value = "INSUFFICIENT_DATA"
            else:
                for name in ("state_value", "state_reason", "state_reason_data"):
                    setattr(alarm, name, getattr(before, name))
                alarm.drdeploy_changed_s = vars(before).get("drdeploy_changed_s")
                alarm.state_updated_timestamp = before.state_updated_timestamp
            done = "created" if before is None else "updated"
            data = {"version": "1.0", "type": done.removesuffix("d").capitalize()}
            self._append_to_history(
                alarm, "ConfigurationUpdate", f'Alarm "{alarm.name}" {done}', data, now_s
            )

    def describe_alarms(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``DescribeAlarms``.

        Raises:
            MonitoringError: The request sets both ``AlarmNames`` and ``AlarmNamePrefix``.
        """
        names = request.get("AlarmNames")
        prefix = request.get("AlarmNamePrefix")
        if names and prefix:
            raise make_combination_error("AlarmNames and AlarmNamePrefix are mutually exclusive.")
        found = [
            alarm
            for alarm in sorted(self._list_alarms(), key=lambda one: str(one.name))
            if _asks_for_metric_alarms(request)
            and (not names or alarm.name in names)
            and alarm.name.startswith(prefix or "")
            and request.get("StateValue") in {None, alarm.state_value}
            and _has_action_with_prefix(alarm, request.get("ActionPrefix"))
        ]
        return _cut_page_of_alarms("MetricAlarms", found, request)

    def describe_alarms_for_metric(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``DescribeAlarmsForMetric``."""
        wanted = list_metric_queries_of_alarm_request(
            {**request, "ExtendedStatistic": None, "Statistic": "Sum", "Period": 60}
        )
        metric = _sort_dimensions_of_metric(wanted[0]["MetricStat"]["Metric"])
        given = ("Statistic", "ExtendedStatistic", "Period", "Unit")
        attributes = ("statistic", "extended_statistic", "period", "unit")
        found = [
            alarm
            for alarm in self._list_alarms()
            if any(
                _sort_dimensions_of_metric(query["MetricStat"]["Metric"]) == metric
                for query in _list_queries_of_alarm(alarm)
                if query.get("MetricStat")
            )
            and all(
                request.get(name) in {None, getattr(alarm, attribute)}
                for name, attribute in zip(given, attributes, strict=True)
            )
        ]
        return {"MetricAlarms": found}

    def describe_alarm_history(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer ``DescribeAlarmHistory``."""
        start, end = (_to_utc(request.get(name)) for name in ("StartDate", "EndDate"))
        found = [
            item.describe()
            for item in tuple(self._history)
            if _asks_for_metric_alarms(request)
            and request.get("AlarmName") in {None, item.alarm_name}
            and request.get("HistoryItemType") in {None, item.kind}
            and (start is None or item.timestamp >= start)
            and (end is None or item.timestamp <= end)
        ]
        if request.get("ScanBy") != "TimestampAscending":
            found.reverse()
        return _cut_page_of_alarms("AlarmHistoryItems", found, request)

    def set_alarm_state(self, request: Mapping[str, Any], now_s: float) -> None:
        """Carry out ``SetAlarmState``: give an alarm a new state for a minute or less.

        On AWS, the state lasts until the alarm is evaluated again (API reference, SetAlarmState).
        AWS evaluates it once a minute, or once a period if the period is shorter. On the local
        service, new data also causes an evaluation, which could end the new state before a scaling
        policy has seen it. The local service therefore does not evaluate the alarm for a minute, or
        for a period if the period is shorter.

        Raises:
            MonitoringError: The alarm does not exist, or a value of the request is not valid.
        """
        data = request.get("StateReasonData")
        if data is not None:
            try:
                parse_json(data)
            except ValueError as err:
                raise MonitoringError("InvalidFormat", "StateReasonData is not JSON.") from err
        refuse_value_not_offered(request, "StateValue", tuple(STATES))
        with self._lock:
            alarm = self._backend.alarms.get(request["AlarmName"])
            if alarm is None:
                raise MonitoringError("ResourceNotFound", "No alarm has this name.")
            period_s = find_shortest_period(_list_queries_of_alarm(alarm))
            alarm.drdeploy_held_until_s = now_s + min(period_s, EVALUATION_S)
            self._change_state(
                alarm, STATES[request["StateValue"]], request["StateReason"], data or "{}", now_s
            )

    # -- for Application Auto Scaling ---------------------------------------------------------

    def find_alarms_with_action(self, policy_arn: str) -> list[Any]:
        """Return the alarms that trigger the given scaling policy in their present state.

        An alarm whose state has never changed does not trigger a policy.
        """
        found = []
        for alarm in self._list_alarms():
            actions = {
                "OK": alarm.ok_actions,
                "ALARM": alarm.alarm_actions,
                "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
            }[alarm.state_value]
            has_changed = vars(alarm).get("drdeploy_changed_s") is not None
            is_called = any(one.partition(":createdBy/")[0] == policy_arn for one in actions)
            if alarm.actions_enabled and has_changed and is_called:
                found.append(alarm)
        return found

    def read_evaluated_values(self, alarm: Any, now_s: float) -> list[float]:
        """Return the datapoints that an evaluation of the alarm would use now, oldest first.

        If the metrics have no datapoints, the result is ``recentDatapoints`` in the alarm's
        ``StateReasonData``. A client can supply these datapoints with ``SetAlarmState``.
        """
        queries = _list_queries_of_alarm(alarm)
        rule = _make_alarm_rule(alarm)
        series = self._compute_series_of_queries(
            queries, _find_evaluated_time_range(queries, rule, now_s)
        )
        values = list(series.points.values())[-rule.evaluation_periods :]
        if not values:
            reason = parse_json(alarm.state_reason_data or "{}")
            given = reason.get("recentDatapoints") if isinstance(reason, dict) else None
            listed = given if isinstance(given, list) else ()
            values = [float(one) for one in listed if isinstance(one, int | float)]
        return values

    def add_scaling_to_history(
        self, alarm: Any, policy_arn: str, problem: str, now_s: float
    ) -> None:
        """Write to an alarm's history that a policy was carried out, or why it was not."""
        done = "Failed to execute" if problem else "Successfully executed"
        data = {"actionState": "Failed" if problem else "Succeeded"}
        if problem:
            data["error"] = problem
        self._append_to_history(alarm, "Action", f"{done} action {policy_arn}", data, now_s)

    # -- evaluation ------------------------------------------------------------------------

    def evaluate_due_alarms(self, now_s: float) -> None:
        """Evaluate each alarm for which a period has ended or new data has arrived."""
        for alarm in self._list_alarms():
            try:
                if now_s < vars(alarm).get("drdeploy_held_until_s", -math.inf):
                    continue
                mark = self._make_evaluation_mark(alarm, now_s)
                if vars(alarm).get("drdeploy_evaluated") != mark:
                    with self._lock:
                        alarm.drdeploy_evaluated = mark
                        self._evaluate_alarm(alarm, now_s)
            except Exception:
                # If one alarm causes an error, the other alarms are evaluated nevertheless.
                log.exception("the alarm %s was not evaluated", alarm.name)

    def _list_alarms(self) -> list[Any]:
        return [one for one in tuple(self._backend.alarms.values()) if one.rule is None]

    def _make_evaluation_mark(self, alarm: Any, now_s: float) -> tuple[int, int]:
        return int(
            now_s // find_shortest_period(_list_queries_of_alarm(alarm))
        ), self._store.version

    def _evaluate_alarm(self, alarm: Any, now_s: float) -> None:
        queries = _list_queries_of_alarm(alarm)
        period_s = find_shortest_period(queries)
        rule = _make_alarm_rule(alarm)
        span = _find_evaluated_time_range(queries, rule, now_s)
        if self._has_too_few_samples(alarm, queries, rule, span, period_s):
            return
        series = self._compute_series_of_queries(queries, span)
        starts = span.list_period_starts(period_s)
        state = rule.decide_state([series.points.get(at) for at in starts], alarm.state_value)
        if state != alarm.state_value:
            recent = list(series.points.items())[-rule.evaluation_periods :]
            reason = _write_reason_of_state(state, rule, recent)
            data = {
                "version": "1.0",
                "queryDate": _format_time(now_s),
                "startDate": _format_time(span.start_s),
                "statistic": alarm.extended_statistic or alarm.statistic,
                "period": period_s,
                "recentDatapoints": [value for _, value in recent],
                "threshold": rule.threshold,
            }
            self._change_state(alarm, state, reason, json.dumps(data), now_s)

    def _compute_series_of_queries(
        self, queries: Sequence[Mapping[str, Any]], span: TimeRange
    ) -> TimeSeries:
        reader = MetricReader(self._store, float(span.end_s))
        results = reader.evaluate_queries(queries, span, may_search=False)
        if len(results) != 1 or isinstance(results[0][1], list):
            raise make_validation_error(
                "Exactly one of the Metrics must set ReturnData, and be a single time series."
            )
        return results[0][1]

    def _has_too_few_samples(
        self,
        alarm: Any,
        queries: Sequence[Mapping[str, Any]],
        rule: AlarmRule,
        span: TimeRange,
        period_s: int,
    ) -> bool:
        if alarm.evaluate_low_sample_count_percentile != "ignore" or not alarm.extended_statistic:
            return False
        share = statistics.parse_extended_statistic(alarm.extended_statistic).percentile
        if share is None:
            return False
        metric_stat = queries[0]["MetricStat"] | {"Stat": "SampleCount"}
        last = TimeRange(span.end_s - rule.evaluation_periods * period_s, span.end_s)
        counts = MetricReader(self._store, float(span.end_s)).read_series(metric_stat, last, {})
        tail = min(share, 100 - share) / 100
        return tail > 0 and sum(counts.points.values()) * tail < LOW_SAMPLES

    def _change_state(
        self, alarm: Any, state: AlarmState, reason: str, reason_data: str, now_s: float
    ) -> None:
        before = {"stateValue": alarm.state_value, "stateReason": alarm.state_reason}
        old = alarm.state_value
        alarm.state_value, alarm.state_reason = state, reason
        alarm.state_reason_data = reason_data
        moment = datetime.fromtimestamp(now_s, UTC)
        alarm.state_updated_timestamp = moment
        if old == state:
            return
        alarm.state_transitioned_timestamp = moment
        alarm.drdeploy_changed_s = now_s
        after = {"stateValue": state, "stateReason": reason}
        data = {"version": "1.0", "oldState": before, "newState": after}
        self._append_to_history(
            alarm, "StateUpdate", f"Alarm updated from {old} to {state}", data, now_s
        )
        actions = {
            "OK": alarm.ok_actions,
            "ALARM": alarm.alarm_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }[state]
        if alarm.actions_enabled:
            message = self._make_notification_message(alarm, old, now_s)
            for action in actions:
                if action.startswith(SCALING):
                    continue  # Application Auto Scaling looks at the states of alarms itself
                self._send_notification(alarm, action, message, now_s)

    def _make_notification_message(self, alarm: Any, old: str, now_s: float) -> str:
        return json.dumps(
            {
                "AlarmName": alarm.name,
                "AlarmDescription": alarm.description,
                "AWSAccountId": ACCOUNT,
                "NewStateValue": alarm.state_value,
                "NewStateReason": alarm.state_reason,
                "StateChangeTime": _format_time(now_s),
                "Region": self._backend.region_name,
                "AlarmArn": alarm.alarm_arn,
                "OldStateValue": old,
                "Trigger": {
                    "MetricName": alarm.metric_name,
                    "Namespace": alarm.namespace,
                    "Statistic": alarm.statistic,
                    "ExtendedStatistic": alarm.extended_statistic,
                    "Period": alarm.period,
                    "EvaluationPeriods": alarm.evaluation_periods,
                    "ComparisonOperator": alarm.comparison_operator,
                    "Threshold": alarm.threshold,
                    "TreatMissingData": alarm.treat_missing_data or "missing",
                },
            }
        )

    def _send_notification(self, alarm: Any, action: str, message: str, now_s: float) -> None:
        subject = f'{alarm.state_value}: "{alarm.name}" in {self._backend.region_name}'[:100]

        def publish_to_sns_topic() -> None:
            from moto.sns.models import sns_backends

            try:
                sns_backends[ACCOUNT][action.split(":")[3]].publish(
                    message, action, subject=subject
                )
                summary, outcome = f"Successfully executed action {action}", "Succeeded"
            except Exception as err:  # noqa: BLE001  whatever a subscriber or moto raises
                log.warning("the alarm %s cannot notify %s: %s", alarm.name, action, err)
                summary, outcome = f"Failed to execute action {action}", "Failed"
            self._append_to_history(alarm, "Action", summary, {"actionState": outcome}, now_s)

        # moto sends the message to the subscribers over HTTP, and a subscriber may be slow.
        threading.Thread(
            target=publish_to_sns_topic, name=f"alarm {alarm.name}", daemon=True
        ).start()

    def _append_to_history(
        self, alarm: Any, kind: str, summary: str, data: Mapping[str, Any], now_s: float
    ) -> None:
        moment = datetime.fromtimestamp(now_s, UTC)
        self._history.append(AlarmHistoryItem(alarm.name, moment, kind, summary, json.dumps(data)))


def _make_alarm_rule(alarm: Any) -> AlarmRule:
    periods = int(alarm.evaluation_periods)
    return AlarmRule(
        alarm.comparison_operator,
        float(alarm.threshold),
        periods,
        int(alarm.datapoints_to_alarm or periods),
        alarm.treat_missing_data or "missing",
    )


def _find_evaluated_time_range(
    queries: Sequence[Mapping[str, Any]], rule: AlarmRule, now_s: float
) -> TimeRange:
    period_s = find_shortest_period(queries)
    end_s = int(now_s // period_s * period_s)
    return TimeRange(end_s - rule.range_periods * period_s, end_s)


def _list_queries_of_alarm(alarm: Any) -> list[dict[str, Any]]:
    """Return the metric queries of an alarm, whether a client or a scaling policy has made it."""
    kept: list[dict[str, Any]] | None = vars(alarm).get("drdeploy_queries")
    if kept is not None:
        return kept
    return list_metric_queries_of_alarm_request(
        {
            "Namespace": alarm.namespace,
            "MetricName": alarm.metric_name,
            "Dimensions": [{"Name": one.name, "Value": one.value} for one in alarm.dimensions],
            "Statistic": alarm.statistic,
            "ExtendedStatistic": alarm.extended_statistic,
            "Period": alarm.period,
            "Unit": alarm.unit,
        }
    )


def _sort_dimensions_of_metric(metric: Mapping[str, Any]) -> tuple[Any, ...]:
    dimensions = sorted((one["Name"], one["Value"]) for one in metric.get("Dimensions") or ())
    return (metric.get("Namespace"), metric["MetricName"], tuple(dimensions))


def _asks_for_metric_alarms(request: Mapping[str, Any]) -> bool:
    """Return whether ``AlarmTypes`` includes metric alarms, the only kind that the service has."""
    return "MetricAlarm" in (request.get("AlarmTypes") or ["MetricAlarm"])


def _has_action_with_prefix(alarm: Any, prefix: str | None) -> bool:
    actions = [*alarm.alarm_actions, *alarm.ok_actions, *alarm.insufficient_data_actions]
    return prefix is None or any(one.startswith(prefix) for one in actions)


def _cut_page_of_alarms(
    name: str, found: Sequence[Any], request: Mapping[str, Any]
) -> dict[str, Any]:
    stated = request.get("MaxRecords")
    size = PAGE_ALARMS if stated is None else stated
    if not 1 <= size <= PAGE_ALARMS:
        raise make_validation_error(f"MaxRecords must be 1 to {PAGE_ALARMS}.")
    start = read_page_start(request.get("NextToken"))
    page: dict[str, Any] = {name: found[start : start + size]}
    if start + size < len(found):
        page["NextToken"] = str(start + size)
    return page


def _write_reason_of_state(
    state: AlarmState, rule: AlarmRule, recent: Sequence[tuple[int, float]]
) -> str:
    if state == "INSUFFICIENT_DATA":
        return f"Insufficient Data: {rule.evaluation_periods} datapoints were unknown."
    wanted = [(at, one) for at, one in recent if rule.is_breaching(one) == (state == "ALARM")]
    if not wanted:
        return (
            "No datapoints were received. This alarm treats missing data as "
            f"{rule.treat_missing_data}."
        )
    values = ", ".join(f"{value} ({_format_time(at)})" for at, value in wanted)
    verb = "" if state == "ALARM" else "not "
    return (
        f"Threshold Crossed: {len(wanted)} out of the last {rule.evaluation_periods} datapoints "
        f"[{values}] {verb}{rule.comparison} ({rule.threshold}) (minimum "
        f"{rule.datapoints_to_alarm} datapoints for ALARM)."
    )


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _to_utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)

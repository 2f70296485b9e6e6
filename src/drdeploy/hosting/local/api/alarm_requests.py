"""Check a request for a new CloudWatch alarm, before moto stores the alarm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.monitoring import statistics
from drdeploy.hosting.local.monitoring.alarms import COMPARISONS, MISSING_DATA
from drdeploy.hosting.local.monitoring.metric_queries import find_shortest_period
from drdeploy.hosting.local.monitoring.monitoring_errors import make_validation_error
from drdeploy.units import SECONDS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHORTEST_PERIOD_S = 10
EVALUATED_S_MAX = SECONDS_PER_DAY
NOTIFICATION = "arn:aws:sns:"
SCALING = "arn:aws:autoscaling:"
POLICY_ARN = re.compile(
    r"arn:aws:autoscaling:[\w-]+:\d+:scalingPolicy:[^:]+:resource/sagemaker/.+:policyName/.+"
)
"""The ARN of a scaling policy of Application Auto Scaling for SageMaker."""


def check_new_alarm_and_list_queries(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check a ``PutMetricAlarm`` request, and return the metric queries of the alarm.

    Raises:
        MonitoringError: Members of the request contradict each other, or the request asks for
            something that the local service does not offer.
    """
    _check_alarm_comparison(request)
    _check_alarm_actions(request)
    periods = request["EvaluationPeriods"]
    if (request.get("DatapointsToAlarm") or periods) > periods:
        raise make_validation_error("DatapointsToAlarm must be at most EvaluationPeriods.")
    refuse_value_not_offered(request, "TreatMissingData", MISSING_DATA)
    refuse_value_not_offered(request, "EvaluateLowSampleCountPercentile", ("evaluate", "ignore"))
    queries = list_metric_queries_of_alarm_request(request)
    period_s = find_shortest_period(queries)
    if period_s < SHORTEST_PERIOD_S:
        raise make_validation_error(
            f"Period must be 10, 20, 30 or a multiple of 60, not {period_s}."
        )
    if period_s * periods > EVALUATED_S_MAX:
        raise make_validation_error(
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period "
            f"must be <= {EVALUATED_S_MAX})."
        )
    return queries


def list_metric_queries_of_alarm_request(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the queries of ``PutMetricAlarm``: its ``Metrics``, or one query for ``MetricName``.

    Raises:
        MonitoringError: The request sets both ``Metrics`` and ``MetricName``, or neither.
    """
    metrics = request.get("Metrics")
    if bool(metrics) == bool(request.get("MetricName")):
        raise make_validation_error("An alarm takes either MetricName or Metrics.")
    if metrics:
        return [dict(one) for one in metrics]
    stats = [one for one in ("Statistic", "ExtendedStatistic") if request.get(one)]
    if len(stats) != 1:
        raise make_validation_error("An alarm takes either Statistic or ExtendedStatistic.")
    stat = request[stats[0]]
    parse = (
        statistics.parse_basic_statistic
        if stats == ["Statistic"]
        else (statistics.parse_extended_statistic)
    )
    parse(stat)
    if not request.get("Period"):
        raise make_validation_error("Period is required.")
    metric = {
        "Namespace": request.get("Namespace"),
        "MetricName": request["MetricName"],
        "Dimensions": [dict(one) for one in request.get("Dimensions") or ()],
    }
    metric_stat = {
        "Metric": metric,
        "Period": request["Period"],
        "Stat": stat,
        "Unit": request.get("Unit"),
    }
    return [{"Id": "m1", "MetricStat": metric_stat, "ReturnData": True}]


def _check_alarm_comparison(request: Mapping[str, Any]) -> None:
    comparison = request["ComparisonOperator"]
    if comparison not in COMPARISONS:
        raise make_validation_error(
            f"The local service does not serve the ComparisonOperator {comparison}. It serves "
            f"{', '.join(COMPARISONS)}."
        )
    if request.get("Threshold") is None:
        raise make_validation_error("Threshold is required.")


def _check_alarm_actions(request: Mapping[str, Any]) -> None:
    for name in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        for action in request.get(name) or ():
            if not action.startswith(NOTIFICATION) and not POLICY_ARN.fullmatch(action):
                raise make_validation_error(
                    f"{name}: the local service does not carry out {action}. The local service "
                    "carries out actions of SNS, and scaling policies of Application Auto Scaling "
                    "for SageMaker."
                )


def refuse_value_not_offered(request: Mapping[str, Any], name: str, choices: Sequence[str]) -> None:
    """Refuse a request if a given member of it has a value that is not one of ``choices``.

    A request without the member is accepted.

    Raises:
        MonitoringError: The value is not one of ``choices``.
    """
    value = request.get(name)
    if value is not None and value not in choices:
        raise make_validation_error(f"{name} must be one of {', '.join(choices)}, not {value}.")

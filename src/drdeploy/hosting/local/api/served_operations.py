"""List the operations and request members that the local service serves, for four AWS services.

The tables list all operations and members that are served. Any other operation or member is
refused, and the error names it. Without these tables, moto would report success even for a member
or an operation that it ignores. A script writes ``docs/reference/local-service.md`` from the
tables.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.local.api.unserved_actions import SERVED_SERVICES
from drdeploy.hosting.local.api_errors import (
    ApiError,
    make_malformed_error,
    make_not_served_error,
    make_unknown_operation_error,
)
from drdeploy.hosting.local.served_members import (
    ANY,
    SERVED_MEMBERS,
    Members,
    describe_unserved_member,
    find_unserved_members,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _make_table_of_served_members(*names: str, **limited: object) -> Members:
    """Make a table of served members; those in ``limited`` are served only with some values."""
    return {**dict.fromkeys(names, ANY), **limited}


_SEVERAL = (
    *("CreationTimeAfter", "CreationTimeBefore", "MaxResults", "NameContains", "NextToken"),
    *("SortBy", "SortOrder"),
)
_MODIFIED = ("LastModifiedTimeAfter", "LastModifiedTimeBefore", "StatusEquals")
_TAGS = _make_table_of_served_members("Key", "Value")
_DIMENSIONS = _make_table_of_served_members("Name", "Value")
_METRIC_STAT: Members = {
    **_make_table_of_served_members("Period", "Stat", "Unit"),
    "Metric": _make_table_of_served_members("MetricName", "Namespace", Dimensions=_DIMENSIONS),
}
_QUERIES = _make_table_of_served_members(
    "Expression", "Id", "Label", "Period", "ReturnData", MetricStat=_METRIC_STAT
)
_ONE_TARGET = ("ResourceId", "ScalableDimension", "ServiceNamespace")
_PAGE = ("MaxResults", "NextToken")
_EVENTS = ("endTime", "limit", "logGroupIdentifier", "logGroupName", "nextToken", "startTime")


def _select_served_members(*operations: str) -> dict[str, Members]:
    return {operation: SERVED_MEMBERS[operation] for operation in operations}


SERVED_OPERATIONS: Mapping[str, Mapping[str, Members]] = {
    "sagemaker": {
        **_select_served_members(
            *("CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"),
            *("UpdateEndpointWeightsAndCapacities", "CreateTransformJob"),
            *("CreateInferenceComponent", "UpdateInferenceComponent"),
        ),
        "AddTags": _make_table_of_served_members("ResourceArn", Tags=_TAGS),
        "DeleteEndpoint": _make_table_of_served_members("EndpointName"),
        "DeleteEndpointConfig": _make_table_of_served_members("EndpointConfigName"),
        "DeleteInferenceComponent": _make_table_of_served_members("InferenceComponentName"),
        "DeleteModel": _make_table_of_served_members("ModelName"),
        "DeleteTags": _make_table_of_served_members("ResourceArn", "TagKeys"),
        "DescribeEndpoint": _make_table_of_served_members("EndpointName"),
        "DescribeEndpointConfig": _make_table_of_served_members("EndpointConfigName"),
        "DescribeInferenceComponent": _make_table_of_served_members("InferenceComponentName"),
        "DescribeModel": _make_table_of_served_members("ModelName"),
        "DescribeTransformJob": _make_table_of_served_members("TransformJobName"),
        "ListEndpointConfigs": _make_table_of_served_members(*_SEVERAL),
        "ListEndpoints": _make_table_of_served_members(*_SEVERAL, *_MODIFIED),
        "ListInferenceComponents": _make_table_of_served_members(
            *_SEVERAL, *_MODIFIED, "EndpointNameEquals", "VariantNameEquals"
        ),
        "ListModels": _make_table_of_served_members(*_SEVERAL),
        "ListTags": _make_table_of_served_members("ResourceArn", *_PAGE),
        "ListTransformJobs": _make_table_of_served_members(*_SEVERAL, *_MODIFIED),
        "StopTransformJob": _make_table_of_served_members("TransformJobName"),
        "UpdateInferenceComponentRuntimeConfig": _make_table_of_served_members(
            "InferenceComponentName",
            DesiredRuntimeConfig=_make_table_of_served_members("CopyCount"),
        ),
    },
    "application-autoscaling": {
        **_select_served_members(
            "PutScalingPolicy", "PutScheduledAction", "RegisterScalableTarget"
        ),
        "DeleteScalingPolicy": _make_table_of_served_members(*_ONE_TARGET, "PolicyName"),
        "DeleteScheduledAction": _make_table_of_served_members(*_ONE_TARGET, "ScheduledActionName"),
        "DeregisterScalableTarget": _make_table_of_served_members(*_ONE_TARGET),
        "DescribeScalableTargets": _make_table_of_served_members(
            "ResourceIds", "ScalableDimension", "ServiceNamespace", *_PAGE
        ),
        "DescribeScalingActivities": _make_table_of_served_members(
            *_ONE_TARGET, "IncludeNotScaledActivities", *_PAGE
        ),
        "DescribeScalingPolicies": _make_table_of_served_members(
            *_ONE_TARGET, "PolicyNames", *_PAGE
        ),
        "DescribeScheduledActions": _make_table_of_served_members(
            *_ONE_TARGET, "ScheduledActionNames", *_PAGE
        ),
        "ListTagsForResource": _make_table_of_served_members("ResourceARN"),
        "TagResource": _make_table_of_served_members("ResourceARN", "Tags"),
        "UntagResource": _make_table_of_served_members("ResourceARN", "TagKeys"),
    },
    "cloudwatch": {
        "DeleteAlarms": _make_table_of_served_members("AlarmNames"),
        "DeleteDashboards": _make_table_of_served_members("DashboardNames"),
        "DescribeAlarmHistory": _make_table_of_served_members(
            *("AlarmName", "AlarmTypes", "EndDate", "HistoryItemType", "MaxRecords"),
            *("NextToken", "ScanBy", "StartDate"),
        ),
        "DescribeAlarms": _make_table_of_served_members(
            *("ActionPrefix", "AlarmNamePrefix", "AlarmNames", "AlarmTypes", "MaxRecords"),
            *("NextToken", "StateValue"),
        ),
        "DescribeAlarmsForMetric": _make_table_of_served_members(
            *("ExtendedStatistic", "MetricName", "Namespace", "Period", "Statistic", "Unit"),
            Dimensions=_DIMENSIONS,
        ),
        "DisableAlarmActions": _make_table_of_served_members("AlarmNames"),
        "EnableAlarmActions": _make_table_of_served_members("AlarmNames"),
        "GetDashboard": _make_table_of_served_members("DashboardName"),
        "GetMetricData": _make_table_of_served_members(
            *("EndTime", "MaxDatapoints", "NextToken", "ScanBy", "StartTime"),
            MetricDataQueries=_QUERIES,
        ),
        "GetMetricStatistics": _make_table_of_served_members(
            *("EndTime", "ExtendedStatistics", "MetricName", "Namespace", "Period"),
            *("StartTime", "Statistics", "Unit"),
            Dimensions=_DIMENSIONS,
        ),
        "ListDashboards": _make_table_of_served_members("DashboardNamePrefix"),  # has no pages
        "ListMetrics": _make_table_of_served_members(
            *("MetricName", "Namespace", "NextToken", "RecentlyActive"), Dimensions=_DIMENSIONS
        ),
        "ListTagsForResource": _make_table_of_served_members("ResourceARN"),
        "PutDashboard": _make_table_of_served_members("DashboardBody", "DashboardName"),
        "PutMetricAlarm": _make_table_of_served_members(
            *("ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName"),
            *("ComparisonOperator", "DatapointsToAlarm", "EvaluateLowSampleCountPercentile"),
            *("EvaluationPeriods", "ExtendedStatistic", "InsufficientDataActions", "MetricName"),
            *("Namespace", "OKActions", "Period", "Statistic", "Threshold", "TreatMissingData"),
            "Unit",
            Dimensions=_DIMENSIONS,
            Metrics=_QUERIES,
            Tags=_TAGS,
        ),
        "PutMetricData": _make_table_of_served_members(
            "Namespace",
            MetricData=_make_table_of_served_members(
                # Samples are kept per second, as StorageResolution=1 asks. StorageResolution=60
                # asks for less.
                *("Counts", "MetricName", "StorageResolution", "Timestamp", "Unit", "Value"),
                "Values",
                Dimensions=_DIMENSIONS,
                StatisticValues=_make_table_of_served_members(
                    "Maximum", "Minimum", "SampleCount", "Sum"
                ),
            ),
        ),
        "SetAlarmState": _make_table_of_served_members(
            "AlarmName", "StateReason", "StateReasonData", "StateValue"
        ),
        "TagResource": _make_table_of_served_members("ResourceARN", Tags=_TAGS),
        "UntagResource": _make_table_of_served_members("ResourceARN", "TagKeys"),
    },
    "logs": {
        "CreateLogGroup": _make_table_of_served_members(
            "kmsKeyId", "logGroupName", "tags", logGroupClass={"STANDARD"}
        ),
        "CreateLogStream": _make_table_of_served_members("logGroupName", "logStreamName"),
        "DeleteLogGroup": _make_table_of_served_members("logGroupName"),
        "DeleteLogStream": _make_table_of_served_members("logGroupName", "logStreamName"),
        "DeleteRetentionPolicy": _make_table_of_served_members("logGroupName"),
        "DescribeLogGroups": _make_table_of_served_members(
            "limit", "logGroupNamePrefix", "nextToken"
        ),
        "DescribeLogStreams": _make_table_of_served_members(
            *("descending", "limit", "logGroupIdentifier", "logGroupName", "logStreamNamePrefix"),
            *("nextToken", "orderBy"),
        ),
        "FilterLogEvents": _make_table_of_served_members(
            *(*_EVENTS, "filterPattern", "logStreamNamePrefix", "logStreamNames", "startFromHead"),
            # These members change nothing. AWS, too, always interleaves the streams, and here no
            # line is ever masked.
            *("interleaved", "unmask"),
        ),
        "GetLogEvents": _make_table_of_served_members(
            *_EVENTS, "logStreamName", "startFromHead", "unmask"
        ),
        "ListTagsForResource": _make_table_of_served_members("resourceArn"),
        "ListTagsLogGroup": _make_table_of_served_members("logGroupName"),
        "PutLogEvents": _make_table_of_served_members(
            # AWS, too, no longer reads the token.
            *("logGroupName", "logStreamName", "sequenceToken"),
            logEvents=_make_table_of_served_members("message", "timestamp"),
        ),
        "PutRetentionPolicy": _make_table_of_served_members("logGroupName", "retentionInDays"),
        "TagLogGroup": _make_table_of_served_members("logGroupName", "tags"),
        "TagResource": _make_table_of_served_members("resourceArn", "tags"),
        "UntagLogGroup": _make_table_of_served_members("logGroupName", "tags"),
        "UntagResource": _make_table_of_served_members("resourceArn", "tagKeys"),
    },
}
"""The table of served members of each served operation, by the service's name in botocore."""

REFUSAL_CODES = {"cloudwatch": "ValidationError", "logs": "InvalidParameterException"}
"""The error code with which a service refuses a member, for each service that does not use
``ValidationException``.
"""


def refuse_unserved_operation(service: str, operation: str) -> None:
    """Refuse an operation that the local service does not answer.

    Args:
        service: The name of the service in botocore.
        operation: The name of the operation.

    Raises:
        ApiError: ``SERVED_OPERATIONS`` does not list the operation; the message names it.
    """
    if operation not in SERVED_OPERATIONS[service]:
        owner = SERVED_SERVICES[{"cloudwatch": "monitoring"}.get(service, service)]
        is_own = service == "sagemaker"
        raise make_unknown_operation_error(operation if is_own else f"{operation} of {owner}")


def refuse_members_without_effect(service: str, operation: str, request: Members) -> None:
    """Refuse a request that sets a member which would have no effect.

    Args:
        service: The name of the service in botocore.
        operation: The name of a served operation.
        request: The request.

    Raises:
        ApiError: ``SERVED_OPERATIONS`` does not list a member of the request; the message names
            the member.
    """
    for refused in find_unserved_members(SERVED_OPERATIONS[service][operation], request):
        err = make_not_served_error(describe_unserved_member(operation, refused))
        raise ApiError(REFUSAL_CODES.get(service, err.code), err.message)


def find_served_values(service: str, operation: str, path: str) -> set[str] | None:
    """Return the served values of a member if only some of its values are served, else None.

    Args:
        service: The name of the service in botocore.
        operation: The name of a served operation.
        path: The path of the member, for example ``DataCaptureConfig.EnableCapture``.
    """
    entry: Any = SERVED_OPERATIONS[service][operation]
    for name in path.split("."):
        entry = entry.get(name, ANY) if isinstance(entry, dict) else ANY
    return entry if isinstance(entry, set) else None


@cache
def make_moto_refuse_unserved_operations() -> None:
    """Make moto refuse what ``SERVED_OPERATIONS`` does not list (once per process)."""
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
    from moto.cloudwatch.responses import CloudWatchResponse
    from moto.logs.responses import LogsResponse

    for service, responses in (
        ("application-autoscaling", ApplicationAutoScalingResponse),
        ("cloudwatch", CloudWatchResponse),
        ("logs", LogsResponse),
    ):
        _make_moto_service_refuse_unserved_operations(service, responses)


def _make_moto_service_refuse_unserved_operations(service: str, responses: Any) -> None:
    carry_out: Callable[[Any], Any] = responses.call_action

    def call_action(response: Any) -> Any:
        operation = response._get_action() or ""  # noqa: SLF001  moto has no public way
        refuse_unserved_operation(service, operation)
        refuse_members_without_effect(service, operation, _read_request(response))
        return carry_out(response)

    responses.call_action = call_action


def _read_request(response: Any) -> Any:
    """Return the members of a request that moto has read, whatever format the client chose."""
    if response.automated_parameter_parsing:
        return response.params
    try:
        return parse_json(response.body or "{}")
    except ValueError as err:
        raise make_malformed_error("The body is not valid JSON.") from err

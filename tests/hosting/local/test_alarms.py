"""Alarms are raised by data, as CloudWatch's user guide says, and tell topics of SNS."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from local_aws import client, refused, until

from drdeploy.hosting.local.api.cloudwatch import find_alarm_book
from drdeploy.hosting.local.monitoring.alarms import AlarmRule
from drdeploy.hosting.local.resource_store import ACCOUNT

PERIOD_S = 60


@pytest.mark.parametrize(
    ("points", "states"),
    [
        ("0-X-X", ("OK", "OK", "OK", "OK")),
        ("0----", ("OK", "OK", "OK", "OK")),
        ("-----", ("INSUFFICIENT_DATA", "now", "ALARM", "OK")),
        ("0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("----X", ("INSUFFICIENT_DATA", "now", "ALARM", "OK")),
        ("X----", ("ALARM", "now", "ALARM", "OK")),
    ],
)
def test_three_of_three_is_the_table_of_the_user_guide(points, states):
    assert decide(points, 3) == states


@pytest.mark.parametrize(
    ("points", "states"),
    [
        ("0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0-X--", ("OK", "OK", "ALARM", "OK")),
        ("----0", ("OK", "OK", "ALARM", "OK")),
        ("----X", ("INSUFFICIENT_DATA", "now", "ALARM", "OK")),
    ],
)
def test_two_of_three_is_the_table_of_the_user_guide(points, states):
    assert decide(points, 2) == states


def decide(points, to_alarm):
    values = [{"0": 0.0, "X": 9.0, "-": None}[one] for one in points]
    treatments = ("missing", "ignore", "breaching", "notBreaching")
    rules = [AlarmRule("GreaterThanThreshold", 3, 3, to_alarm, one) for one in treatments]
    return tuple(rule.decide_state(values, "now") for rule in rules)


def put(aws, metric, *values, end=None):
    """Put one value into each of the last whole minutes, the newest last."""
    now_s = (end or time.time()) // PERIOD_S * PERIOD_S
    data = [
        {"MetricName": metric, "Value": value,
         "Timestamp": datetime.fromtimestamp(now_s - PERIOD_S * (len(values) - place), UTC)}
        for place, value in enumerate(values)
    ]  # fmt: skip
    aws.cloudwatch.put_metric_data(Namespace="Alarms", MetricData=data)


def alarm(aws, metric, **changes):
    name = aws.name()
    request = {
        "AlarmName": name, "Namespace": "Alarms", "MetricName": metric, "Statistic": "Maximum",
        "Period": PERIOD_S, "EvaluationPeriods": 1, "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
    } | changes  # fmt: skip
    aws.cloudwatch.put_metric_alarm(**{key: one for key, one in request.items() if one is not None})
    return name


def describe(aws, name):
    (found,) = aws.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return found


def state(aws, name):
    return describe(aws, name)["StateValue"]


def test_data_raises_an_alarm_and_clears_it(aws):
    metric = aws.name()
    name = alarm(aws, metric)
    assert state(aws, name) == "INSUFFICIENT_DATA"
    put(aws, metric, 7)
    until(lambda: state(aws, name) == "ALARM")
    found = describe(aws, name)
    assert "7.0" in found["StateReason"]
    assert json.loads(found["StateReasonData"])["recentDatapoints"][-1] == 7
    other = aws.name()
    put(aws, other, 7, 7)
    second = alarm(aws, other, EvaluationPeriods=2, ComparisonOperator="LessThanThreshold")
    until(lambda: state(aws, second) == "OK")
    history = aws.cloudwatch.describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in history[-2:]] == [
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        f'Alarm "{name}" created',
    ]
    data = json.loads(history[-2]["HistoryData"])
    assert data["newState"]["stateValue"] == "ALARM"
    updates = aws.cloudwatch.describe_alarm_history(
        AlarmName=name, HistoryItemType="ConfigurationUpdate"
    )
    assert len(updates["AlarmHistoryItems"]) == 1
    composite = aws.cloudwatch.describe_alarm_history(AlarmName=name, AlarmTypes=["CompositeAlarm"])
    assert composite["AlarmHistoryItems"] == []


@pytest.mark.parametrize(("stat", "expected"), [("p90", "OK"), ("p95", "ALARM"), ("tm99", "OK")])
def test_an_alarm_watches_an_extended_statistic(aws, stat, expected):
    metric = aws.name()
    moment = datetime.now(UTC) - timedelta(seconds=PERIOD_S)
    data = {"MetricName": metric, "Timestamp": moment, "Values": [1, 9], "Counts": [9, 1]}
    aws.cloudwatch.put_metric_data(Namespace="Alarms", MetricData=[data])
    name = alarm(aws, metric, Statistic=None, ExtendedStatistic=stat)
    until(lambda: state(aws, name) == expected)
    assert describe(aws, name)["ExtendedStatistic"] == stat


def test_an_alarm_on_a_percentile_can_wait_for_enough_samples(aws):
    metric = aws.name()
    put(aws, metric, 9)
    ready = alarm(aws, metric, Statistic=None, ExtendedStatistic="p95")
    waiting = alarm(
        aws, metric, Statistic=None, ExtendedStatistic="p95",
        EvaluateLowSampleCountPercentile="ignore",
    )  # fmt: skip
    until(lambda: state(aws, ready) == "ALARM")
    assert state(aws, waiting) == "INSUFFICIENT_DATA"


def math_alarm(expression, *metrics):
    return {
        "Namespace": None, "MetricName": None, "Statistic": None, "Period": None,
        "Metrics": [
            {"Id": f"m{place}", "ReturnData": False, "MetricStat": {
                "Metric": {"Namespace": "Alarms", "MetricName": metric},
                "Period": PERIOD_S, "Stat": "Sum"}}
            for place, metric in enumerate(metrics, 1)
        ] + [{"Id": "e", "Expression": expression}],
    }  # fmt: skip


def test_an_alarm_watches_metric_math(aws):
    errors, calls = aws.name(), aws.name()
    put(aws, errors, 1)
    put(aws, calls, 10)
    name = alarm(aws, None, **math_alarm("m1 / m2 * 100", errors, calls))
    until(lambda: state(aws, name) == "ALARM")


def test_a_topic_is_told_of_each_change(aws):
    sns, sqs = client("sns", aws.url), client("sqs", aws.url)
    topic = sns.create_topic(Name=aws.name())["TopicArn"]
    queue = sqs.create_queue(QueueName=aws.name())["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    metric = aws.name()
    name = alarm(aws, metric, AlarmActions=[topic])
    put(aws, metric, 9)
    found = []
    until(lambda: found.extend(sqs.receive_message(QueueUrl=queue).get("Messages", [])) or found)
    message = json.loads(json.loads(found[0]["Body"])["Message"])
    assert (message["AlarmName"], message["NewStateValue"]) == (name, "ALARM")
    assert message["OldStateValue"] == "INSUFFICIENT_DATA"

    def actions():
        history = aws.cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")
        return history["AlarmHistoryItems"]

    until(actions)  # written once the topic has taken the message
    assert topic in actions()[0]["HistorySummary"]


def test_disabled_actions_are_not_carried_out(aws):
    topic = client("sns", aws.url).create_topic(Name=aws.name())["TopicArn"]
    metric = aws.name()
    name = alarm(aws, metric, AlarmActions=[topic], ActionsEnabled=False)
    put(aws, metric, 9)
    until(lambda: state(aws, name) == "ALARM")
    actions = aws.cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action")
    assert not actions["AlarmHistoryItems"]


def test_a_set_state_is_kept_and_a_changed_alarm_keeps_its_state(aws):
    name = alarm(aws, aws.name(), TreatMissingData="ignore")
    aws.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    assert state(aws, name) == "ALARM"
    alarm(aws, aws.name(), AlarmName=name, TreatMissingData="ignore", Threshold=7.0)
    assert (describe(aws, name)["StateValue"], describe(aws, name)["Threshold"]) == ("ALARM", 7)


def test_a_set_state_outlasts_data_that_would_end_it(aws):
    metric = aws.name()
    name = alarm(aws, metric)
    put(aws, metric, 0)
    until(lambda: state(aws, name) == "OK")
    aws.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    other = alarm(aws, metric)
    put(aws, metric, 0)
    until(lambda: state(aws, other) == "OK")
    assert state(aws, name) == "ALARM"


def test_alarms_are_found_by_state_prefix_and_page(aws):
    prefix = aws.name()
    for place in range(3):
        alarm(aws, aws.name(), AlarmName=f"{prefix}-{place}")
    pages = aws.cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, PaginationConfig={"PageSize": 2}
    )
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 1]
    raised = aws.cloudwatch.describe_alarms(AlarmNamePrefix=prefix, StateValue="ALARM")
    assert not raised["MetricAlarms"]


@pytest.mark.parametrize("operation", ["describe_alarms", "describe_alarm_history"])
@pytest.mark.parametrize("size", [0, 101])
def test_a_page_has_1_to_100_alarms(aws, operation, size):
    """Clients other than boto3 send 0; boto3 refuses it itself unless it is told not to."""
    unchecked = client("cloudwatch", aws.url, parameter_validation=False)
    assert refused(getattr(unchecked, operation), MaxRecords=size) == (
        "ValidationError",
        "MaxRecords must be 1 to 100.",
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"Period": 5}, "Period"),
        ({"Period": 90}, "Period"),
        ({"Period": 3600, "EvaluationPeriods": 25}, "day"),
        ({"EvaluationPeriods": 2, "DatapointsToAlarm": 3}, "DatapointsToAlarm"),
        ({"Statistic": None}, "Statistic"),
        ({"ExtendedStatistic": "p95"}, "Statistic"),
        ({"Statistic": None, "ExtendedStatistic": "q95"}, "q95"),
        ({"TreatMissingData": "bad"}, "TreatMissingData"),
        ({"Threshold": None}, "Threshold"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "GreaterThanUpperThreshold"),
        ({"AlarmActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "arn:aws:automate"),
        (math_alarm("m1 +", "a"), "end"),
        (math_alarm("METRICS()", "a", "b"), "single time series"),
        (math_alarm("SEARCH('x', 'Sum', 60)"), "SEARCH"),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_is_refused(aws, changes, part):
    with pytest.raises(ClientError) as caught:
        alarm(aws, "m", **changes)
    assert part in caught.value.response["Error"]["Message"]


def test_a_composite_alarm_is_refused_by_name(aws):
    with pytest.raises(ClientError) as caught:
        aws.cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="TRUE")
    assert "PutCompositeAlarm" in caught.value.response["Error"]["Message"]


def test_reason_data_without_a_list_of_datapoints_has_no_datapoints(aws):
    """Application Auto Scaling could not scale the target of such an alarm."""
    from moto.cloudwatch.models import cloudwatch_backends

    name = alarm(aws, aws.name())
    aws.cloudwatch.set_alarm_state(
        AlarmName=name,
        StateValue="ALARM",
        StateReason="test",
        StateReasonData='{"recentDatapoints": 5}',
    )
    backend = cloudwatch_backends[ACCOUNT]["us-east-1"]
    book, stored = find_alarm_book(backend), backend.alarms[name]
    assert book.read_evaluated_values(stored, time.time()) == []

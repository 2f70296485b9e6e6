"""CloudWatch Logs has the lines that instances write, and reads them as AWS does."""

import time

import pytest
from botocore.exceptions import ClientError
from local_aws import client, refused, until

from drdeploy.hosting.local.monitoring.log_patterns import make_log_matcher
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError

REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


@pytest.fixture(scope="module")
def logs(aws):
    return client("logs", aws.url)


def group_of(endpoint):
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def messages(logs, group, **request):
    return [
        event["message"]
        for event in logs.filter_log_events(logGroupName=group, **request)["events"]
    ]


def test_what_a_container_writes_is_in_its_log_group(aws, logs):
    endpoint = aws.endpoint(**REAL_TIME)
    group = group_of(endpoint)
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [one["logGroupName"] for one in found] == [group]
    begin = time.time() * 1000
    aws.invoke(endpoint, b"!print first line")
    aws.invoke(endpoint, "!print zweite Zeile: ä".encode())
    until(lambda: len(messages(logs, group)) == 2)
    events = logs.filter_log_events(logGroupName=group)["events"]
    assert [one["message"] for one in events] == ["first line", "zweite Zeile: ä"]
    assert all(begin - 1 <= one["timestamp"] <= time.time() * 1000 for one in events)
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"].startswith("AllTraffic/i-")
    assert messages(logs, group, filterPattern="first") == ["first line"]
    assert messages(logs, group, logStreamNamePrefix="AllTraffic/", limit=1) == ["first line"]
    assert messages(logs, group, logStreamNamePrefix="Other/") == []
    aws.invoke(endpoint, b"!print last words")
    aws.delete(endpoint)
    assert messages(logs, group)[-1] == "last words"


def test_the_lines_of_a_container_that_does_not_start_are_kept(aws, logs):
    name = aws.name()
    aws.model(name, SAGEMAKER_FAKE_FAILS="1")
    aws.config(name, **REAL_TIME)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert messages(logs, group_of(name)) == ["the model cannot be loaded"]
    aws.delete(name)


@pytest.fixture
def group(aws, logs):
    """A group with a stream of ten events in one second."""
    name = f"group-{aws.name()}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms + place, "message": f"line {place}"} for place in range(10)]
    logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=events)
    return name


def test_pages_of_a_group_follow_one_another(logs, group):
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 4}
    )
    found = [[event["message"] for event in page["events"]] for page in pages]
    assert [len(one) for one in found] == [4, 4, 2]
    assert [text for one in found for text in one] == [f"line {place}" for place in range(10)]


def test_a_follower_gets_each_event_once(logs, group):
    """Version 2 of the AWS CLI follows a group so: it asks again from the newest event on."""
    seen, asked = {}, {"logGroupName": group, "interleaved": True, "startTime": 0, "limit": 4}

    def poll():
        new = []
        token = {}
        while True:
            answer = logs.filter_log_events(**asked, **token)
            for event in answer["events"]:
                if event["eventId"] not in seen:
                    seen[event["eventId"]] = event["timestamp"]
                    new.append(event["message"])
            if "nextToken" not in answer:
                asked["startTime"] = max(seen.values())
                return new
            token = {"nextToken": answer["nextToken"]}

    assert poll() == [f"line {place}" for place in range(10)]
    assert poll() == []
    logs.create_log_stream(logGroupName=group, logStreamName="other")
    later_ms = max(seen.values())
    for stream in ("s", "other"):
        events = [{"timestamp": later_ms, "message": f"late in {stream}"}]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    assert sorted(poll()) == ["late in other", "late in s"]
    assert poll() == []


def test_pages_of_a_stream_go_forwards_and_backwards(logs, group):
    def page(**request):
        return logs.get_log_events(logGroupName=group, logStreamName="s", limit=4, **request)

    def texts(answer):
        return [event["message"] for event in answer["events"]]

    first = page(startFromHead=True)
    second = page(nextToken=first["nextForwardToken"])
    third = page(nextToken=second["nextForwardToken"])
    end = page(nextToken=third["nextForwardToken"])
    forwards = [text for one in (first, second, third) for text in texts(one)]
    assert forwards == [f"line {place}" for place in range(10)]
    assert (texts(end), end["nextForwardToken"]) == ([], third["nextForwardToken"])
    assert texts(page(nextToken=second["nextBackwardToken"])) == texts(first)
    assert texts(page()) == [f"line {place}" for place in range(6, 10)]


def test_thousands_of_lines_are_read_back_in_pages(logs, group):
    """Most of them are compressed by then."""
    begin_ms = int(time.time() * 1000)
    for first in range(0, 4_000, 1_000):
        events = [
            {"timestamp": begin_ms + number, "message": f"of many {number}"}
            for number in range(first, first + 1_000)
        ]
        logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern="many", PaginationConfig={"PageSize": 1_500}
    )
    found = [[event["message"] for event in page["events"]] for page in pages]
    assert [len(one) for one in found] == [1_500, 1_500, 1_000]
    assert [text for one in found for text in one] == [f"of many {one}" for one in range(4_000)]
    last = logs.get_log_events(logGroupName=group, logStreamName="s", limit=2)["events"]
    assert [one["message"] for one in last] == ["of many 3998", "of many 3999"]
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["lastEventTimestamp"] == begin_ms + 3_999


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("filter_log_events", {}),
        ("get_log_events", {"logStreamName": "s"}),
        ("describe_log_streams", {}),
        ("describe_log_groups", None),
    ],
)
def test_a_limit_of_0_is_refused_and_does_not_count_as_missing(aws, group, operation, more):
    """Clients other than boto3 send it; boto3 refuses it itself unless it is told not to."""
    unchecked = client("logs", aws.url, parameter_validation=False)
    named = {} if more is None else {"logGroupName": group} | more
    code, message = refused(getattr(unchecked, operation), **named, limit=0)
    assert code == "InvalidParameterException"
    assert message == (
        "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member "
        "must have value greater than or equal to 1"
    )


def test_a_limit_above_10000_is_refused(logs, group):
    code, message = refused(logs.filter_log_events, logGroupName=group, limit=10_001)
    assert (code, message.rpartition(": ")[2]) == (
        "InvalidParameterException",
        "Member must have value less than or equal to 10000",
    )


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        ("filter_log_events", {"logStreamNames": ["s", "absent"]}),
        ("get_log_events", {"logStreamName": "absent"}),
        ("delete_log_stream", {"logStreamName": "absent"}),
    ],
)
def test_a_stream_that_does_not_exist_is_an_error_and_not_an_empty_answer(
    logs, group, operation, named
):
    with pytest.raises(logs.exceptions.ResourceNotFoundException) as caught:
        getattr(logs, operation)(logGroupName=group, **named)
    assert caught.value.response["Error"]["Message"] == "The specified log stream does not exist."


def test_a_group_is_also_named_by_its_arn(logs, group):
    (found,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    answer = logs.filter_log_events(logGroupIdentifier=found["arn"].removesuffix(":*"))
    assert len(answer["events"]) == 10


def test_lines_older_than_the_retention_are_gone(logs, group):
    old_ms = int((time.time() - 2 * 86_400) * 1000)
    old = [{"timestamp": old_ms, "message": "old"}]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=old)
    assert "old" in messages(logs, group)
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    assert messages(logs, group) == [f"line {place}" for place in range(10)]


def test_a_deleted_group_is_gone_until_the_next_line(aws, logs):
    endpoint = aws.endpoint(**REAL_TIME)
    group = group_of(endpoint)
    aws.invoke(endpoint, b"!print before")
    until(lambda: messages(logs, group))
    logs.delete_log_group(logGroupName=group)
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        messages(logs, group)
    aws.invoke(endpoint, b"!print after")

    def groups():
        return logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]

    until(groups)
    assert messages(logs, group) == ["after"]
    aws.delete(endpoint)


LINE = 'ERROR in photo.jpg: {"level": "error", "took": 12.5, "at": {"path": ["a", "b"]}, "x": null}'


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ("", True), ("ERROR", True), ("error in", True), ("Error", False),
        ("ERROR photo", True), ("ERROR absent", False), ('"ERROR in"', True), ('"in ERROR"', False),
        ("?absent ?ERROR", True), ("?absent ?missing", False),
        ("ERROR -photo", False), ("ERROR -absent", True), ("%pho.o%", True), ("%^photo%", False),
        ("{ $.level = error }", True), ('{ $.level = "e*r" }', True), ("{ $.level != x }", True),
        ("{ $.took > 12 }", True), ("{ $.took <= 12 }", False), ("{ $.took = 12.5 }", True),
        ("{ $.at.path[1] = b }", True), ("{ $.at.path[2] = b }", False),
        ("{ $.x IS NULL }", True), ("{ $.y NOT EXISTS }", True), ("{ $.y IS NULL }", False),
        ("{ ($.took > 100 || $.level = error) && $.took < 20 }", True),
        ("{ $.level = %^err% }", True), ("{ $.['level'] = error }", False),
    ],
)  # fmt: skip
def test_a_pattern_matches_as_on_aws(pattern, is_match):
    if pattern == "{ $.['level'] = error }":
        with pytest.raises(MonitoringError):
            make_log_matcher(pattern)
    else:
        assert make_log_matcher(pattern)(LINE) == is_match


@pytest.mark.parametrize("word", ["nan", "inf", "Infinity", "1_000"])
def test_a_word_that_only_python_reads_as_a_number_is_compared_as_text(word):
    assert make_log_matcher(f"{{ $.state = {word} }}")(f'{{"state": "{word}"}}')


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "[a]",
            "{ $.a = 1",
            "{ $.a > b }",
            "{ a = 1 }",
            "%(%",
            "%(a+)+$%",
            r"%\bword%",
            "%a{3,1}%",
            '"a',
            r'"C:\data"',
        ),
        r'{ $.a = "C:\data" }',
        f"{{ {'(' * 200}$.a = 1{')' * 200} }}",
    ],
)
def test_a_pattern_that_is_not_served_is_refused(logs, group, pattern):
    with pytest.raises(ClientError) as caught:
        messages(logs, group, filterPattern=pattern)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"


def test_events_are_read_from_the_end_if_asked(logs):
    named = {"logGroupName": "from-the-end", "logStreamName": "s"}
    logs.create_log_group(logGroupName="from-the-end")
    logs.create_log_stream(**named)
    now_ms = int(time.time() * 1000)
    logs.put_log_events(
        **named, logEvents=[{"timestamp": now_ms + at, "message": str(at)} for at in range(3)]
    )
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="from-the-end", startFromHead=False, PaginationConfig={"PageSize": 2}
    )
    found = [[event["message"] for event in page["events"]] for page in pages]
    assert found == [["2", "1"], ["0"]]
    # A token keeps its direction if the next request does not name one.
    first = logs.filter_log_events(logGroupName="from-the-end", startFromHead=False, limit=2)
    token = first["nextToken"]
    assert messages(logs, "from-the-end", nextToken=token) == ["0"]
    assert messages(logs, "from-the-end", nextToken=token, startFromHead=True) == ["0"]
    code, _ = refused(logs.filter_log_events, logGroupName="from-the-end", nextToken="1")
    assert code == "InvalidParameterException"

"""CloudWatch has every invocation, in microseconds and under SageMaker's names."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 4}


@pytest.fixture(scope="module")
def invoked(aws):
    """One cold and three warm calls, one refused by the container."""
    name = aws.endpoint(environment={"FAKE_START_S": "1.5"}, ServerlessConfig=SERVERLESS)
    for body in (b"a", b"b", b"!sleep 0.2"):
        aws.invoke(name, body)
    with pytest.raises(ClientError):
        aws.invoke(name, b"!status 422")
    return name


def only(points):
    assert len(points) == 1
    return points[0]


def test_setup_time_is_recorded_for_the_cold_start_alone(aws, invoked):
    point = only(aws.metric(invoked, "ModelSetupTime"))
    assert point["SampleCount"] == 1
    assert point["Average"] > 1_500_000
    assert point["Unit"] == "Microseconds"


def test_model_latency_is_the_containers_share(aws, invoked):
    point = only(aws.metric(invoked, "ModelLatency", "Maximum", "SampleCount"))
    assert point["SampleCount"] == 4
    setup = only(aws.metric(invoked, "ModelSetupTime"))["Average"]
    assert 200_000 < point["Maximum"] < setup


def test_overhead_includes_the_setup(aws, invoked):
    overhead = only(aws.metric(invoked, "OverheadLatency", "Maximum"))["Maximum"]
    assert overhead >= only(aws.metric(invoked, "ModelSetupTime"))["Average"]


@pytest.mark.parametrize(
    ("metric", "total"),
    [("Invocations", 4), ("Invocation4XXErrors", 1), ("Invocation5XXErrors", 0)],
)
def test_calls_and_errors_are_counted(aws, invoked, metric, total):
    assert only(aws.metric(invoked, metric))["Sum"] == total


def test_memory_is_a_percentage_of_the_limit(aws, invoked):
    point = only(aws.metric(invoked, "MemoryUtilization"))
    assert 0 < point["Average"] < 100
    assert point["Unit"] == "Percent"


def test_concurrency_is_a_percentage_of_the_maximum(aws, invoked):
    assert only(aws.metric(invoked, "ServerlessConcurrentExecutionsUtilization"))["Average"] == 25


def test_metrics_are_listed(aws, invoked):
    listed = aws.cloudwatch.list_metrics(
        Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": invoked}]
    )
    assert {"ModelSetupTime", "Invocations"} <= {one["MetricName"] for one in listed["Metrics"]}


def test_metric_data_can_be_queried(aws, invoked):
    now = datetime.now(UTC)
    dimensions = [
        {"Name": "EndpointName", "Value": invoked},
        {"Name": "VariantName", "Value": "AllTraffic"},
    ]
    metric = {
        "Namespace": "AWS/SageMaker",
        "MetricName": "Invocations",
        "Dimensions": dimensions,
    }
    answer = aws.cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": "n", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Sum"}}
        ],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(seconds=1),
    )
    assert sum(answer["MetricDataResults"][0]["Values"]) == 4

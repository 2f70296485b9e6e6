"""CloudWatch has every invocation, in microseconds and under SageMaker's names."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from local_aws import until

SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 4}


@pytest.fixture(scope="module")
def invoked(aws):
    """One cold and three warm calls, one refused by the container."""
    name = aws.endpoint(environment={"SAGEMAKER_FAKE_START_S": "1.5"}, ServerlessConfig=SERVERLESS)
    for body in (b"a", b"b", b"!sleep 0.2"):
        aws.invoke(name, body)
    with pytest.raises(ClientError):
        aws.invoke(name, b"!status 422")
    return name


@pytest.fixture(scope="module")
def cold(aws):
    """An endpoint with one cold call, and the microseconds that its client waited."""
    name = aws.endpoint(environment={"SAGEMAKER_FAKE_START_S": "1.5"}, ServerlessConfig=SERVERLESS)
    began = time.perf_counter()
    aws.invoke(name, b"!sleep 0.2")
    return name, 1e6 * (time.perf_counter() - began)


def only(points):
    assert len(points) == 1
    return points[0]


def test_setup_time_is_recorded_for_the_cold_start_alone(aws, invoked):
    point = only(aws.metric(invoked, "ModelSetupTime"))
    assert point["SampleCount"] == 1
    assert point["Average"] > 1_500_000
    assert point["Unit"] == "Microseconds"


def test_model_latency_is_the_containers_share(aws, invoked, cold):
    assert only(aws.metric(invoked, "ModelLatency"))["SampleCount"] == 4
    name, waited_us = cold
    latency = only(aws.metric(name, "ModelLatency"))["Sum"]
    assert latency > 200_000
    # Without the setup: the two follow each other while the client waits.
    assert latency + only(aws.metric(name, "ModelSetupTime"))["Sum"] < waited_us


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


def test_concurrency_is_a_share_of_the_maximum(aws, invoked):
    point = only(aws.metric(invoked, "ServerlessConcurrentExecutionsUtilization"))
    assert (point["Average"], point["Unit"]) == (0.25, "None")


def test_a_serverless_variant_has_the_metrics_of_its_table_alone(aws, invoked):
    dimensions = [{"Name": "EndpointName", "Value": invoked}]
    listed = aws.cloudwatch.list_metrics(Dimensions=dimensions)["Metrics"]
    assert {(one["Namespace"], one["MetricName"]) for one in listed} == {
        ("AWS/SageMaker", name)
        for name in (
            "Invocations",
            "Invocation4XXErrors",
            "Invocation5XXErrors",
            "ModelLatency",
            "ModelSetupTime",
            "OverheadLatency",
            "MemoryUtilization",
            "ServerlessConcurrentExecutionsUtilization",
        )
    }


@pytest.fixture(scope="module")
def real_time(aws):
    """A real-time endpoint of two instances, three calls, one of which the model refused."""
    name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=2)
    aws.invoke(name)
    aws.invoke(name)
    with pytest.raises(ClientError):
        aws.invoke(name, b"!status 500")
    return name


@pytest.mark.parametrize(
    ("metric", "total"),
    [("InvocationsPerInstance", 1.5), ("InvocationModelErrors", 1), ("Invocation5XXErrors", 1)],
)
def test_a_real_time_variant_counts_by_instance_and_by_error(aws, real_time, metric, total):
    assert only(aws.metric(real_time, metric))["Sum"] == total


def test_p95_is_what_the_container_says_and_the_same_in_both_answers(aws):
    name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=1)
    took_us = [
        1e6 * aws.invoke(name, b"!sleep %f" % (0.001 * place))["took_s"] for place in range(20)
    ]
    now = datetime.now(UTC)
    span = {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(seconds=1)}
    metric = {
        "Namespace": "AWS/SageMaker",
        "MetricName": "ModelLatency",
        "Dimensions": [
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
    }
    (point,) = aws.cloudwatch.get_metric_statistics(
        **metric, **span, Period=7200, ExtendedStatistics=["p95"]
    )["Datapoints"]
    stat = {"Metric": metric, "Period": 7200, "Stat": "p95"}
    answer = aws.cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "a", "MetricStat": stat}], **span
    )
    assert answer["MetricDataResults"][0]["Values"] == [point["ExtendedStatistics"]["p95"]]
    # It includes the way to the container and back.
    own = sorted(took_us)[18]
    assert own < point["ExtendedStatistics"]["p95"]


def test_concurrent_requests_are_counted(aws, real_time):
    assert only(aws.metric(real_time, "ConcurrentRequestsPerModel"))["Average"] == 1


@pytest.mark.parametrize(
    ("metric", "most"),
    [("CPUUtilization", 400), ("MemoryUtilization", 100), ("DiskUtilization", 100)],
)
def test_instances_report_what_they_use(aws, real_time, metric, most):
    namespace = "/aws/sagemaker/Endpoints"

    def points():
        return aws.metric(real_time, metric, namespace=namespace)

    # One sample of each instance, and two more in each minute that has passed.
    until(lambda: points() and points()[0]["SampleCount"] >= 2)
    point = only(points())
    assert point["Unit"] == "Percent"
    assert 0 < point["Average"] < most


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

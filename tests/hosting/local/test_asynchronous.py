"""Asynchronous endpoints: what waits is processed, stored, notified, counted, and never lost."""

import errno
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, Aws, client, put_key, until

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.asynchronous_inference.request_queue import (
    Backlog,
    QueuedRequest,
    RequestQueue,
)

BUCKET = "asynchronous"
INSTANCES = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
PHOTOGRAPH = b"\xff\xd8\xff photograph"
BOTH = ["SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"]
KEY = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-1234567890ab"


def settings(*, concurrency=None, failures=True, **output):
    output = {"S3OutputPath": f"s3://{BUCKET}/out/", **output}
    if failures:
        output["S3FailurePath"] = f"s3://{BUCKET}/failed"
    client_config = {"MaxConcurrentInvocationsPerInstance": concurrency} if concurrency else {}
    return {"OutputConfig": output} | ({"ClientConfig": client_config} if client_config else {})


def create(aws, name=None, config=None, **variant):
    name = name or aws.name()
    aws.model(name)
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": name} | (variant or INSTANCES)
        ],
        AsyncInferenceConfig=config or settings(),
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return name


def endpoint(aws, name=None, config=None):
    name = create(aws, name, config)
    aws.wait(name)
    return name


def submit(aws, name, body=None, **arguments):
    if body is not None:
        arguments["Body"] = body
    return aws.runtime.invoke_endpoint_async(EndpointName=name, **arguments)


def read(aws, uri):
    """Return an object once it is there, and its content type."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    until(lambda: "Contents" in aws.s3.list_objects_v2(Bucket=bucket, Prefix=key))
    found = aws.s3.get_object(Bucket=bucket, Key=key)
    return found["Body"].read(), found


def backlog(aws, name, metric="ApproximateBacklogSize"):
    """Return the newest value of a metric of the queue."""
    now = time.time()
    points = aws.cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": name}],
        StartTime=now - 600,
        EndTime=now + 2,
        Period=1,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max(points, key=lambda point: point["Timestamp"])["Maximum"]


def count(aws, name, metric):
    return sum(point["Sum"] for point in aws.metric(name, metric))


@pytest.fixture(scope="module", autouse=True)
def bucket(aws):
    aws.s3.create_bucket(Bucket=BUCKET)
    aws.s3.put_object(Bucket=BUCKET, Key="in/1.jpg", Body=PHOTOGRAPH)


@pytest.fixture
def topics(aws):
    """Two topics that deliver to a queue, and what the queue has received."""
    sns, sqs = client("sns", aws.url), client("sqs", aws.url)
    url = sqs.create_queue(QueueName=aws.name())["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    success, error = (sns.create_topic(Name=aws.name())["TopicArn"] for _ in range(2))
    for topic in (success, error):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
    received = []

    def receive(number):
        def take():
            for message in sqs.receive_message(QueueUrl=url).get("Messages", ()):
                received.append(json.loads(json.loads(message["Body"])["Message"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(received) >= number

        until(take)
        return received

    return SimpleNamespace(success=success, error=error, receive=receive)


def test_results_failures_notifications_and_metrics_are_those_of_sagemaker(aws, topics):
    notified = {"SuccessTopic": topics.success, "ErrorTopic": topics.error}
    notified["IncludeInferenceResponseIn"] = BOTH
    name = endpoint(aws, config=settings(NotificationConfig=notified))
    described = aws.sagemaker.describe_endpoint(EndpointName=name)
    assert described["AsyncInferenceConfig"]["OutputConfig"]["NotificationConfig"] == notified

    answer = submit(
        aws,
        name,
        InputLocation=f"s3://{BUCKET}/in/1.jpg",
        ContentType="image/jpeg",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="exam-7",
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "exam-7"
    assert re.fullmatch(rf"s3://{BUCKET}/out/[0-9a-f-]+\.out", answer["OutputLocation"])
    assert re.fullmatch(rf"s3://{BUCKET}/failed/[0-9a-f-]+-error\.out", answer["FailureLocation"])
    body, _ = read(aws, answer["OutputLocation"])
    headers = json.loads(body)["headers"]
    assert json.loads(body)["length"] == len(PHOTOGRAPH)
    assert headers["content-type"] == "image/jpeg"
    assert headers["accept"] == "application/json"
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert headers["x-amzn-sagemaker-inference-id"] == "exam-7"

    refused = submit(aws, name, b"!status 415")
    body, found = read(aws, refused["FailureLocation"])
    assert body == b'{"error": {"code": "UnreadableImage"}}'
    assert found["ContentType"] == "application/json"
    absent = submit(aws, name, InputLocation=f"s3://{BUCKET}/in/none.jpg")
    assert b"Failed to download" in read(aws, absent["FailureLocation"])[0]
    late = submit(aws, name, b"!sleep 30", InvocationTimeoutSeconds=1)
    assert b"InvocationTimeoutSeconds of 1" in read(aws, late["FailureLocation"])[0]
    died = submit(aws, name, b"!die")
    assert b"The container ended" in read(aws, died["FailureLocation"])[0]

    by_id = {message["inferenceId"]: message for message in topics.receive(5)}
    completed, failed = by_id["exam-7"], by_id[refused["InferenceId"]]
    assert completed["invocationStatus"] == "Completed"
    assert completed["requestParameters"]["inputLocation"] == f"s3://{BUCKET}/in/1.jpg"
    assert completed["responseParameters"]["outputLocation"] == answer["OutputLocation"]
    assert completed["responseBody"]["message"] == "success"
    assert (failed["invocationStatus"], failed["eventName"]) == ("Failed", "InferenceResult")
    assert failed["failureReason"].startswith("ClientError: Received client error (415)")
    assert "responseBody" not in by_id[absent["InferenceId"]]

    logs = client("logs", aws.url)
    events = logs.filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
    lines = [one["message"] for one in events if one["logStreamName"].endswith("/data-log")]
    assert len(lines) == 4
    assert lines[0].endswith(
        f"[sagemaker logs] [{refused['InferenceId']}] Received client error (415) from primary "
        'with message "{"error": {"code": "UnreadableImage"}}"'
    )

    until(lambda: count(aws, name, "InvocationsProcessed") == 5)
    assert count(aws, name, "InvocationFailures") == 4
    assert count(aws, name, "RequestDownloadFailures") == 1
    assert count(aws, name, "Invocation4XXErrors") == 1
    assert aws.metric(name, "TimeInBacklog")
    assert aws.metric(name, "TotalProcessingTime")
    assert not aws.metric(name, "Invocations")


def test_a_client_chooses_the_name_of_the_result_and_sends_its_input_inline(aws):
    name = endpoint(aws)
    answer = submit(aws, name, PHOTOGRAPH, S3OutputPathExtension="ward/3/", Filename="eye.json")
    assert answer["OutputLocation"] == f"s3://{BUCKET}/out/ward/3/eye.json"
    assert json.loads(read(aws, answer["OutputLocation"])[0])["length"] == len(PHOTOGRAPH)


def test_an_input_is_the_object_with_exactly_the_key_of_its_location(aws, asynchronous):
    """The rest of a key from a # or a ? was left out, and another photograph was graded."""
    aws.s3.put_object(Bucket=BUCKET, Key="in/eye", Body=b"another photograph")
    for key in ("in/eye#1.jpg", "in/eye?2.jpg", "in/eye%203.jpg", "in/[4].jpg"):
        aws.s3.put_object(Bucket=BUCKET, Key=key, Body=PHOTOGRAPH)
        answer = submit(aws, asynchronous, InputLocation=f"s3://{BUCKET}/{key}")
        assert json.loads(read(aws, answer["OutputLocation"])[0])["length"] == len(PHOTOGRAPH)


def test_results_are_encrypted_with_the_key_of_the_configuration(aws):
    put_key(KEY)
    name = endpoint(aws, config=settings(KmsKeyId=KEY, failures=False))
    answer = submit(aws, name, PHOTOGRAPH)
    assert "FailureLocation" not in answer
    assert read(aws, answer["OutputLocation"])[1]["SSEKMSKeyId"] == KEY


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Provide exactly one of Body and InputLocation"),
        ({"Body": b"x", "InputLocation": "s3://b/k"}, "Provide exactly one"),
        ({"Body": b"x" * 128_001}, "less than or equal to 128000"),
        ({"InputLocation": "https://b.s3.amazonaws.com/k"}, "Write the location as s3://"),
        ({"Body": b"x", "RequestTTLSeconds": 59}, "greater than or equal to 60"),
        ({"Body": b"x", "InvocationTimeoutSeconds": 3601}, "less than or equal to 3600"),
        ({"Body": b"x", "Filename": "a.b.c"}, "satisfy regular expression pattern"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_queued_is_refused(aws, asynchronous, arguments, said):
    unchecked = client("sagemaker-runtime", aws.url, parameter_validation=False)
    with pytest.raises(ClientError, match=re.escape(said)) as caught:
        unchecked.invoke_endpoint_async(EndpointName=asynchronous, **arguments)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


@pytest.fixture(scope="module")
def asynchronous(aws):
    return endpoint(aws)


def test_each_kind_of_endpoint_takes_its_own_kind_of_invocation(aws, asynchronous):
    with pytest.raises(ClientError, match="Use InvokeEndpointAsync"):
        aws.invoke(asynchronous)
    with pytest.raises(ClientError, match="is not an asynchronous endpoint"):
        submit(aws, aws.endpoint(), b"x")
    with pytest.raises(ClientError, match="not found"):
        submit(aws, "nowhere", b"x")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (settings(S3OutputPath="https://b.s3.amazonaws.com/k"), "Write the folder as s3://"),
        (settings(S3OutputPath="s3://b/\ud800"), "S3OutputPath must be UTF-8 text"),
        (settings(S3OutputPath="s3://b/фото"), "S3OutputPath='s3://b/фото', because InvokeEnd"),
        (settings(S3OutputPath="s3://b/a\rb"), "Use printable ASCII characters only"),
        ({"OutputConfig": {}}, "without OutputConfig.S3OutputPath"),
        (
            settings(NotificationConfig={"IncludeInferenceResponseIn": BOTH[:1]}),
            "SuccessTopic must be set",
        ),
        (settings(KmsKeyId="alias/none"), "does not exist"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_have_its_effect_is_refused(aws, config, said):
    with pytest.raises(ClientError, match=re.escape(said)):
        create(aws, config=config)


def test_a_serverless_endpoint_cannot_be_asynchronous(aws):
    with pytest.raises(ClientError, match="are mutually exclusive"):
        create(aws, ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (settings(S3OutputPath="s3://no-such-bucket/out"), "The bucket no-such-bucket"),
        (
            settings(NotificationConfig={"ErrorTopic": "arn:aws:sns:us-east-1:123456789012:none"}),
            "The topic arn:aws:sns:us-east-1:123456789012:none",
        ),
    ],
    ids=str,
)
def test_an_endpoint_without_a_destination_of_its_results_fails(aws, config, said):
    name = create(aws, config=config)
    aws.wait(name, "Failed")
    assert said in aws.failure_reason(name)


def test_the_execution_role_must_be_allowed_to_write_results(aws):
    iam = client("iam", aws.url)
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    trust["Principal"] = {"Service": "sagemaker.amazonaws.com"}
    role = iam.create_role(
        RoleName="without-put",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    granted = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    iam.put_role_policy(
        RoleName="without-put",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [granted]}),
    )
    name = aws.name()
    aws.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "drdeploy:lean"}
    )
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "v", "ModelName": name} | INSTANCES],
        AsyncInferenceConfig=settings(),
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert f"s3:PutObject permission for the results: 's3://{BUCKET}/out'" in aws.failure_reason(
        name
    )


def test_the_backlog_counts_what_waits_and_what_is_processed(aws, hold):
    name = endpoint(aws, config=settings(concurrency=2))
    answers = [submit(aws, name, hold.body) for _ in range(7)]
    hold.wait_for(2)
    until(lambda: backlog(aws, name) == 7)
    until(lambda: backlog(aws, name, "ApproximateBacklogSizePerInstance") == 7)
    until(lambda: backlog(aws, name, "HasBacklogWithoutCapacity") == 0)
    assert len(list(hold.folder.glob("*-*"))) == 2  # MaxConcurrentInvocationsPerInstance
    hold.release()
    for answer in answers:
        read(aws, answer["OutputLocation"])
    until(lambda: backlog(aws, name) == 0)


def test_requests_wait_without_instances_until_there_is_one(aws):
    name = endpoint(aws)
    scale(aws, name, 0)
    until(lambda: describe_instances(aws, name) == 0)
    answers = [submit(aws, name, PHOTOGRAPH) for _ in range(3)]
    until(lambda: backlog(aws, name) == 3)
    until(lambda: backlog(aws, name, "HasBacklogWithoutCapacity") == 1)
    scale(aws, name, 1)
    for answer in answers:
        read(aws, answer["OutputLocation"])
    until(lambda: backlog(aws, name, "HasBacklogWithoutCapacity") == 0)


def scale(aws, name, instances):
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "AllTraffic", "DesiredInstanceCount": instances}
        ],
    )


def describe_instances(aws, name):
    described = aws.sagemaker.describe_endpoint(EndpointName=name)
    return described["ProductionVariants"][0]["CurrentInstanceCount"]


def test_a_deleted_endpoint_takes_its_queue_with_it(aws, hold):
    name = endpoint(aws, config=settings(concurrency=1))
    for _ in range(3):
        submit(aws, name, hold.body)
    hold.wait_for(1)
    aws.sagemaker.delete_endpoint(EndpointName=name)
    folder = Path(status(aws)["queue_folder"]) / "us-east-1" / name
    until(lambda: not folder.exists())
    hold.release()
    aws.wait(name, "Deleted")


def status(aws):
    with urlopen(f"{aws.url}/_drdeploy/status") as answer:
        return json.load(answer)


@pytest.fixture
def run_service(home, tmp_path):
    """``with run_service() as (service, aws)``: services that share a folder of queues."""

    def run():
        options = ServiceOptions(trial_start=False, queue_folder=tmp_path / "queue")
        return LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER)

    return run


def test_a_stopped_service_loses_no_request_and_expires_those_that_waited_too_long(
    run_service, tmp_path, hold
):
    with run_service() as service:
        aws = Aws.at(service.url)
        aws.s3.create_bucket(Bucket=BUCKET)
        aws.s3.put_object(Bucket=BUCKET, Key="in/1.jpg", Body=PHOTOGRAPH)
        endpoint(aws, "e", settings(concurrency=1))
        in_progress = submit(aws, "e", hold.body)
        hold.wait_for(1)
        waiting = submit(aws, "e", InputLocation=f"s3://{BUCKET}/in/1.jpg")
        expiring = submit(aws, "e", PHOTOGRAPH, RequestTTLSeconds=60)
    hold.release()
    files = sorted((tmp_path / "queue").glob("*/*/*.json"))
    assert len(files) == 3
    request = json.loads(files[2].read_text())
    files[2].write_text(json.dumps(request | {"received_s": request["received_s"] - 61}))

    with run_service() as service:
        aws = Aws.at(service.url)
        aws.s3.create_bucket(Bucket=BUCKET)
        aws.s3.delete_object(Bucket=BUCKET, Key="in/1.jpg")  # moto is one for the whole process
        endpoint(aws, "e", settings(concurrency=1))
        read(aws, in_progress["OutputLocation"])
        body, _ = read(aws, waiting["OutputLocation"])
        assert json.loads(body)["length"] == len(PHOTOGRAPH)
        assert b"RequestTTLSeconds of 60" in read(aws, expiring["FailureLocation"])[0]
        until(lambda: count(aws, "e", "ExpiredRequests") == 1)
        # A result is in S3 a moment before its request is taken from the disk and counted.
        until(lambda: count(aws, "e", "InvocationsProcessed") == 2)
    assert not (tmp_path / "queue").exists()


def test_a_folder_of_queues_serves_one_service_at_a_time(run_service, tmp_path):
    """Two services would both process each request, and delete one another's."""
    with run_service(), pytest.raises(InvalidInput, match="Another local service uses the folder"):
        run_service()
    folder = tmp_path / "queue"
    folder.write_text("a file")
    with pytest.raises(InvalidInput, match="requests cannot be used: File exists"):
        run_service()
    folder.unlink()
    with run_service():  # the refused services have left nothing behind
        assert folder.is_dir()


def test_a_request_for_which_no_queue_can_be_made_is_refused_with_the_reason(aws, service):
    name = endpoint(aws)
    queues = service._queues
    until((queues.folder / "us-east-1" / name).is_dir)
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(queues, "find_queue", fail)
        with pytest.raises(ClientError, match="cannot be stored: No space left") as caught:
            submit(aws, name, PHOTOGRAPH)
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"


def test_a_queue_that_nobody_closed_has_every_request_and_its_input(tmp_path, caplog):
    queue = RequestQueue(tmp_path / "e")
    requests = [make_request(queue.make_request_number(), f"r{number}") for number in range(3)]
    for request in requests:
        queue.add_request(request, PHOTOGRAPH)
    assert queue.take_request() == requests[0]  # and the service is killed
    (tmp_path / "e" / "9.draft").write_text("{")
    (tmp_path / "e" / "9.json").write_text("{")

    found = RequestQueue(tmp_path / "e")
    assert "9.json is not a queued request" in caplog.text
    assert [found.take_request() for _ in range(3)] == requests
    assert found.read_stored_input(requests[0]) == PHOTOGRAPH
    assert found.make_request_number() > requests[2].number
    found.put_request_back(requests[1])
    assert found.take_request() == requests[1]
    for request in requests:
        found.finish_request(request)
    assert found.measure_backlog(0.0) == Backlog(0, 0.0)
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"9.draft", "9.json"}
    mode = (tmp_path / "e").stat().st_mode & 0o777
    assert mode == 0o700


def make_request(number, inference_id):
    return QueuedRequest(number, "run", inference_id, 0.0, None, {}, "s3://b/k", None, 60.0, 1.0)


def test_an_endpoint_stays_asynchronous(aws):
    name = endpoint(aws)
    aws.config(f"{name}-direct", model=name, **INSTANCES)
    with pytest.raises(ClientError, match="Create a new endpoint"):
        aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-direct")
    assert aws.status(name) == "InService"


def test_an_endpoint_scales_to_zero_and_a_backlog_without_instances_wakes_it(aws):
    name = endpoint(aws)
    scaling = client("application-autoscaling", aws.url)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    dimensions = [{"Name": "EndpointName", "Value": name}]
    tracking = scaling.put_scaling_policy(
        **target,
        PolicyName="backlog",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": dimensions,
                "Statistic": "Average",
            },
        },
    )
    step = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
    wake = scaling.put_scaling_policy(
        **target,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": 300,
            "StepAdjustments": [step],
        },
    )["PolicyARN"]
    alarm = f"{name}-wake"
    aws.cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        MetricName="HasBacklogWithoutCapacity",
        Namespace="AWS/SageMaker",
        Dimensions=dimensions,
        Statistic="Average",
        Period=60,
        EvaluationPeriods=2,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
        AlarmActions=[wake],
    )
    (low,) = [one["AlarmName"] for one in tracking["Alarms"] if "AlarmLow" in one["AlarmName"]]
    raise_alarm(aws, low, 0.0)
    until(lambda: describe_instances(aws, name) == 0)
    answer = submit(aws, name, PHOTOGRAPH)
    until(lambda: backlog(aws, name, "HasBacklogWithoutCapacity") == 1)
    raise_alarm(aws, alarm, 1.0)
    read(aws, answer["OutputLocation"])
    assert describe_instances(aws, name) == 1


def raise_alarm(aws, name, value):
    """Bring about at once what minutes of a metric would."""
    aws.cloudwatch.set_alarm_state(
        AlarmName=name,
        StateValue="ALARM",
        StateReason="minutes have passed",
        StateReasonData=json.dumps({"recentDatapoints": [value, value]}),
    )

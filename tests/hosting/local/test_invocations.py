"""InvokeEndpoint: what reaches the container, what comes back, what is refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, Aws, until

from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.units import MIB

SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def refused(aws, name, body=b"x", **arguments):
    with pytest.raises(ClientError) as caught:
        aws.invoke(name, body, **arguments)
    return caught.value.response


@pytest.fixture(scope="module")
def one_at_a_time(aws):
    return aws.endpoint(ServerlessConfig=SERVERLESS)


@pytest.fixture(scope="module")
def real_time(aws):
    return aws.endpoint(**REAL_TIME)


def test_the_answer_passes_unchanged(aws, real_time):
    answer = aws.runtime.invoke_endpoint(EndpointName=real_time, Body=b"!large 1000")
    assert answer["Body"].read() == b"x" * 1000
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ResponseMetadata"]["RequestId"]  # as of every request to AWS


def test_custom_attributes_come_back(aws, real_time):
    answer = aws.runtime.invoke_endpoint(EndpointName=real_time, Body=b"x")
    assert answer["CustomAttributes"] == "a=1"


def test_the_body_reaches_the_container_whole(aws, real_time):
    assert aws.invoke(real_time, bytes(5 * MIB))["length"] == 5 * MIB


def test_known_headers_reach_the_container_and_no_others(aws, real_time):
    answer = aws.invoke(
        real_time,
        ContentType="image/png",
        Accept="text/csv",
        CustomAttributes="trace=7",
        InferenceId="i-1",
    )
    assert answer["headers"] | {"host": "", "accept-encoding": ""} == {
        "host": "",
        "accept-encoding": "",
        "content-length": "10",
        "content-type": "image/png",
        "accept": "text/csv",
        "x-amzn-sagemaker-custom-attributes": "trace=7",
        "x-amzn-sagemaker-inference-id": "i-1",
    }


def test_custom_attributes_over_their_length_are_refused(aws, real_time):
    error = refused(aws, real_time, CustomAttributes="x" * 1025)["Error"]
    assert error["Code"] == "ValidationError"
    assert "customAttributes" in error["Message"]


def test_an_unknown_endpoint_is_not_found(aws):
    response = refused(aws, "absent")
    assert response["Error"] == {
        "Code": "ValidationError",
        "Message": "Endpoint absent of account 123456789012 not found.",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_the_name_must_be_written_as_created(aws, real_time):
    assert refused(aws, real_time.upper())["Error"]["Code"] == "ValidationError"


def test_an_unknown_variant_is_refused(aws, real_time):
    error = refused(aws, real_time, TargetVariant="other")["Error"]
    assert error["Code"] == "ValidationError"
    assert "Variant other not found" in error["Message"]


@pytest.mark.parametrize("status", [400, 415, 500])
def test_the_containers_error_becomes_a_model_error(aws, real_time, status):
    response = refused(aws, real_time, f"!status {status}".encode())
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == '{"error": {"code": "UnreadableImage"}}'
    assert response["LogStreamArn"].endswith(f"/aws/sagemaker/Endpoints/{real_time}")


def test_the_model_error_can_be_caught_as_boto3s_own(aws, real_time):
    with pytest.raises(aws.runtime.exceptions.ModelError):
        aws.invoke(real_time, b"!status 422")


def test_a_second_call_beyond_max_concurrency_is_throttled(aws, one_at_a_time, hold):
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(aws.invoke, one_at_a_time, hold.body)
        hold.wait_for(1)
        response = refused(aws, one_at_a_time)
        hold.release()
        assert first.result()["length"] == len(hold.body)
    assert response["Error"]["Code"] == "ThrottlingException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_of_two_calls_at_once_max_concurrency_one_serves_one(aws, hold):
    name = aws.endpoint(ServerlessConfig=SERVERLESS)
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(aws.invoke, name, hold.body) for _ in range(2)]
        until(lambda: any(call.done() for call in calls))
        hold.release()
    failures = [call.exception() for call in calls if call.exception()]
    assert [failure.response["Error"]["Code"] for failure in failures] == ["ThrottlingException"]


def test_calls_within_max_concurrency_run_at_once(aws, hold):
    name = aws.endpoint(ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 3})
    with ThreadPoolExecutor(3) as executor:
        calls = [executor.submit(aws.invoke, name, hold.body) for _ in range(3)]
        hold.wait_for(3)
        hold.release()
    assert len({call.result()["pid"] for call in calls}) == 3


@pytest.mark.parametrize(
    ("kind", "limit_mb"), [("one_at_a_time", 4), ("real_time", 6)], ids=["serverless", "real-time"]
)
def test_a_body_over_the_limit_is_refused(aws, request, kind, limit_mb):
    name = request.getfixturevalue(kind)
    response = refused(aws, name, bytes(limit_mb * MIB + 1))
    assert response["Error"]["Code"] == "ValidationError"
    assert f"Request is larger than {limit_mb * MIB} bytes" in response["Error"]["Message"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_body_of_exactly_the_limit_is_served(aws, one_at_a_time):
    assert aws.invoke(one_at_a_time, bytes(4 * MIB))["length"] == 4 * MIB


def test_an_answer_over_the_limit_is_a_model_error(aws, one_at_a_time):
    response = refused(aws, one_at_a_time, b"!large %d" % (4 * MIB + 1))
    assert response["Error"]["Code"] == "ModelError"
    assert "larger than" in response["OriginalMessage"]


@pytest.fixture(scope="module")
def impatient():
    """A service whose invocations time out after a second."""
    options = ServiceOptions(trial_start=False, invocation_timeout_s=1.0)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as own:
        yield Aws.at(own.url)


def test_a_container_that_does_not_answer_in_time_is_a_model_error(impatient):
    name = impatient.endpoint(**REAL_TIME)
    response = refused(impatient, name, b"!sleep 10")
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 0
    assert "timed out" in response["OriginalMessage"]


def test_a_start_that_takes_too_long_for_a_request_is_not_ready_yet(impatient):
    name = impatient.endpoint(
        environment={"SAGEMAKER_FAKE_START_S": "2"}, ServerlessConfig=SERVERLESS
    )
    response = refused(impatient, name)
    assert response["Error"]["Code"] == "ModelNotReadyException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    # The start goes on meanwhile: a later request finds it done.
    until(lambda: answers(impatient, name))


def answers(aws, name):
    """The answer, or None while the endpoint is not ready."""
    try:
        return aws.invoke(name)
    except (aws.runtime.exceptions.ModelNotReadyException, aws.runtime.exceptions.ModelError):
        return None


def test_traffic_is_shared_by_weight(aws):
    model, name = aws.name(), aws.name()
    aws.model(model)
    aws.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {"VariantName": variant, "ModelName": model, "InitialVariantWeight": weight} | REAL_TIME
            for variant, weight in (("all", 1.0), ("none", 0.0))
        ],
    )
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)

    def invoked(**arguments):
        answer = aws.runtime.invoke_endpoint(EndpointName=name, Body=b"x", **arguments)
        return answer["InvokedProductionVariant"]

    assert {invoked() for _ in range(10)} == {"all"}
    assert invoked(TargetVariant="none") == "none"
    aws.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "all", "DesiredWeight": 0.0},
            {"VariantName": "none", "DesiredWeight": 1.0},
        ],
    )
    assert {invoked() for _ in range(10)} == {"none"}


def test_many_connections_are_served_at_once(aws, real_time, hold):
    with ThreadPoolExecutor(40) as executor:
        calls = [executor.submit(aws.invoke, real_time, hold.body) for _ in range(40)]
        hold.wait_for(40)
        hold.release()
    assert [call.result()["length"] for call in calls] == [len(hold.body)] * 40


def test_throttled_calls_do_not_reach_the_container(aws, hold):
    name = aws.endpoint(ServerlessConfig=SERVERLESS)
    assert aws.invoke(name)["invocation"] == 1
    with ThreadPoolExecutor(1) as executor:
        slow = executor.submit(aws.invoke, name, hold.body)
        hold.wait_for(1)
        assert refused(aws, name)["Error"]["Code"] == "ThrottlingException"
        hold.release()
    assert slow.result()["invocation"] == 2
    assert aws.invoke(name)["invocation"] == 3

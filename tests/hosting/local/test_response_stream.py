"""``InvokeEndpointWithResponseStream`` passes the parts of an answer on as they come."""

import pytest
from botocore.exceptions import ClientError, EventStreamError
from local_aws import until

REAL_TIME = {"InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
PARTS = "text/plain"
"""What the fake server is asked for if it shall send the words of the request part by part."""


@pytest.fixture(scope="module")
def streamed(aws):
    return aws.endpoint(**REAL_TIME)


def stream(aws, name, body, **arguments):
    return aws.runtime.invoke_endpoint_with_response_stream(
        EndpointName=name, Body=body, **arguments
    )


def test_parts_arrive_before_the_answer_is_complete(aws, streamed, tmp_path):
    gate = tmp_path / "gate"
    answer = stream(aws, streamed, f"one wait:{gate} two".encode(), Accept=PARTS)
    assert answer["ContentType"] == "text/plain"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "a=1"
    assert answer["ResponseMetadata"]["RequestId"]
    events = iter(answer["Body"])
    assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    gate.touch()  # the rest of the answer is made only now
    assert list(events) == [{"PayloadPart": {"Bytes": b"two"}}]
    for metric in ("FirstChunkLatency", "FirstChunkModelLatency", "ModelLatency"):
        until(lambda metric=metric: aws.metric(streamed, metric))
    assert aws.metric(streamed, "MidStreamErrors", "Sum")[0]["Sum"] == 0


def test_a_stream_that_breaks_off_ends_with_the_error_of_aws(aws, streamed):
    events = iter(stream(aws, streamed, b"one break", Accept=PARTS)["Body"])
    assert next(events) == {"PayloadPart": {"Bytes": b"one"}}
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        next(events)
    until(lambda: aws.metric(streamed, "MidStreamErrors", "Sum")[0]["Sum"] == 1)
    # A whole answer, on the same endpoint, is one stream too.
    parts = [one["PayloadPart"]["Bytes"] for one in stream(aws, streamed, b"whole")["Body"]]
    assert b'"length": 5' in b"".join(parts)


def test_what_the_container_or_the_service_refuses_is_an_error_and_no_stream(aws, streamed):
    with pytest.raises(ClientError) as caught:
        stream(aws, streamed, b"!status 415")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 415
    with pytest.raises(ClientError, match="not found"):
        stream(aws, "nowhere", b"x")
    with pytest.raises(ClientError, match="does not serve SessionId"):
        stream(aws, streamed, b"x", SessionId="s-1")


def test_a_client_that_leaves_frees_the_worker(aws, streamed, tmp_path):
    gate = tmp_path / "gate"
    body = stream(aws, streamed, f"one wait:{gate} two".encode(), Accept=PARTS)["Body"]
    next(iter(body))
    body.close()
    gate.touch()
    until(lambda: aws.invoke(streamed)["invocation"])

"""The client: failures are explained, what was created is deleted, nothing is retried."""

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.stub import Stubber

from drdeploy.errors import EndpointError, EndpointFailed, EndpointTimeout, InvalidInput
from drdeploy.hosting.sagemaker import (
    Clock,
    EndpointDefinition,
    Hosting,
    RealTimeConfig,
    ServerlessConfig,
    is_loopback_url,
    make_boto3_client,
    make_hosting_clients,
)
from drdeploy.hosting.sagemaker.configs import VARIANT
from drdeploy.hosting.sagemaker.connection import READ_TIMEOUT_S

URL = "http://127.0.0.1:9"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:thing/demo"


class FakeTime:
    """A clock that only sleeping advances."""

    def __init__(self):
        self.seconds = 0.0

    def clock(self):
        return Clock(monotonic=lambda: self.seconds, sleep=self.sleep)

    def sleep(self, duration_s):
        self.seconds += duration_s


@pytest.fixture(scope="module")
def clients():
    return make_hosting_clients(URL)


@pytest.fixture
def control(clients):
    with Stubber(clients.sagemaker) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def hosting(clients):
    return Hosting(clients, is_local=True, clock=FakeTime().clock())


DEPLOYMENT = EndpointDefinition(
    "demo", "drdeploy:lean", "s3://bucket/model.tar.gz", ServerlessConfig(memory_mb=1024)
)


def endpoint(status, **more):
    times = {"CreationTime": datetime.now(UTC), "LastModifiedTime": datetime.now(UTC)}
    return {"EndpointName": "demo", "EndpointArn": ARN, "EndpointStatus": status, **times, **more}


def add_deletions(control, *, failing=()):
    if "endpoint" in failing:
        control.add_client_error("delete_endpoint", "AccessDeniedException", "not yours")
    else:
        control.add_response("delete_endpoint", {})
        control.add_client_error(
            "describe_endpoint", "ValidationException", 'Could not find endpoint "demo".'
        )
    for kind in ("endpoint_config", "model"):
        if kind in failing:
            control.add_client_error(f"delete_{kind}", "AccessDeniedException", "not yours")
        else:
            control.add_response(f"delete_{kind}", {})


def test_wait_ends_when_the_endpoint_is_in_service(hosting, control):
    control.add_response("describe_endpoint", endpoint("Creating"))
    control.add_response("describe_endpoint", endpoint("InService"))
    hosting.wait_in_service("demo")


def test_a_failed_endpoint_raises_its_reason(hosting, control):
    control.add_response("describe_endpoint", endpoint("Failed", FailureReason="ping gave 500"))
    with pytest.raises(EndpointFailed, match="ping gave 500"):
        hosting.wait_in_service("demo")


def test_an_endpoint_that_never_starts_times_out(hosting, control):
    for _ in range(4):
        control.add_response("describe_endpoint", endpoint("Creating"))
    with pytest.raises(EndpointTimeout, match="Creating and not InService after 1 s"):
        hosting.wait_in_service("demo", timeout_s=0.6)


def test_a_denial_names_the_action_and_the_remedy(hosting, control):
    control.add_client_error("create_model", "AccessDeniedException", "not authorized")
    refusal = r"create the model: AWS answered AccessDenied.* Use other credentials"
    with pytest.raises(EndpointError, match=refusal):
        hosting.create(DEPLOYMENT)


def test_an_existing_endpoint_of_the_same_name_is_left_alone(hosting, control):
    control.add_client_error("create_model", "ValidationException", "Cannot create existing model")
    with pytest.raises(EndpointError, match="existing model"):
        hosting.create(DEPLOYMENT)


def test_what_was_made_is_deleted_when_a_later_step_is_refused(hosting, control):
    control.add_response("create_model", {"ModelArn": ARN})
    control.add_client_error("create_endpoint_config", "ResourceLimitExceeded", "too many")
    control.add_response("delete_model", {})
    with pytest.raises(EndpointError, match="too many"):
        hosting.create(DEPLOYMENT)


def test_deployed_deletes_after_an_interruption(hosting, control):
    control.add_response("create_model", {"ModelArn": ARN})
    control.add_response("create_endpoint_config", {"EndpointConfigArn": ARN})
    control.add_response("create_endpoint", {"EndpointArn": ARN})
    control.add_response("describe_endpoint", endpoint("InService"))
    add_deletions(control)
    with pytest.raises(KeyboardInterrupt), hosting.deployed(DEPLOYMENT):
        raise KeyboardInterrupt


def test_a_failure_says_what_could_not_be_deleted_after_it(hosting, control):
    control.add_response("create_model", {"ModelArn": ARN})
    control.add_response("create_endpoint_config", {"EndpointConfigArn": ARN})
    control.add_response("create_endpoint", {"EndpointArn": ARN})
    control.add_response("describe_endpoint", endpoint("Failed", FailureReason="no ping"))
    add_deletions(control, failing=("endpoint",))
    message = (
        r"no ping. The resources .* not all deleted.*not yours.*"
        r" because they may cost money: endpoint"
    )
    with pytest.raises(EndpointFailed, match=message), hosting.deployed(DEPLOYMENT):
        pass


def test_deletion_goes_on_after_a_refusal_and_names_what_remains(hosting, control):
    add_deletions(control, failing=("endpoint", "model"))
    with pytest.raises(EndpointError, match="because they may cost money: endpoint, model"):
        hosting.delete("demo")


def test_deleting_absent_resources_is_no_error(hosting, control):
    for operation in ("delete_endpoint", "delete_endpoint_config", "delete_model"):
        control.add_client_error(operation, "ValidationException", 'Could not find "demo".')
    hosting.delete("demo")


def test_a_serverless_variant_is_what_the_api_takes():
    config = ServerlessConfig(memory_mb=2048, max_concurrency=5, provisioned_concurrency=2)
    variant = EndpointDefinition("demo", "i", "s3://b/k", config).production_variant
    assert variant["ServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 5,
        "ProvisionedConcurrency": 2,
    }


def test_a_realtime_variant_is_what_the_api_takes():
    config = RealTimeConfig(instance_type="ml.m5.xlarge", initial_instance_count=2)
    variant = EndpointDefinition("demo", "i", "s3://b/k", config).production_variant
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.xlarge", 2)


def test_metrics_come_oldest_first_and_in_windows_the_api_allows(clients, hosting):
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    end = datetime(2025, 1, 2, 6, tzinfo=UTC)  # 30 h of minutes: two requests
    late = {"Timestamp": end, "Average": 2.0, "SampleCount": 1.0}
    early = {"Timestamp": begin, "Average": 1.0, "SampleCount": 1.0}
    with Stubber(clients.cloudwatch) as stub:
        for points in ([late, early], []):
            stub.add_response("get_metric_statistics", {"Datapoints": points})
        found = hosting.metric("demo", "ModelSetupTime", start=begin, end=end)
        stub.assert_no_pending_responses()
    assert [point.average for point in found] == [1.0, 2.0]


def test_the_windows_of_metrics_begin_with_a_period(clients, hosting):
    """CloudWatch rounds down: 24 h from the middle of a minute would be 1441 datapoints."""
    begin = datetime(2025, 1, 1, 10, 0, 30, 5, tzinfo=UTC)
    asked = []
    clients.cloudwatch.meta.events.register(
        "provide-client-params.cloudwatch.GetMetricStatistics",
        lambda params, **_: asked.append((params["StartTime"], params["EndTime"])),
    )
    with Stubber(clients.cloudwatch) as stub:
        for _ in range(3):
            stub.add_response("get_metric_statistics", {"Datapoints": []})
        hosting.metric("demo", "Invocations", start=begin, end=begin + timedelta(hours=25))
        end = begin + timedelta(seconds=1)
        hosting.metric("demo", "Invocations", start=begin, end=end, period_s=20)
    whole = begin.replace(second=0, microsecond=0)
    next_day = whole + timedelta(days=1)
    assert asked == [
        (whole, next_day),
        (next_day, begin + timedelta(hours=25)),
        (whole.replace(second=20), end),
    ]


class Runtime:
    """A runtime endpoint over HTTP with a given answer, which records the clients' addresses."""

    def __init__(self):
        self.peers = []
        self.answer(200)
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                runtime.peers.append(self.client_address)
                self.rfile.read(int(self.headers["Content-Length"]))
                runtime.released.wait(runtime.delay_s)
                with suppress(BrokenPipeError):
                    self.reply()

            def reply(self):
                self.send_response(runtime.status)
                self.send_header("Content-Length", str(len(runtime.body)))
                self.send_header("Content-Type", "application/json")
                if runtime.code:
                    self.send_header("x-amzn-ErrorType", runtime.code)
                self.end_headers()
                self.wfile.write(runtime.body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.hosting = Hosting.connect(self.url)

    def answer(self, status, body=b"{}", code="", delay_s=0.0):
        self.status, self.body, self.code, self.delay_s = status, body, code, delay_s
        self.released = threading.Event()
        self.peers.clear()


@pytest.fixture(scope="module")
def runtime():
    runtime = Runtime()
    threading.Thread(target=runtime.server.serve_forever, args=(0.02,)).start()
    yield runtime
    runtime.released.set()
    runtime.server.shutdown()
    runtime.server.server_close()


def error_body(message, **more):
    return json.dumps({"Message": message, **more}).encode()


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (429, "ThrottlingException", "throttled"),
        (400, "ThrottlingException", "throttled"),
        (424, "ModelError", "model_error"),
        (429, "ModelNotReadyException", "unavailable"),
        (503, "ServiceUnavailable", "unavailable"),
        (500, "InternalFailure", "unavailable"),
        (530, "InternalDependencyException", "unavailable"),
        (400, "ValidationError", "client_error"),
        (403, "AccessDeniedException", "client_error"),
    ],
)
def test_a_failure_is_returned_and_the_request_is_sent_once(runtime, status, code, outcome):
    runtime.answer(status, error_body("no"), code)
    invocation = runtime.hosting.invoke("demo", b"photograph")
    assert (invocation.outcome, invocation.status) == (outcome, status)
    assert code in invocation.error
    assert len(runtime.peers) == 1


def test_a_model_error_includes_what_the_container_answered(runtime):
    body = error_body("from model", OriginalStatusCode=415, OriginalMessage="no image")
    runtime.answer(424, body, "ModelError")
    invocation = runtime.hosting.invoke("demo", b"x")
    assert "container answered 415: no image" in invocation.error


def test_an_answer_is_timed_and_the_connection_is_reused(runtime):
    runtime.answer(200, b'{"grade": 2}', delay_s=0.05)
    first = runtime.hosting.invoke("demo", b"abc")
    second = runtime.hosting.invoke("demo", b"abc")
    assert first.outcome == second.outcome == "ok"
    assert first.body == b'{"grade": 2}'
    assert first.payload_bytes == 3
    assert first.latency_s >= 0.05
    assert runtime.peers[0] == runtime.peers[1]


def test_a_port_without_a_server_is_unavailable_without_a_status():
    invocation = Hosting.connect(URL).invoke("demo", b"x")
    assert (invocation.outcome, invocation.status) == ("unavailable", 0)


def test_a_read_timeout_is_a_timeout(runtime, monkeypatch):
    monkeypatch.setattr("drdeploy.hosting.sagemaker.connection.READ_TIMEOUT_S", 0.1)
    runtime.answer(200, delay_s=5)
    invocation = Hosting.connect(runtime.url).invoke("demo", b"x")
    runtime.released.set()
    assert invocation.outcome == "timeout"
    assert len(runtime.peers) == 1


def test_the_read_timeout_outlasts_sagemakers_own():
    assert READ_TIMEOUT_S > 60


def test_made_up_credentials_never_leave_the_machine(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    hosting = Hosting.connect("https://sagemaker.example.com", region="us-east-1")
    with pytest.raises(EndpointError, match=r"credentials"):
        hosting.exists("demo")


@pytest.fixture
def no_aws_configuration(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.mark.parametrize(
    ("environment", "region", "expected"),
    [
        ({"AWS_REGION": "eu-west-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1"}, "eu-west-3", "eu-west-3"),
    ],
)
@pytest.mark.usefixtures("no_aws_configuration")
def test_the_region_comes_from_the_variables_of_aws(environment, region, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert make_boto3_client("sts", region=region).meta.region_name == expected
    assert make_hosting_clients(region=region).sagemaker.meta.region_name == expected


@pytest.mark.usefixtures("no_aws_configuration")
def test_without_a_region_the_message_names_the_variable_that_helps():
    with pytest.raises(InvalidInput, match=r"No AWS region is set.*Set AWS_REGION"):
        make_boto3_client("sts")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://127.0.0.1.example.com", False),
        ("https://runtime.sagemaker.us-east-1.amazonaws.com", False),
        (None, False),
    ],
)
def test_loopback_is_recognised_by_address(url, expected):
    assert is_loopback_url(url) is expected


def test_metrics_are_read_of_the_variant_that_is_created():
    assert DEPLOYMENT.production_variant["VariantName"] == VARIANT
